// One conversation through ws, or through Node's own WebSocket: node_websocket.cjs whole|stream PROMPT HOLD [own]
const fs = require("node:fs");

const [mode, prompt, hold, own] = process.argv.slice(2);
const WebSocket = own ? globalThis.WebSocket : require("ws");
const query = new URLSearchParams({ model: "gpt-realtime", ...(mode === "stream" && { hold }) });
const content = [{ type: "input_text", text: prompt }];
const item = { type: "conversation.item.create", item: { type: "message", role: "user", content } };
const report = { text: "", pieces: 0, http: "1.1" };

const socket = new WebSocket(`wss://api.openai.com/v1/realtime?${query}`);
socket.onopen = () => socket.send(JSON.stringify(item));
socket.onmessage = ({ data }) => {
  const event = JSON.parse(data);
  if (event.type === "response.done") {
    report.deflated = event.deflated;
    socket.close(1000);
    return;
  }
  fs.writeFileSync(hold, "");
  report.text += event.delta;
  report.pieces += 1;
};
socket.onerror = (event) => {
  console.error(event.error ?? event.message);
  process.exitCode = 1;
};
socket.onclose = ({ code }) => console.log(JSON.stringify({ ...report, close: code }));
