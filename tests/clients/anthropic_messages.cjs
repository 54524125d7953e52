// One message through Anthropic's npm package: anthropic_messages.cjs whole|stream PROMPT HOLD
const { Anthropic } = require("@anthropic-ai/sdk");
const { run } = require("./exchange.cjs");

run(async (mode, prompt, hold, answer) => {
  const client = new Anthropic({ apiKey: "test", maxRetries: 0, timeout: 90_000 });
  const messages = [{ role: "user", content: prompt }];
  const request = { model: "claude-sonnet-4-5", max_tokens: 500, messages };
  let final;
  if (mode === "whole") {
    final = await client.messages.create(request);
    answer.piece(final.content[0].text);
  } else {
    const stream = client.messages.stream(request, { headers: { "x-lab-hold": hold } });
    stream.on("text", (text) => answer.piece(text));
    final = await stream.finalMessage();
  }
  answer.tokens = final.usage.output_tokens;
});
