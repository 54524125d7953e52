import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** One chat completion through Java's HttpClient: java JavaHttpClient.java whole|stream PROMPT HOLD */
public final class JavaHttpClient {
    // Java has no JSON of its own; the endpoint's is compact and in a known order.
    private static final Pattern CONTENT = Pattern.compile("\"content\":\"((?:[^\"\\\\]|\\\\.)+)\"");
    private static final Pattern TOKENS = Pattern.compile("\"completion_tokens\":([0-9]+)");

    private final Path hold;
    private final StringBuilder text = new StringBuilder();
    private int pieces;
    private String tokens;

    private JavaHttpClient(Path hold) {
        this.hold = hold;
    }

    public static void main(String[] arguments) throws Exception {
        boolean streaming = arguments[0].equals("stream");
        String more = streaming ? ",\"stream\":true,\"stream_options\":{\"include_usage\":true}" : "";
        String message = "{\"role\":\"user\",\"content\":\"" + arguments[1] + "\"}";
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create("https://api.openai.com/v1/chat/completions"))
                .header("content-type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString("{\"model\":\"gpt-4o\",\"messages\":[" + message + "]" + more + "}"));
        if (streaming) {
            request.header("x-lab-hold", arguments[2]);
        }
        HttpResponse<Stream<String>> response = HttpClient.newHttpClient().send(request.build(), BodyHandlers.ofLines());
        JavaHttpClient answer = new JavaHttpClient(Path.of(arguments[2]));
        for (var lines = response.body().iterator(); lines.hasNext(); ) {
            answer.line(lines.next());
        }
        if (response.statusCode() != 200) {
            throw new IllegalStateException("status " + response.statusCode());
        }
        answer.report(response.version() == HttpClient.Version.HTTP_2 ? "2" : "1.1");
        // Its threads would keep the program for as long as the connection may be used again.
        System.exit(0);
    }

    private void line(String line) throws Exception {
        Matcher content = CONTENT.matcher(line);
        if (content.find()) {
            Files.write(hold, new byte[0]);
            text.append(content.group(1));
            pieces += 1;
        }
        Matcher usage = TOKENS.matcher(line);
        if (usage.find()) {
            tokens = usage.group(1);
        }
    }

    private void report(String http) {
        System.out.printf("{\"text\":\"%s\",\"pieces\":%d,\"output_tokens\":%s,\"http\":\"%s\"}%n", text, pieces, tokens, http);
    }
}
