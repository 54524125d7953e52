//! One chat completion through reqwest: `client-reqwest whole|stream PROMPT HOLD`. See `exchange.py`.
#![expect(clippy::print_stdout, reason = "the answer is the program's output")]

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use reqwest::{Client, Version};
use serde_json::{Value, json};

const URL: &str = "https://api.openai.com/v1/chat/completions";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, prompt, hold] = arguments.as_slice() else { bail!("expected whole|stream PROMPT HOLD") };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(chat(mode == "stream", prompt, hold))
}

async fn chat(streaming: bool, prompt: &str, hold: &str) -> Result<()> {
    let mut body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": prompt}]});
    if streaming {
        body["stream"] = true.into();
        body["stream_options"] = json!({"include_usage": true});
    }
    let mut request = Client::new().post(URL).header("content-type", "application/json").body(body.to_string());
    if streaming {
        request = request.header("x-lab-hold", hold);
    }
    let mut response = request.send().await?.error_for_status()?;
    let http = match response.version() {
        Version::HTTP_2 => "2",
        Version::HTTP_11 => "1.1",
        other => bail!("an answer over {other:?}"),
    };
    let mut answer = Answer { hold: hold.into(), text: String::new(), pieces: 0, tokens: None };
    if streaming {
        let mut unread = Vec::new();
        while let Some(part) = response.chunk().await? {
            unread.extend_from_slice(&part);
            while let Some(end) = unread.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = unread.drain(..=end).collect();
                answer.line(std::str::from_utf8(&line)?.trim_end())?;
            }
        }
    } else {
        let document: Value = serde_json::from_slice(&response.bytes().await?)?;
        answer.text = document["choices"][0]["message"]["content"].as_str().context("no text")?.to_owned();
        answer.tokens = document["usage"]["completion_tokens"].as_u64();
        answer.pieces = 1;
    }
    let Answer { text, pieces, tokens, .. } = answer;
    println!("{}", json!({"text": text, "pieces": pieces, "output_tokens": tokens, "http": http}));
    Ok(())
}

struct Answer {
    hold: PathBuf,
    text: String,
    pieces: u32,
    tokens: Option<u64>,
}

impl Answer {
    /// Takes a line of server-sent events.
    fn line(&mut self, line: &str) -> Result<()> {
        let Some(data) = line.strip_prefix("data: ").filter(|data| *data != "[DONE]") else { return Ok(()) };
        let chunk: Value = serde_json::from_str(data)?;
        self.tokens = chunk["usage"]["completion_tokens"].as_u64().or(self.tokens);
        if let Some(piece) = chunk["choices"][0]["delta"]["content"].as_str().filter(|piece| !piece.is_empty()) {
            File::create(&self.hold)?;
            self.text.push_str(piece);
            self.pieces += 1;
        }
        Ok(())
    }
}
