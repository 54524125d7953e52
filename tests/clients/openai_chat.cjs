// One chat completion through OpenAI's npm package: openai_chat.cjs whole|stream PROMPT HOLD
const fs = require("node:fs");
const OpenAI = require("openai");

async function main([mode, prompt, hold]) {
  const client = new OpenAI({ apiKey: "test", maxRetries: 0, timeout: 90_000 });
  const request = { model: "gpt-4o", messages: [{ role: "user", content: prompt }] };
  let text = "";
  let pieces = 0;
  let usage;
  if (mode === "whole") {
    const answer = await client.chat.completions.create(request);
    text = answer.choices[0].message.content;
    usage = answer.usage;
    pieces = 1;
  } else {
    const stream = await client.chat.completions.create(
      { ...request, stream: true, stream_options: { include_usage: true } },
      { headers: { "x-lab-hold": hold } },
    );
    for await (const chunk of stream) {
      usage = chunk.usage ?? usage;
      const piece = chunk.choices[0]?.delta?.content;
      if (piece) {
        fs.writeFileSync(hold, "");
        text += piece;
        pieces += 1;
      }
    }
  }
  console.log(JSON.stringify({ text, pieces, output_tokens: usage.completion_tokens }));
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
