// One chat completion through OpenAI's npm package: openai_chat.cjs whole|stream PROMPT HOLD
const OpenAI = require("openai");
const { run } = require("./exchange.cjs");

run(async (mode, prompt, hold, answer) => {
  const client = new OpenAI({ apiKey: "test", maxRetries: 0, timeout: 90_000 });
  const request = { model: "gpt-4o", messages: [{ role: "user", content: prompt }] };
  if (mode === "whole") return answer.whole(await client.chat.completions.create(request));
  const stream = await client.chat.completions.create(
    { ...request, stream: true, stream_options: { include_usage: true } },
    { headers: { "x-lab-hold": hold } },
  );
  for await (const chunk of stream) {
    answer.tokens = chunk.usage?.completion_tokens ?? answer.tokens;
    const piece = chunk.choices[0]?.delta?.content;
    if (piece) answer.piece(piece);
  }
});
