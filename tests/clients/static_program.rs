//! A program that needs no library at run time: linked statically, so nothing can be preloaded into it. It speaks
//! plain HTTP to the endpoint's port.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

fn main() -> std::io::Result<()> {
    let text = std::env::args().nth(1).unwrap_or_default();
    let mut stream = match TcpStream::connect("203.0.113.10:443") {
        Ok(stream) => stream,
        Err(error) => {
            println!("refused {error}");
            return Ok(());
        }
    };
    if !stream.local_addr()?.ip().is_loopback() {
        println!("direct");
    }
    stream.set_read_timeout(Some(Duration::from_secs(8)))?;
    let mut answer = [0; 64];
    let length = text.len();
    let sent = write!(stream, "POST / HTTP/1.1\r\nhost: api.openai.com\r\ncontent-length: {length}\r\n\r\n{text}");
    match sent.and_then(|()| stream.read(&mut answer)) {
        Ok(read) if answer.starts_with(b"HTTP/") => println!("intercepted {}", answer[..read.min(12)].escape_ascii()),
        Ok(read) => println!("denied {}", answer[..read].escape_ascii()),
        Err(error) => println!("denied {error}"),
    }
    Ok(())
}
