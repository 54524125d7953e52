//! What frames say and hold.

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request about to leave. A leaf of the tree.
    Request,
    /// A piece of a request's or response's content. Not a leaf: the leaf that ends it refers to it.
    Part,
    /// The end of an exchange. A leaf.
    Completion,
    /// A request that never left. A leaf.
    Refusal,
    /// Something the log says about itself: a recovery. A leaf.
    Note,
    /// Someone unsealed a record. A leaf.
    Access,
    /// Someone changed what the log keeps: removed contents, placed or released a hold. A leaf.
    Act,
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Request, Self::Part, Self::Completion, Self::Refusal, Self::Note, Self::Access, Self::Act];

    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Request => 1,
            Self::Part => 2,
            Self::Completion => 3,
            Self::Refusal => 4,
            Self::Note => 5,
            Self::Access => 6,
            Self::Act => 7,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Part => "part",
            Self::Completion => "completion",
            Self::Refusal => "refusal",
            Self::Note => "note",
            Self::Access => "access",
            Self::Act => "act",
        }
    }

    /// Whether the frame is a leaf of the Merkle tree.
    #[must_use]
    pub fn is_leaf(self) -> bool {
        self != Self::Part
    }
}

/// What a section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// JSON of the record, the completion, the note or the access.
    Json,
    /// The request as the client sent it: head and body.
    Original,
    /// The head of the request as it left, credentials removed.
    MaskedHead,
    /// The body of the request as it left.
    MaskedBody,
    /// The response as it came.
    Response,
    /// The body of a request that was passed on as it came.
    Upload,
}

impl Content {
    pub(crate) const ALL: [Self; 6] =
        [Self::Json, Self::Original, Self::MaskedHead, Self::MaskedBody, Self::Response, Self::Upload];

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Original => "original",
            Self::MaskedHead => "masked-head",
            Self::MaskedBody => "masked-body",
            Self::Response => "response",
            Self::Upload => "upload",
        }
    }

    /// The number that stands for it on disk.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Json => 1,
            Self::Original => 2,
            Self::MaskedHead => 3,
            Self::MaskedBody => 4,
            Self::Response => 5,
            Self::Upload => 6,
        }
    }
}

/// How a section's bytes are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// In this frame, readable. The digest is SHA-256 of the bytes.
    Plain,
    /// In this frame, sealed. The digest is SHA-256 of the sealed bytes.
    Sealed,
    /// In earlier `Part` frames of the same exchange. The length is their number, the digest runs over their leaf
    /// hashes (`tree::parts`).
    Parts,
}

impl Holding {
    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Sealed => "sealed",
            Self::Parts => "parts",
        }
    }

    /// The number that stands for it on disk.
    pub(super) fn flags(self) -> u16 {
        match self {
            Self::Plain => 0,
            Self::Sealed => 1,
            Self::Parts => 2,
        }
    }
}
