// What the programs for Node share; see exchange.py.
const fs = require("node:fs");
const { channel } = require("node:diagnostics_channel");

// Neither fetch nor undici says which version of HTTP an answer came over; the connection does.
let http;
channel("undici:client:connected").subscribe(({ socket }) => {
  http = { h2: "2", "http/1.1": "1.1", false: "1.1" }[socket.alpnProtocol];
});

exports.URL = "https://api.openai.com/v1/chat/completions";

exports.body = (mode, prompt) =>
  JSON.stringify({
    model: "gpt-4o",
    messages: [{ role: "user", content: prompt }],
    ...(mode === "stream" && { stream: true, stream_options: { include_usage: true } }),
  });

exports.headers = (mode, hold) => ({
  "content-type": "application/json",
  ...(mode === "stream" && { "x-lab-hold": hold }),
});

// An answer as it comes.
exports.Answer = class {
  constructor(hold) {
    Object.assign(this, { hold, text: "", pieces: 0, tokens: undefined, unfinished: "" });
  }

  piece(text) {
    fs.writeFileSync(this.hold, "");
    this.text += text;
    this.pieces += 1;
  }

  whole(document) {
    this.text = document.choices[0].message.content;
    this.pieces = 1;
    this.tokens = document.usage.completion_tokens;
  }

  // Takes a part of a body with server-sent events.
  events(part) {
    const lines = (this.unfinished + part).split("\n");
    this.unfinished = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ") || line === "data: [DONE]") continue;
      const chunk = JSON.parse(line.slice("data: ".length));
      this.tokens = chunk.usage?.completion_tokens ?? this.tokens;
      const piece = chunk.choices[0]?.delta.content;
      if (piece) this.piece(piece);
    }
  }

  report() {
    const { text, pieces, tokens } = this;
    console.log(JSON.stringify({ text, pieces, output_tokens: tokens, http }));
  }
};

// Runs a program: `main(mode, prompt, hold, answer)`.
exports.run = (main) => {
  const [mode, prompt, hold] = process.argv.slice(2);
  const answer = new exports.Answer(hold);
  main(mode, prompt, hold, answer)
    .then(() => answer.report())
    .catch((error) => {
      console.error(error);
      process.exit(1);
    });
};
