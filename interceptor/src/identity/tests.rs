use std::net::SocketAddr;

use super::*;
use crate::capture::{Ancestor, Arguments, ExeFile, Groups, Image, NetnsCookie, Reason};
use crate::flow::OriginalDst;

pub(super) fn snapshot() -> Snapshot {
    let path = |path: &str| Some(KernelPath { path: path.into(), whole: true, deleted: false });
    Snapshot {
        started_at: BootTime::from_nanos(5),
        image: Image { start_code: 1, arg_start: 2 },
        comm: "agent".into(),
        exe: path("/opt/agent"),
        exe_file: Some(ExeFile { device: (8, 1), inode: 4, magic: 0xef53 }),
        cwd: path("/srv"),
        arguments: Some(Arguments { bytes: b"agent\0--fast\0".to_vec(), whole: true }),
        groups: Groups { ids: vec![0, 3_999_999_123], whole: true },
        login_uid: Some(1000),
        session: Some(7),
        ancestors: vec![Ancestor { pid: 4_000_000, started_at: BootTime::from_nanos(4), comm: "sh".into() }],
        cgroup: Some("/system.slice/agent.service".into()),
        net_namespace: 1,
        mount_namespace: 2,
        pid_namespace: 3,
        namespace_pid: 1,
    }
}

/// Of a process with the id of this very test, when that had been another's.
pub(super) fn flow(snapshot: Option<Snapshot>) -> Flow {
    Flow {
        original: OriginalDst(SocketAddr::from(([203, 0, 113, 10], 443))),
        tgid: std::process::id(),
        tid: std::process::id(),
        uid: 0,
        gid: 0,
        task_cgroup: 0,
        socket_cgroup: None,
        netns: NetnsCookie(1),
        socket_cookie: 1,
        connected_at: BootTime::from_nanos(10),
        reason: Reason::Enrolled,
        snapshot: snapshot.map(Box::new),
    }
}

#[test]
fn a_caller_that_has_gone_is_named_by_the_snapshot_and_never_by_who_has_its_id_now() {
    let caller = Resolver::new().resolve(&flow(Some(snapshot())));
    assert_eq!(caller.exe.as_deref(), Some("/opt/agent".as_ref()));
    assert_eq!(caller.cmdline, Some(vec!["agent".to_owned(), "--fast".to_owned()]));
    assert_eq!(caller.cwd.as_deref(), Some("/srv".as_ref()));
    assert_eq!(caller.groups, Some(vec!["root".to_owned(), "3999999123".to_owned()]));
    assert_eq!(caller.parents, [Parent { pid: 4_000_000, exe: None, comm: Some("sh".into()) }]);
    assert_eq!((caller.login_uid, caller.session()), (Some(1000), Some("7".into())));
    assert_eq!(caller.started_at, Some(BootTime::from_nanos(5)));
    assert_eq!(caller.unit(), Some("agent.service"));
    assert_eq!(caller.exe_sha256, None, "this process's file is not the caller's");
}

#[test]
fn only_a_snapshot_shows_that_a_caller_was_among_the_daemons_mounts() {
    use std::os::unix::fs::MetadataExt;
    let own = u32::try_from(std::fs::metadata("/proc/self/ns/mnt").unwrap().ino()).unwrap();
    let of = |mount_namespace| flow(Some(Snapshot { mount_namespace, ..snapshot() }));
    let resolver = Resolver::new();
    assert!(resolver.resolve(&of(own)).own_mounts);
    assert!(!resolver.resolve(&of(own + 1)).own_mounts, "another mount namespace has files of its own at the paths");
    assert!(!resolver.resolve(&Flow { connected_at: BootTime::now(), ..flow(None) }).own_mounts);
}

#[test]
fn without_a_snapshot_a_caller_that_has_gone_is_known_by_its_ids_alone() {
    let caller = Resolver::new().resolve(&flow(None));
    assert_eq!(caller.user.as_deref(), Some("root"));
    assert_eq!((caller.exe, caller.cmdline, caller.cwd, caller.groups), (None, None, None, None));
    assert_eq!((caller.parents, caller.exe_sha256, caller.started_at), (Vec::new(), None, None));
}

#[test]
fn without_a_snapshot_a_live_caller_is_named_by_procfs() {
    let caller = Resolver::new().resolve(&Flow { connected_at: BootTime::now(), ..flow(None) });
    assert_eq!(caller.exe, std::env::current_exe().ok());
    assert_eq!(caller.parents[0].pid, std::os::unix::process::parent_id());
    assert_eq!(caller.exe_sha256.expect("a digest").len(), 64);
}

#[test]
fn what_a_snapshot_could_not_hold_says_so() {
    let mut cut = snapshot();
    cut.groups.whole = false;
    cut.exe = Some(KernelPath { path: "/deep/agent".into(), whole: false, deleted: true });
    let caller = Resolver::new().resolve(&flow(Some(cut)));
    assert!(caller.groups_cut);
    assert_eq!(caller.exe.as_deref(), Some(".../deep/agent (deleted)".as_ref()));
}

#[test]
fn by_the_snapshot_alone_names_are_those_remembered_or_numbers() {
    let resolver = Resolver::new();
    let flow = flow(Some(snapshot()));
    let caller = resolver.by_snapshot(&flow);
    assert_eq!((caller.user, caller.groups), (None, Some(vec!["0".to_owned(), "3999999123".to_owned()])));
    assert_eq!(resolver.by_snapshot(&Flow { uid: 1, ..flow.clone() }).exe_sha256, None);
    let whole = resolver.resolve(&flow);
    assert_eq!(resolver.by_snapshot(&flow), whole, "now they are remembered, and the caller has gone");
}
