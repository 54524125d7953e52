//! The transport over real loopback sockets; every claim is tried on the ring and on epoll.
