//! Both halves compile these: a size or offset that differs between kernel and userspace is a build error.

use core::mem::{align_of, offset_of, size_of};

use crate::{
    Address, Ancestor, CgroupRule, DnsPacket, EndpointRule, EndpointV4, EndpointV6, Event, Flow, FlowKey, Listener,
    MEMBER_COUNT, Offsets, Peer, Pending, Settings, Snapshot,
};

macro_rules! layout {
    ($type:ident, $size:literal, align $align:literal $(, $field:ident @ $offset:literal)*) => {
        const _: () = {
            assert!(size_of::<$type>() == $size);
            assert!(align_of::<$type>() == $align);
            $(assert!(offset_of!($type, $field) == $offset);)*
        };
    };
}

layout!(Address, 16, align 4);
layout!(Peer, 24, align 4, address @ 0, port @ 16, reserved @ 18);
layout!(EndpointV4, 8, align 4, port @ 0, address @ 4);
layout!(EndpointV6, 20, align 4, port @ 0, address @ 4);
layout!(EndpointRule, 4, align 4, flags @ 0);
layout!(FlowKey, 32, align 8, netns_cookie @ 0, client @ 8);
layout!(Flow, 96, align 8, original @ 0, netns_cookie @ 24, socket_cookie @ 32, task_cgroup @ 40, socket_cgroup @ 48,
    connected_at @ 56, generation @ 64, tgid @ 72, tid @ 76, uid @ 80, gid @ 84, reason @ 88, reserved @ 92);
layout!(Pending, 136, align 8, flow @ 0, key @ 96, stage @ 128, reserved @ 132);
layout!(Snapshot, 3000, align 8, connected_at @ 0, started_at @ 8, start_code @ 16, arg_start @ 24, exe_inode @ 32,
    exe_magic @ 40, exe_device @ 48, flags @ 52, login_uid @ 56, session @ 60, net_namespace @ 64, mount_namespace @ 68,
    pid_namespace @ 72, namespace_pid @ 76, group_count @ 80, ancestor_count @ 84, argv_len @ 88, exe_at @ 92, cwd_at @ 96,
    cgroup_depth @ 100, comm @ 104, cgroup @ 120, groups @ 1080, ancestors @ 1208, exe @ 1464, cwd @ 1976, argv @ 2488);
layout!(Ancestor, 32, align 8, started_at @ 0, tgid @ 8, reserved @ 12, comm @ 16);
const _: () = assert!(size_of::<Offsets>() == 4 + 4 * MEMBER_COUNT && align_of::<Offsets>() == 4);
layout!(Listener, 16, align 8, generation @ 0, port @ 8, reserved @ 10);
layout!(Settings, 40, align 8, own_cgroup @ 0, stale_after @ 8, own_mark @ 16, cgroup_rules @ 20, max_waiting @ 24,
    own_netns @ 32);
layout!(CgroupRule, 4, align 4, mode @ 0);
layout!(Event, 72, align 8, destination @ 0, at @ 24, netns_cookie @ 32, cgroup @ 40, kind @ 48, counter @ 52, tgid @ 56,
    tid @ 60, uid @ 64, reserved @ 68);
layout!(DnsPacket, 1504, align 8, resolver @ 0, netns_cookie @ 16, length @ 24, reserved @ 28, payload @ 32);
