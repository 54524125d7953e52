//! Whether the programs can take snapshots of callers on this kernel, and where they find what they read.

use aya::programs::ProgramType;
use aya::sys::{BpfHelper, is_helper_supported};
use interceptor_ebpf::{MEMBERS, Offsets};

use super::btf::{Btf, BtfError, VMLINUX};

/// Why the programs take no snapshots of callers. Callers that have exited before their connection was accepted are
/// then known by their ids alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotUnsupported {
    /// The kernel does not describe itself.
    #[error("{VMLINUX}: {0}; it takes a kernel built with CONFIG_DEBUG_INFO_BTF")]
    NoBtf(String),
    /// Its description lacks something.
    #[error(transparent)]
    Layout(#[from] BtfError),
    /// The kernel does not let programs read its memory.
    #[error("the kernel grants connect programs no `{0}`: too old, or locked down (kernel_lockdown(7))")]
    Helper(&'static str),
    /// The verifier refused the programs with it, and took them without.
    #[error("the kernel refused the programs that take snapshots: {0}")]
    Verifier(String),
}

/// The offsets for the running kernel.
pub(super) fn find() -> Result<Offsets, SnapshotUnsupported> {
    let bytes = std::fs::read(VMLINUX).map_err(|error| SnapshotUnsupported::NoBtf(error.to_string()))?;
    let offsets = locate(&bytes)?;
    for (helper, name) in [
        (BpfHelper::BPF_FUNC_get_current_task, "bpf_get_current_task"),
        (BpfHelper::BPF_FUNC_probe_read_kernel, "bpf_probe_read_kernel"),
        (BpfHelper::BPF_FUNC_probe_read_kernel_str, "bpf_probe_read_kernel_str"),
        (BpfHelper::BPF_FUNC_probe_read_user, "bpf_probe_read_user"),
    ] {
        // Where that cannot be told, the verifier will.
        if matches!(is_helper_supported(ProgramType::CgroupSockAddr, helper), Ok(false)) {
            return Err(SnapshotUnsupported::Helper(name));
        }
    }
    Ok(offsets)
}

fn locate(btf: &[u8]) -> Result<Offsets, BtfError> {
    let btf = Btf::parse(btf)?;
    let mut offsets = Offsets { enabled: 1, ..Offsets::OFF };
    for (offset, member) in offsets.of.iter_mut().zip(&MEMBERS) {
        match btf.offset(member.structure, member.path, member.width) {
            Ok(found) => *offset = found,
            Err(BtfError::Member { .. }) if member.optional => {}
            Err(error) => return Err(error),
        }
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use interceptor_ebpf::At;

    use super::*;

    #[test]
    fn every_member_that_is_needed_has_its_offset() {
        let offsets = locate(&std::fs::read(VMLINUX).expect("a kernel with BTF")).unwrap();
        assert_eq!(offsets.enabled, 1);
        for (offset, member) in offsets.of.iter().zip(&MEMBERS) {
            assert!(member.optional || *offset != Offsets::NONE, "{member:?}");
        }
        assert_eq!(MEMBERS[At::PidInode as usize].structure, "pid_namespace", "the table's order is the index's");
    }

    #[test]
    fn what_is_no_btf_is_no_support() {
        assert!(matches!(locate(b"not BTF"), Err(BtfError::Format(_))));
    }
}
