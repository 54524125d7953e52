//! Addresses that are learnt from the DNS answers of enrolled processes.

use std::net::UdpSocket;

use crate::host::{DIRECT_V4, DIRECT_V6, Direct, Host, to};

/// Asks the server in the first argument for the address of acme.llm.example.
const ASK: &str = "
import socket, sys
query = b'\\0\\1\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\4acme\\3llm\\7example\\0\\0\\1\\0\\1'
sock = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(5)
sock.sendto(query, (sys.argv[1], 53))
assert sock.recv(1500)[-4:] == b'\\xcb\\0\\x71\\x14'
";

/// A name server that answers every question with a CNAME and the address 203.0.113.20.
fn resolver(address: &str) {
    let socket = UdpSocket::bind((address, 53)).expect("the address is on lo");
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((len, client)) = socket.recv_from(&mut query) {
            let mut answer = query[..len].to_vec();
            answer[2] |= 0x80;
            answer[7] = 2;
            // The question's name is an alias of edge.example, which has an address.
            answer.extend(b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x0e\x04edge\x07example\x00");
            answer.extend(b"\x04edge\x07example\x00\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xcb\x00\x71\x14");
            // The client may be gone.
            let _ = socket.send_to(&answer, client);
        }
    });
}

fn ask(host: &Host, resolver: &str) {
    let mut command = host.in_cgroup("client", "python3");
    assert!(command.args(["-c", ASK, resolver]).status().unwrap().success());
}

#[test]
fn an_answer_of_a_trusted_resolver_enrols_the_address_and_a_strangers_does_not() {
    let Some(host) = Host::new() else { return };
    let direct = Direct::listen(DIRECT_V4, 443);
    resolver(DIRECT_V4);
    resolver(DIRECT_V6);
    let mut daemon = host.daemon(&[]);

    ask(&host, DIRECT_V6);
    let learnt = daemon.ask(&format!("learn {DIRECT_V4}"));
    assert_eq!((&learnt["changed"], &learnt["untrusted"]), (&false.into(), &1.into()), "{learnt}");
    assert_eq!(host.connect(&to(DIRECT_V4, 443))["said"], "direct");

    ask(&host, DIRECT_V4);
    let learnt = daemon.ask(&format!("learn {DIRECT_V4}"));
    assert_eq!((&learnt["changed"], &learnt["answers"]), (&true.into(), &1.into()), "{learnt}");
    assert_eq!(host.connect(&to(DIRECT_V4, 443))["said"], "203.0.113.20:443");
    assert_eq!(direct.connections(), 1);
}
