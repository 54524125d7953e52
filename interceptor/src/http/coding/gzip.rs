//! `gzip` (RFC 1952): one or more members, each
//!
//! ```text
//! 1f 8b  CM=8  FLG  MTIME (4)  XFL  OS   [XLEN (2) extra] [name 00] [comment 00] [CRC16 (2)]
//! deflated data
//! CRC32 (4)  ISIZE (4)
//! ```

use flate2::Crc;

use super::decoder::Step;
use super::deflate::Inflate;
use super::{Coding, CodingError};

#[derive(Debug)]
pub(super) struct Gzip {
    state: State,
    inflate: Inflate,
    crc: Crc,
    /// Of the header's optional fields.
    optional: usize,
    extended: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// In the ten bytes that every header has.
    Fixed {
        at: u8,
        flags: u8,
    },
    /// In the optional fields that `flags` still names.
    Optional {
        flags: u8,
        field: Field,
    },
    Data,
    /// In the eight bytes behind the data.
    Trailer {
        at: u8,
        value: u64,
    },
    /// Behind a member: the end, or the next one.
    Between,
}

/// Where in an optional field.
#[derive(Clone, Copy, Debug)]
enum Field {
    /// Before one.
    None,
    /// Behind the low byte of XLEN.
    ExtraLength(u8),
    /// So much is left of extra data or of the header's checksum.
    Bytes(u16),
    /// Before the zero that ends a name or comment.
    Text,
}

const FHCRC: u8 = 1 << 1;
const FEXTRA: u8 = 1 << 2;
const FNAME: u8 = 1 << 3;
const FCOMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;

/// Bytes of optional fields in all members together.
const MAX_OPTIONAL: usize = 128 << 10;

impl Default for Gzip {
    fn default() -> Self {
        Self {
            state: State::Fixed { at: 0, flags: 0 },
            inflate: Inflate::new(Coding::Gzip, false),
            crc: Crc::new(),
            optional: 0,
            extended: false,
        }
    }
}

impl Gzip {
    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, CodingError> {
        if let State::Data = self.state {
            let step = self.inflate.step(input, output)?;
            self.crc.update(&output[..step.written]);
            if self.inflate.has_ended() {
                self.state = State::Trailer { at: 0, value: 0 };
            }
            return Ok(step);
        }
        let mut read = 0;
        while let (Some(&byte), false) = (input.get(read), matches!(self.state, State::Data)) {
            self.state = self.frame(byte)?;
            read += 1;
        }
        Ok(Step { read, written: 0 })
    }

    /// Whether the members that have begun are there to their ends.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.state, State::Between)
    }

    /// Whether a header had optional fields.
    pub(super) fn is_extended(&self) -> bool {
        self.extended
    }

    /// The state behind one byte that is not deflated data.
    fn frame(&mut self, byte: u8) -> Result<State, CodingError> {
        match self.state {
            State::Fixed { at, flags } => self.fixed(at, flags, byte),
            State::Optional { flags, field } => self.optional(flags, field, byte),
            State::Trailer { at, value } => self.trailer(at, value | u64::from(byte) << (8 * at)),
            // RFC 1952, 2.2: members follow one another, with nothing between them.
            State::Between if byte == 0x1f => {
                // Their heads have room for what nobody scans.
                self.extended = true;
                Ok(State::Fixed { at: 1, flags: 0 })
            }
            State::Between => Err(CodingError::Trailing { coding: Coding::Gzip }),
            State::Data => unreachable!("step() gives data to the inflater"),
        }
    }

    fn fixed(&mut self, at: u8, flags: u8, byte: u8) -> Result<State, CodingError> {
        match (at, byte) {
            (0, 0x1f) | (1, 0x8b) | (4..=8, _) => {}
            (0 | 1, _) => return Err(corrupt("it does not begin like one")),
            (2, 8) => {}
            (2, _) => return Err(corrupt("its compression method is not deflate")),
            (3, flags) if flags & RESERVED != 0 => return Err(corrupt("a reserved flag is set")),
            (3, flags) => return Ok(State::Fixed { at: 4, flags }),
            // Bit 0 (FTEXT) is only a hint.
            _ => return Ok(self.begin_optional(flags & (FHCRC | FEXTRA | FNAME | FCOMMENT))),
        }
        Ok(State::Fixed { at: at + 1, flags })
    }

    /// Before the next optional field, or the data if none is left.
    fn begin_optional(&mut self, flags: u8) -> State {
        if flags != 0 {
            return State::Optional { flags, field: Field::None };
        }
        self.inflate.reset();
        self.crc.reset();
        State::Data
    }

    fn optional(&mut self, flags: u8, field: Field, byte: u8) -> Result<State, CodingError> {
        self.optional += 1;
        if self.optional > MAX_OPTIONAL {
            return Err(corrupt("its header is too long"));
        }
        // They come in the order of their flags, but for the checksum, which is last.
        let first = [FEXTRA, FNAME, FCOMMENT].into_iter().find(|flag| flags & flag != 0);
        let current = first.unwrap_or(FHCRC);
        self.extended |= current != FHCRC;
        let field = match (field, current) {
            (Field::None, FEXTRA) => Field::ExtraLength(byte),
            (Field::None, FHCRC) => Field::Bytes(1),
            (Field::ExtraLength(low), _) => Field::Bytes(u16::from_le_bytes([low, byte])),
            (Field::Bytes(left), _) => Field::Bytes(left - 1),
            (Field::None | Field::Text, _) if byte == 0 => Field::Bytes(0),
            (Field::None | Field::Text, _) => Field::Text,
        };
        match field {
            Field::Bytes(0) => Ok(self.begin_optional(flags & !current)),
            field => Ok(State::Optional { flags, field }),
        }
    }

    fn trailer(&mut self, at: u8, value: u64) -> Result<State, CodingError> {
        if at < 7 {
            return Ok(State::Trailer { at: at + 1, value });
        }
        // Both are the low 32 bits; the sum of the size wraps as ISIZE does.
        let expected = u64::from(self.crc.sum()) | u64::from(self.crc.amount()) << 32;
        if value != expected {
            return Err(corrupt("its checksum does not fit"));
        }
        Ok(State::Between)
    }
}

fn corrupt(reason: &'static str) -> CodingError {
    CodingError::Corrupt { coding: Coding::Gzip, reason }
}
