use interceptor_ebpf::MEMBERS;
use proptest::prelude::*;

use super::*;

/// BTF by hand.
#[derive(Default)]
struct Made {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Made {
    fn new() -> Self {
        Self { types: Vec::new(), strings: vec![0] }
    }

    fn text(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        at
    }

    fn add(&mut self, kind: u32, name: &str, count: usize, size: u32, more: &[u32]) -> &mut Self {
        let name = self.text(name);
        for word in [name, kind << 24 | count as u32, size].iter().chain(more) {
            self.types.extend_from_slice(&word.to_ne_bytes());
        }
        self
    }

    /// Members: name, type, bit offset.
    fn structure(&mut self, kind: u32, name: &str, members: &[(&str, u32, u32)]) -> &mut Self {
        let words: Vec<u32> = members.iter().flat_map(|&(name, of, bit)| [self.text(name), of, bit]).collect();
        self.add(kind, name, members.len(), 64, &words)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&MAGIC.to_ne_bytes());
        bytes.extend_from_slice(&[VERSION, 0]);
        for word in [24, 0, self.types.len(), self.types.len(), self.strings.len()] {
            bytes.extend_from_slice(&(word as u32).to_ne_bytes());
        }
        bytes.extend_from_slice(&self.types);
        bytes.extend_from_slice(&self.strings);
        bytes
    }
}

const INT: u32 = 1;
const POINTER: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const TYPEDEF: u32 = 8;
const CONST: u32 = 10;
/// Bit 31 of a structure's second word.
const BIT_FIELDS: u32 = 1 << 7;

fn made() -> Vec<u8> {
    let mut btf = Made::new();
    btf.add(INT, "int", 0, 4, &[32]); // 1
    btf.add(POINTER, "", 0, 1, &[]); // 2
    btf.structure(STRUCT, "inner", &[("number", 1, 0), ("pointer", 2, 64)]); // 3
    btf.add(CONST, "", 0, 3, &[]); // 4
    btf.structure(UNION, "", &[("plain", 3, 0), ("constant", 4, 0)]); // 5
    btf.add(ARRAY, "", 0, 0, &[1, 1, 4]); // 6
    btf.add(TYPEDEF, "four", 0, 6, &[]); // 7
    btf.structure(STRUCT, "outer", &[("first", 1, 0), ("", 5, 128), ("four", 7, 320)]); // 8
    btf.structure(STRUCT | BIT_FIELDS, "bits", &[("field", 1, 3 << 24 | 8), ("whole", 1, 32), ("odd", 1, 67)]); // 9
    btf.structure(STRUCT, "twice", &[("same", 1, 32), ("other", 1, 64)]);
    btf.structure(STRUCT, "twice", &[("same", 1, 32), ("other", 1, 96)]);
    btf.bytes()
}

#[test]
fn finds_members_through_unnamed_unions_names_and_qualifiers() {
    let bytes = made();
    let btf = Btf::parse(&bytes).unwrap();
    for (structure, path, width, offset) in [
        ("inner", "number", 4, 0),
        ("inner", "pointer", 8, 8),
        ("outer", "plain.pointer", 8, 24),
        ("outer", "constant.pointer", 8, 24),
        ("outer", "constant", 64, 16),
        ("outer", "four", 16, 40),
        ("outer", "four", 0, 40),
        ("bits", "whole", 4, 4),
        ("twice", "same", 4, 4),
    ] {
        assert_eq!(btf.offset(structure, path, width), Ok(offset), "{structure}.{path}");
    }
}

#[test]
fn what_is_missing_ambiguous_or_another_size_is_refused_by_name() {
    let bytes = made();
    let btf = Btf::parse(&bytes).unwrap();
    for (structure, path, width, message) in [
        ("none", "x", 0, "no structure `none`"),
        ("outer", "last", 0, "`outer` has no member `last`"),
        ("outer", "first.number", 0, "`outer` has no member `first.number`"),
        ("outer", "first", 8, "`outer.first` is 4 bytes wide, not 8"),
        ("bits", "field", 0, "`bits.field` is a bit field"),
        ("bits", "odd", 0, "`bits.odd` is a bit field"),
        ("twice", "other", 0, "several structures `twice` that disagree on `other`"),
    ] {
        let error = btf.offset(structure, path, width).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn the_running_kernel_has_every_member() {
    let bytes = std::fs::read(VMLINUX).expect("a kernel with BTF");
    let btf = Btf::parse(&bytes).unwrap();
    for member in MEMBERS.iter().filter(|member| !member.optional) {
        let offset = btf.offset(member.structure, member.path, member.width).unwrap();
        assert!(offset < 1 << 16, "{member:?}: {offset}");
    }
    // What user space can see of the layout: the first member, and one of a structure that never changes.
    assert_eq!(btf.offset("list_head", "next", 8), Ok(0));
    assert_eq!(btf.offset("list_head", "prev", 8), Ok(8));
    assert_eq!(btf.offset("upid", "ns", 8), Ok(8));
}

#[test]
fn an_unnamed_structure_within_itself_ends() {
    let mut btf = Made::new();
    let members: Vec<_> = (0..200).map(|_| ("", 1, 0)).collect();
    btf.structure(STRUCT, "loop", &members);
    let bytes = btf.bytes();
    assert!(Btf::parse(&bytes).unwrap().offset("loop", "x", 0).is_err());
}

#[test]
fn what_is_cut_off_is_refused() {
    let bytes = made();
    for len in 0..bytes.len() {
        assert!(Btf::parse(&bytes[..len]).is_err(), "{len} of {} bytes", bytes.len());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(
        mut bytes in Just(made()),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
    ) {
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        fuzz_btf(&bytes);
    }
}
