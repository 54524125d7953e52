use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};

use super::super::WhenDown;
use super::*;

fn endpoint(ip: &str, prefix: u8, port: u16) -> EndpointAddr {
    EndpointAddr { ip: ip.parse().unwrap(), prefix, port, when_down: WhenDown::Refuse }
}

#[test]
fn an_endpoint_covers_its_prefix_on_its_port() {
    for (endpoint, peer, expected) in [
        (endpoint("203.0.113.0", 24, 443), "203.0.113.9:443", true),
        (endpoint("203.0.113.0", 24, 443), "[::ffff:203.0.113.9]:443", true),
        (endpoint("203.0.113.0", 24, 443), "203.0.113.9:80", false),
        (endpoint("203.0.113.0", 24, 443), "203.0.114.9:443", false),
        (endpoint("203.0.113.9", 32, 443), "203.0.113.8:443", false),
        (endpoint("0.0.0.0", 0, 443), "198.51.100.1:443", true),
        (endpoint("0.0.0.0", 0, 443), "[2001:db8::1]:443", false),
        (endpoint("2001:db8::", 32, 443), "[2001:db8:1::1]:443", true),
        (endpoint("2001:db8::1", 128, 443), "[2001:db8::2]:443", false),
    ] {
        assert_eq!(endpoint.covers(peer.parse().unwrap()), expected, "{endpoint} {peer}");
    }
}

/// Needs no privilege: everybody may list sockets.
#[test]
fn a_dump_has_the_connections_of_this_process() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let server = listener.local_addr().unwrap();
    let client = TcpStream::connect(server).unwrap();
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    udp.connect(server).unwrap();
    let mut diag = Diag::open().unwrap();
    let cgroups = Cgroups::find().unwrap();
    for (protocol, local) in [(TCP, client.local_addr().unwrap()), (UDP, udp.local_addr().unwrap())] {
        let sockets = diag.dump(libc::AF_INET as u8, protocol).unwrap();
        let port = |socket: &&Found| u16::from_be_bytes([socket.id[0], socket.id[1]]) == local.port();
        let found = sockets.iter().filter(port).find(|socket| socket.peer == server).unwrap();
        assert_eq!(found.cgroup, Some(cgroups.own().unwrap()));
    }
}

#[test]
fn a_message_that_does_not_fit_ends_the_datagram() {
    let mut bytes = 20_u32.to_ne_bytes().to_vec();
    bytes.extend([0; 16]);
    assert_eq!(Messages(&bytes).map(|(kind, body)| (kind, body.len())).collect::<Vec<_>>(), [(0, 4)]);
    assert_eq!(Messages(&bytes[..19]).count(), 0);
    bytes[..4].copy_from_slice(&0_u32.to_ne_bytes());
    assert_eq!(Messages(&bytes).count(), 0);
    assert_eq!(Attributes(&[0, 0, 0, 0, 1, 2, 3, 4]).count(), 0);
}
