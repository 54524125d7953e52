// One chat completion through Node's own fetch: node_fetch.cjs whole|stream PROMPT HOLD
const { URL, body, headers, run } = require("./exchange.cjs");

run(async (mode, prompt, hold, answer) => {
  const request = { method: "POST", headers: headers(mode, hold), body: body(mode, prompt) };
  const response = await fetch(URL, request);
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  if (mode === "whole") return answer.whole(await response.json());
  for await (const part of response.body.pipeThrough(new TextDecoderStream())) answer.events(part);
});
