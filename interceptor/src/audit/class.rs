//! Classes of content: what is kept equally long, and sealed under keys of its own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::frame::Content;

/// A class of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Requests: the original, and what left.
    Prompts,
    /// What came back.
    Responses,
    /// Everything else that a record says: who, where, when, what was found and decided.
    Decisions,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Prompts, Self::Responses, Self::Decisions];
    /// Those that have sealed content.
    pub(crate) const SEALED: [Self; 2] = [Self::Prompts, Self::Responses];

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Prompts => "prompts",
            Self::Responses => "responses",
            Self::Decisions => "decisions",
        }
    }
}

impl Content {
    /// The class that it belongs to.
    #[must_use]
    pub fn class(self) -> Class {
        match self {
            Self::Json => Class::Decisions,
            Self::Original | Self::MaskedHead | Self::MaskedBody | Self::Upload => Class::Prompts,
            Self::Response => Class::Responses,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that no class has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no class of content: there are prompts, responses and decisions")]
pub struct UnknownClass(String);

impl FromStr for Class {
    type Err = UnknownClass;

    fn from_str(name: &str) -> Result<Self, UnknownClass> {
        Self::ALL.into_iter().find(|class| class.name() == name).ok_or_else(|| UnknownClass(name.to_owned()))
    }
}
