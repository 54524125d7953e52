//! The maps, under the names of [`interceptor_ebpf::names`].

use core::arch::asm;

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, bpf_sock};
use aya_ebpf::btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf, SkStorage};
use aya_ebpf::helpers::generated::bpf_sk_storage_get;
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::SockContext;
use interceptor_ebpf::{
    CgroupRule, Counter, DNS_BYTES, DnsPacket, EVENT_BYTES, EndpointRule, EndpointV4, EndpointV6, Event, Flow, FlowKey,
    Listener, MAX_CGROUP_RULES, MAX_ENDPOINTS, MAX_FLOWS, MAX_LISTENERS, MAX_SNAPSHOTS, Pending, Settings, Snapshot,
    USER_BUCKETS, waiting_bucket,
};

#[btf_map]
pub(crate) static SETTINGS: Array<Settings, 1> = Array::new();

#[btf_map]
pub(crate) static ENDPOINTS_V4: LpmTrie<EndpointV4, EndpointRule, MAX_ENDPOINTS> = LpmTrie::new();

#[btf_map]
pub(crate) static ENDPOINTS_V6: LpmTrie<EndpointV6, EndpointRule, MAX_ENDPOINTS> = LpmTrie::new();

#[btf_map]
pub(crate) static LISTENERS: HashMap<u64, Listener, MAX_LISTENERS> = HashMap::new();

/// Not an LRU: that would drop live flows in silence.
#[btf_map]
pub(crate) static FLOWS: HashMap<FlowKey, Flow, MAX_FLOWS> = HashMap::new();

/// By socket cookie. Not preallocated: most of the time there is none. Not an LRU, as for flows.
#[btf_map]
pub(crate) static SNAPSHOTS: HashMap<u64, Snapshot, MAX_SNAPSHOTS, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// What a new entry of `SNAPSHOTS` is made from, being too large for the stack. Never written.
#[btf_map]
pub(crate) static BLANK: Array<Snapshot, 1> = Array::new();

#[btf_map]
pub(crate) static PENDING: SkStorage<Pending> = SkStorage::new();

#[btf_map]
static COUNTERS: PerCpuArray<u64, { Counter::COUNT }> = PerCpuArray::new();

#[btf_map]
pub(crate) static CGROUPS: HashMap<u64, CgroupRule, MAX_CGROUP_RULES> = HashMap::new();

#[btf_map]
pub(crate) static HEARTBEAT: Array<u64, 1> = Array::new();

/// The daemon takes flows out of their map and counts down here, through shared memory.
#[btf_map]
static WAITING: Array<i64, USER_BUCKETS, { BPF_F_MMAPABLE as usize }> = Array::new();

/// May forget the oldest: then a namespace asks once more.
#[btf_map]
pub(crate) static WANTED: LruHashMap<u64, u64, MAX_LISTENERS> = LruHashMap::new();

#[btf_map]
pub(crate) static EVENTS: RingBuf<Event, EVENT_BYTES> = RingBuf::new();

#[btf_map]
pub(crate) static DNS: RingBuf<DnsPacket, DNS_BYTES> = RingBuf::new();

/// The number of flows that wait for accept in a bucket.
#[inline(always)]
pub(crate) fn waiting(bucket: u32) -> i64 {
    // A bucket of its own for whoever has none would be no limit.
    WAITING.get_ptr(bucket).map_or(i64::MAX, |count| {
        // SAFETY: an entry of an array lives as long as the map; eight aligned bytes are read whole.
        unsafe { count.read_volatile() }
    })
}

/// Counts a flow that waits from now on, or does no more.
#[inline(always)]
pub(crate) fn add_waiting(flow: &Flow, change: i64) {
    let own_netns = SETTINGS.get(0).map_or(0, |settings| settings.own_netns);
    if let Some(count) = WAITING.get_ptr_mut(waiting_bucket(flow.uid, flow.netns_cookie, own_netns)) {
        // SAFETY: an entry of an array lives as long as the map. The instruction is atomic, as the daemon's are; core has
        // no such operation for a target without compare-and-swap.
        unsafe { asm!("lock *(u64 *)({at} + 0) += {change}", at = in(reg) count, change = in(reg) change) };
    }
}

/// Adds one.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the entry is this CPU's own, and programs of a CPU do not preempt each other inside an increment
        // in a way that corrupts it (at worst one count is lost).
        unsafe { *value += 1 };
    }
}

/// What `sk` carries, if anything.
///
/// # Safety
/// `sk` is a socket the verifier knows and that is not null.
#[inline(always)]
pub(crate) unsafe fn pending_of<'a>(sk: *mut bpf_sock) -> Option<&'a mut Pending> {
    // SAFETY: the caller's promise; without the create flag the value argument is not read.
    let found =
        unsafe { bpf_sk_storage_get((&raw const PENDING).cast_mut().cast(), sk.cast(), core::ptr::null_mut(), 0) };
    // SAFETY: null or the socket's own storage, alive as long as the socket, which outlives the program's run. Hooks
    // that write hold the socket's lock.
    unsafe { found.cast::<Pending>().as_mut() }
}

/// What the socket of a `sock_create` or `sock_release` program carries; made when `create`.
#[inline(always)]
pub(crate) fn pending_of_context(ctx: &SockContext, create: bool) -> Option<&mut Pending> {
    let flags = if create { u64::from(aya_ebpf::bindings::BPF_SK_STORAGE_GET_F_CREATE) } else { 0 };
    // SAFETY: these program types take their context as the socket.
    let found = unsafe {
        bpf_sk_storage_get((&raw const PENDING).cast_mut().cast(), ctx.sock.cast(), core::ptr::null_mut(), flags)
    };
    // SAFETY: as in `pending_of`; at creation and release nobody else has the socket.
    unsafe { found.cast::<Pending>().as_mut() }
}
