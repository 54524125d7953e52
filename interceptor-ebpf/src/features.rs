//! What the loader found this kernel able to do. It sets these globals before the verifier sees the programs, which then
//! takes out whatever stands behind a 0: a helper that the kernel does not know is never looked at.

macro_rules! features {
    ($($(#[$doc:meta])* $global:ident, $function:ident;)*) => {
        $(
            #[unsafe(no_mangle)]
            static $global: u8 = 0;

            $(#[$doc])*
            #[inline(always)]
            pub(crate) fn $function() -> bool {
                // SAFETY: a constant of this program; volatile, so that the compiler does not take it for the 0 above.
                unsafe { (&raw const $global).read_volatile() != 0 }
            }
        )*
    };
}

features! {
    /// Whether a program can choose the error that a refused call fails with; EPERM otherwise.
    SET_RETVAL, set_retval;
    /// Whether an MPTCP socket can be reached from its first subflow.
    MPTCP_SOCKET, mptcp_socket;
    /// Whether a packet tells its network namespace.
    NETNS_OF_PACKET, netns_of_packet;
}
