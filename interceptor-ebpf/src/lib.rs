//! Plain types shared by the kernel programs and the daemon.
#![no_std]
