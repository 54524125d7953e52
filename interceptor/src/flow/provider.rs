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
    /// Google's Gemini API and Vertex AI.
    Gemini,
    /// Amazon Bedrock's runtime.
    Bedrock,
    /// Cohere.
    Cohere,
    /// Ollama's own API.
    Ollama,
    /// An API that is nobody else's: its requests are opaque, and policy decides on them.
    Other,
}

impl Provider {
    /// Every family.
    pub const ALL: [Self; 7] =
        [Self::OpenAi, Self::Anthropic, Self::Gemini, Self::Bedrock, Self::Cohere, Self::Ollama, Self::Other];

    /// The name used in configuration and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Bedrock => "bedrock",
            Self::Cohere => "cohere",
            Self::Ollama => "ollama",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_and_configuration_spell_a_family_alike() {
        for provider in Provider::ALL {
            assert_eq!(serde_json::to_value(provider).unwrap(), provider.as_str());
        }
    }
}
