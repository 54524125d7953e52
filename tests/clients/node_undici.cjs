// One chat completion through undici, which may use HTTP/2: node_undici.cjs whole|stream PROMPT HOLD
const { Agent, request } = require("undici");
const { URL, body, headers, run } = require("./exchange.cjs");

run(async (mode, prompt, hold, answer) => {
  const dispatcher = new Agent({ allowH2: true });
  const options = { dispatcher, method: "POST", headers: headers(mode, hold), body: body(mode, prompt) };
  const response = await request(URL, options);
  if (response.statusCode !== 200) throw new Error(`${response.statusCode} ${await response.body.text()}`);
  if (mode === "whole") {
    answer.whole(await response.body.json());
  } else {
    for await (const part of response.body.setEncoding("utf8")) answer.events(part);
  }
  await dispatcher.close();
});
