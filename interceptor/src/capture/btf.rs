//! The layout of the running kernel's structures, from its own description of them: BTF, the BPF Type Format
//! (Documentation/bpf/btf.rst of the kernel).
//!
//! ```text
//! header   magic eb9f, version, flags, length; offset and length of the types and of the strings
//! types    12 bytes each: name, kind and count, size or type; then what the kind brings. The first has number 1
//! strings  ended by NUL
//! ```
//!
//! Only what stands in the way to a member is interpreted; all else is skipped by its length.

/// The file of the running kernel.
pub(super) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;

/// Shortest header: up to the length of the strings.
const HEADER: usize = 24;
const TYPE: usize = 12;
const MEMBER: usize = 12;

/// Structures inside structures, and names for other types, followed at most.
const MAX_DEPTH: usize = 16;

/// Members looked at for one, those of unnamed structures included.
const MAX_MEMBERS: usize = 65_536;

/// Why a member's offset is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// Not BTF, or cut off.
    #[error("not BTF of version 1: {0}")]
    Format(&'static str),
    /// The kernel is newer than this reader.
    #[error("unknown kind {kind} of type {number}")]
    Kind {
        /// The kind.
        kind: u32,
        /// The type's number.
        number: usize,
    },
    /// There is no such structure.
    #[error("this kernel has no structure `{0}`")]
    Structure(String),
    /// The structure has no such member.
    #[error("this kernel's `{structure}` has no member `{member}`")]
    Member {
        /// The structure.
        structure: String,
        /// The member.
        member: String,
    },
    /// The member is not what it is taken for.
    #[error("this kernel's `{structure}.{member}` is {found} bytes wide, not {expected}")]
    Width {
        /// The structure.
        structure: String,
        /// The member.
        member: String,
        /// What was expected.
        expected: u32,
        /// What it is.
        found: u64,
    },
    /// The member does not stand at a byte.
    #[error("this kernel's `{structure}.{member}` is a bit field")]
    BitField {
        /// The structure.
        structure: String,
        /// The member.
        member: String,
    },
    /// Structures of the same name differ.
    #[error("this kernel has several structures `{structure}` that disagree on `{member}`")]
    Ambiguous {
        /// The structure.
        structure: String,
        /// The member.
        member: String,
    },
}

/// Parsed BTF.
#[derive(Debug)]
pub(super) struct Btf<'a> {
    /// Where each type begins; number 1 first.
    types: Vec<&'a [u8]>,
    strings: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sized,
    Pointer,
    Array,
    Composite,
    Alias,
    Other,
}

/// A member found, in bits from its structure's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    bit: u64,
    bits: u32,
    of: u32,
}

impl<'a> Btf<'a> {
    /// From the bytes of `/sys/kernel/btf/vmlinux`.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, BtfError> {
        let header = bytes.get(..HEADER).ok_or(BtfError::Format("shorter than its header"))?;
        if header[..2] != MAGIC.to_ne_bytes() {
            return Err(BtfError::Format("another magic number"));
        }
        if header[2] != VERSION {
            return Err(BtfError::Format("another version"));
        }
        let base = word(header, 4) as usize;
        let section = |offset: usize, len: usize| {
            let start = base.checked_add(word(header, offset) as usize)?;
            bytes.get(start..start.checked_add(word(header, len) as usize)?)
        };
        let mut rest = section(8, 12).ok_or(BtfError::Format("its types are cut off"))?;
        let strings = section(16, 20).ok_or(BtfError::Format("its strings are cut off"))?;
        let mut types = Vec::with_capacity(rest.len() / (2 * TYPE));
        while !rest.is_empty() {
            let at = rest;
            let head = at.get(..TYPE).ok_or(BtfError::Format("a type is cut off"))?;
            let len = TYPE + tail(head, types.len() + 1)?;
            rest = at.get(len..).ok_or(BtfError::Format("a type is cut off"))?;
            types.push(&at[..len]);
        }
        Ok(Self { types, strings })
    }

    /// Offset in bytes of a member; `path` names members of members after dots. Members of unnamed structures and
    /// unions are members of what these stand in, as in C. With a `width` that is not 0, the member must be that many
    /// bytes.
    pub(super) fn offset(&self, structure: &str, path: &str, width: u32) -> Result<u32, BtfError> {
        let missing = || BtfError::Member { structure: structure.to_owned(), member: path.to_owned() };
        let mut candidates = self.structures(structure).peekable();
        if candidates.peek().is_none() {
            return Err(BtfError::Structure(structure.to_owned()));
        }
        let mut result = None;
        for found in candidates.filter_map(|at| self.follow(at, path)) {
            if *result.get_or_insert(found) != found {
                return Err(BtfError::Ambiguous { structure: structure.to_owned(), member: path.to_owned() });
            }
        }
        let found = result.ok_or_else(missing)?;
        if found.bits != 0 || found.bit % 8 != 0 {
            return Err(BtfError::BitField { structure: structure.to_owned(), member: path.to_owned() });
        }
        let size = self.size(found.of).ok_or_else(missing)?;
        if width != 0 && size != u64::from(width) {
            return Err(BtfError::Width {
                structure: structure.to_owned(),
                member: path.to_owned(),
                expected: width,
                found: size,
            });
        }
        u32::try_from(found.bit / 8).map_err(|_| missing())
    }

    fn structures(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.types
            .iter()
            .copied()
            .filter(move |&at| kind(at) == Kind::Composite && self.name(word(at, 0)) == name.as_bytes())
    }

    fn follow(&self, structure: &'a [u8], path: &str) -> Option<Found> {
        let (mut at, mut bit) = (structure, 0_u64);
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            let found = self.member(at, name, MAX_DEPTH, &mut { MAX_MEMBERS })?;
            bit = bit.checked_add(found.bit)?;
            if names.peek().is_none() {
                return Some(Found { bit, ..found });
            }
            at = self.resolve(found.of)?;
        }
        None
    }

    fn member(&self, structure: &'a [u8], name: &str, depth: usize, budget: &mut usize) -> Option<Found> {
        if kind(structure) != Kind::Composite {
            return None;
        }
        let has_bit_fields = word(structure, 4) >> 31 == 1;
        for member in structure[TYPE..].chunks_exact(MEMBER) {
            *budget = budget.checked_sub(1)?;
            let (label, of, offset) = (self.name(word(member, 0)), word(member, 4), word(member, 8));
            let (bit, bits) = if has_bit_fields { (offset & 0x00ff_ffff, offset >> 24) } else { (offset, 0) };
            if label == name.as_bytes() {
                return Some(Found { bit: bit.into(), bits, of });
            }
            if label.is_empty()
                && depth > 0
                && let Some(inner) = self.resolve(of)
                && let Some(found) = self.member(inner, name, depth - 1, budget)
            {
                return Some(Found { bit: found.bit + u64::from(bit), ..found });
            }
        }
        None
    }

    /// The type itself, past its other names and qualifiers.
    fn resolve(&self, number: u32) -> Option<&'a [u8]> {
        let mut at = self.get(number)?;
        for _ in 0..MAX_DEPTH {
            if kind(at) != Kind::Alias {
                return Some(at);
            }
            at = self.get(word(at, 8))?;
        }
        None
    }

    /// In bytes.
    fn size(&self, number: u32) -> Option<u64> {
        let mut count = 1_u64;
        let mut at = self.resolve(number)?;
        for _ in 0..MAX_DEPTH {
            match kind(at) {
                Kind::Sized | Kind::Composite => return count.checked_mul(word(at, 8).into()),
                Kind::Pointer => return count.checked_mul(size_of::<usize>() as u64),
                Kind::Array => {
                    count = count.checked_mul(word(at, TYPE + 8).into())?;
                    at = self.resolve(word(at, TYPE))?;
                }
                Kind::Alias | Kind::Other => return None,
            }
        }
        None
    }

    fn get(&self, number: u32) -> Option<&'a [u8]> {
        self.types.get((number as usize).checked_sub(1)?).copied()
    }

    /// Empty when there is none.
    fn name(&self, offset: u32) -> &'a [u8] {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        rest.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

/// The kinds' numbers, as the format defines them.
fn kind(at: &[u8]) -> Kind {
    match word(at, 4) >> 24 & 0x1f {
        // INT, ENUM, FLOAT, ENUM64
        1 | 6 | 16 | 19 => Kind::Sized,
        2 => Kind::Pointer,
        3 => Kind::Array,
        // STRUCT, UNION
        4 | 5 => Kind::Composite,
        // TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG
        8 | 9 | 10 | 11 | 18 => Kind::Alias,
        _ => Kind::Other,
    }
}

/// How many bytes follow a type.
fn tail(head: &[u8], number: usize) -> Result<usize, BtfError> {
    let info = word(head, 4);
    let count = (info & 0xffff) as usize;
    Ok(match info >> 24 & 0x1f {
        // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
        2 | 7 | 8 | 9 | 10 | 11 | 12 | 16 | 18 => 0,
        // INT, VAR, DECL_TAG
        1 | 14 | 17 => 4,
        // ARRAY
        3 => 12,
        // STRUCT, UNION, DATASEC, ENUM64
        4 | 5 | 15 | 19 => count * 12,
        // ENUM, FUNC_PROTO
        6 | 13 => count * 8,
        kind => return Err(BtfError::Kind { kind, number }),
    })
}

/// Entry of the fuzz target: whatever the bytes, an answer; and one within the structure when there is one.
#[doc(hidden)]
pub fn fuzz_btf(data: &[u8]) {
    let Ok(btf) = Btf::parse(data) else { return };
    for at in &btf.types {
        let Ok(structure) = std::str::from_utf8(btf.name(word(at, 0))) else { continue };
        for path in ["a", "a.b", "tgid", "d_name.len"] {
            for width in [0, 4, 8] {
                let _ = btf.offset(structure, path, width);
            }
        }
    }
}

#[cfg(test)]
mod tests;
