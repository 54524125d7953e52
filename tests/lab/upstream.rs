//! `--upstream`: a server of the caller's own network behind the endpoint's names.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use interceptor_tests::{Lab, OPENAI, PLANTED, body, curl, planted_prompt};

/// Reads one request with a Content-Length, byte for byte.
fn request(stream: &TcpStream) -> Vec<u8> {
    let mut reader = BufReader::new(stream);
    let mut bytes = Vec::new();
    let mut length = 0;
    loop {
        let start = bytes.len();
        reader.read_until(b'\n', &mut bytes).expect("a line");
        let line = String::from_utf8_lossy(&bytes[start..]).trim().to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line.is_empty() {
            break;
        }
    }
    let head = bytes.len();
    bytes.resize(head + length, 0);
    reader.read_exact(&mut bytes[head..]).expect("a body");
    bytes
}

#[test]
fn requests_go_there_and_answers_come_back_byte_for_byte() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("an address").to_string();
    let serving = thread::spawn(move || {
        let (mut stream, _) = server.accept().expect("a connection");
        let request = request(&stream);
        let answer = "HTTP/1.1 418 Odd\r\nX-Own: yes\r\nContent-Length: 12\r\n\r\n{\"own\":true}";
        stream.write_all(answer.as_bytes()).expect("the answer is sent");
        request
    });
    let lab = Lab::with(&["--upstream", &address]);
    let run = lab.run(&curl(OPENAI, &body(&planted_prompt(), false), &["-i"]));
    assert!(run.ok().starts_with("HTTP/1.1 418 Odd\r\n") && run.stdout.contains("\r\nX-Own: yes\r\n"), "{run}");
    assert!(run.stdout.ends_with("{\"own\":true}"), "{run}");

    let arrived = serving.join().expect("the server served");
    assert_eq!(lab.requests(), std::slice::from_ref(&arrived), "what the lab recorded is what arrived");
    let arrived = String::from_utf8(arrived).expect("text");
    assert!(arrived.contains("[CARD_") && !PLANTED.iter().any(|value| arrived.contains(value)), "{arrived}");
}
