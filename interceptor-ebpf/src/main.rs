//! The kernel programs, one file a hook. All of them hang at one cgroup2 directory and see the sockets made below it.
//!
//! ```text
//! sock_create   the socket's cgroup is noted
//! connect4/6    enrolled destination: keep the original, rewrite to the listener; or refuse
//! sock_ops      SYN about to leave: the local port is known, the flow goes into the map
//! getpeername   the client is shown the peer it asked for
//! sendmsg4/6    datagrams to enrolled destinations are refused (QUIC falls back to TCP)
//! sock_release  a flow that never came about is taken out again
//! dns_answers   what resolvers say is copied to the daemon
//! ```
//!
//! Whatever cannot be handed to the daemon is refused and counted, never let through.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(unsafe_code, reason = "BPF helpers and contexts are raw pointers, checked by the kernel's verifier")]
#![expect(clippy::needless_pass_by_value, reason = "aya's macros hand the context over by value")]
#![expect(clippy::mut_from_ref, reason = "a socket's storage is reached through the context, but is no part of it")]
#![expect(clippy::needless_borrows_for_generic_args, reason = "by value, a key would be copied to the 512 byte stack")]

mod connect;
mod context;
mod dns_answers;
mod events;
mod getpeername;
mod kernel;
mod maps;
mod path;
mod sendmsg;
mod sock_create;
mod sock_ops;
mod sock_release;
mod task;
mod verdict;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Reading a task (`bpf_get_current_task`, `bpf_probe_read_kernel` and the like) is granted to programs under a
/// licence that is compatible with the GPL only. So this crate, alone in the workspace, is under MIT or GPL-2.0, in the
/// words the kernel knows.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
