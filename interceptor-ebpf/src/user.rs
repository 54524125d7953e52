//! The shared types as values that may be read from and written to BPF maps as bytes.
#![expect(unsafe_code, reason = "`Pod` is a promise about a type's bit patterns")]

use aya::Pod;

use core::mem::offset_of;

use crate::{
    CgroupRule, DnsPacket, EndpointRule, EndpointV4, EndpointV6, Event, Flow, FlowKey, Listener, Offsets, Settings,
    Snapshot,
};

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

pod!(CgroupRule, EndpointRule, EndpointV4, EndpointV6, Flow, FlowKey, Listener, Offsets, Settings, Snapshot);

impl Event {
    /// From an entry of the ring buffer; none when it is too short.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        // SAFETY: as long as the type, which is valid for every bit pattern; the read does not ask for alignment.
        (bytes.len() >= size_of::<Self>()).then(|| unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }
}

/// A [`DnsPacket`] without its payload.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsHeader {
    /// See [`DnsPacket::resolver`].
    pub resolver: crate::Address,
    /// See [`DnsPacket::netns_cookie`].
    pub netns_cookie: u64,
    /// See [`DnsPacket::length`].
    pub length: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<DnsHeader>() == offset_of!(DnsPacket, payload));

impl DnsPacket {
    /// The parts of an entry of the ring buffer; none when it is not one.
    #[must_use]
    pub fn split(bytes: &[u8]) -> Option<(DnsHeader, &[u8])> {
        let (header, payload) = bytes.split_at_checked(size_of::<DnsHeader>())?;
        // SAFETY: as long as the type, which is valid for every bit pattern; the read does not ask for alignment.
        let header = unsafe { header.as_ptr().cast::<DnsHeader>().read_unaligned() };
        Some((header, payload.get(..header.length as usize)?))
    }
}
