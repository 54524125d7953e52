//! Whose protocol an endpoint speaks.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The protocol family of a model endpoint: it decides where text is found and what an error looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// OpenAI and the many servers that copy its API.
    OpenAi,
    /// Anthropic.
    Anthropic,
}

impl Provider {
    /// The name used in configuration and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
