//! The shared types as values that may be read from and written to BPF maps as bytes.
#![expect(unsafe_code, reason = "`Pod` is a promise about a type's bit patterns")]

use aya::Pod;

use crate::{EndpointRule, EndpointV4, EndpointV6, Flow, FlowKey, Listener, Offsets, Settings, Snapshot};

// SAFETY (all of them): `repr(C)` integers only, no implicit padding (the sizes in `layout` are the sums of the
// fields), every bit pattern valid.
macro_rules! pod {
    ($($type:ty),*) => {
        $(
            // SAFETY: see above the macro.
            unsafe impl Pod for $type {}
        )*
    };
}

pod!(EndpointRule, EndpointV4, EndpointV6, Flow, FlowKey, Listener, Offsets, Settings, Snapshot);
