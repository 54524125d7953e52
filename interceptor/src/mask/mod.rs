//! Finds sensitive values in the text of a request and replaces them with tokens.
//!
//! ```text
//! text ─┬─ Hyperscan, no SOM: where does something shaped like a secret end?   (database)
//!       └─ digit gate: which tokens hold digits, and what is their shape?      (gate, picture, phone)
//!            └─ verify: find the exact span in a bounded window, run the validator, read the context
//!                 └─ resolve: confirmed > specific prefix > longest > generic
//!                      └─ rewrite: patch the raw spans of the body             -> Masked
//! ```
//!
//! Pure: no sockets, no clock, nothing of this crate but `flow`. Rules are data (`rules/*.toml`); their examples are
//! tests. Text is scanned whole (block mode); every step's cost is bounded by the length of the text, and a text that
//! would cost more ends in an [`Error`], on which the caller refuses the request.

mod context;
mod engine;
mod extent;
mod fold;
mod gate;
mod hyperscan;
mod lone;
mod phone;
mod picture;
mod resolve;
mod rewrite;
mod rules;
mod scan;
mod token;
mod validate;
mod verify;

#[cfg(test)]
mod tests;

pub use engine::Engine;
pub use rewrite::{Exemption, Masked, redact, rewrite};
pub use scan::Scanner;
pub use token::TokenKey;

/// Why a text was not scanned or not rewritten. Whoever sees one refuses the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A rule file does not say what a rule must.
    #[error("rule file {file}: {reason}")]
    Rules {
        /// The file's name.
        file: String,
        /// What is wrong, naming the rule where one is known.
        reason: String,
    },
    /// Hyperscan refused the patterns, or could not allocate.
    #[error("Hyperscan: {0}; is libhyperscan 5.4 installed and does this CPU have SSSE3?")]
    Hyperscan(String),
    /// The linked library does not find what it must find.
    #[error("the linked Hyperscan ({version}) failed its self-test: {reason}; install Intel's libhyperscan 5.4.0")]
    SelfTest {
        /// What the library says of itself.
        version: String,
        /// What differed.
        reason: String,
    },
    /// More candidates than a text of this length may have.
    #[error("more than {limit} candidates in {bytes} bytes of text; split the request")]
    TooManyMatches {
        /// The cap for this text.
        limit: usize,
        /// The text's length.
        bytes: usize,
    },
    /// Verifying the candidates would take more than a text of this length may cost.
    #[error("verifying candidates in {bytes} bytes of text exceeds {limit} units of work; split the request")]
    TooMuchWork {
        /// The cap for this text, in bytes looked at.
        limit: usize,
        /// The text's length.
        bytes: usize,
    },
    /// The text is longer than Hyperscan can address.
    #[error("a text of {0} bytes is too long to scan; the limit is 4 GiB")]
    TooLong(usize),
    /// Policy wants a value masked where replacing it would break the protocol.
    #[error("{entity} found in {path}, which is signed and cannot be changed; remove the value from the conversation")]
    ReadOnly {
        /// The field, as [`crate::flow::Field::path`].
        path: String,
        /// The kind of value.
        entity: String,
    },
    /// Policy wants the request denied, so there is nothing to rewrite.
    #[error("{entity} found in {path} is not allowed to leave")]
    Denied {
        /// The field, as [`crate::flow::Field::path`].
        path: String,
        /// The kind of value.
        entity: String,
    },
    /// A finding does not lie in the field or the body it names.
    #[error("a finding does not lie in {path} of the body it was found in")]
    Misplaced {
        /// The field, as [`crate::flow::Field::path`].
        path: String,
    },
    /// The findings and the actions do not pair up.
    #[error("{findings} findings but {actions} actions")]
    Unpaired {
        /// Findings given.
        findings: usize,
        /// Actions given.
        actions: usize,
    },
}
