//! Finds sensitive values in the text of a request and replaces them, with tokens unless policy says otherwise.
//!
//! ```text
//! text ─── one pass: what is each byte?                                        (classes)
//!       ├─ Hyperscan, no SOM: where does something shaped like a secret end?   (hyperscan; run: keys around long runs only)
//!       └─ digit gate: which tokens hold digits, and what is their shape?      (shapes, picture, phone)
//!            └─ verify: find the exact span in a bounded window, run the validator, read the context
//!                 └─ resolve: confirmed > specific prefix > longest > generic
//!                      └─ rewrite: patch the raw spans of the body             -> Masked
//! ```
//!
//! What is encoded in a text is decoded in a copy, which is scanned the same way (encoded).
//!
//! Pure: no sockets, no clock, nothing of this crate but `flow`. Rules are data (`rules/*.toml`, and files and
//! dictionaries of the operator's); their examples are tests. Text is scanned whole (block mode), or piece by piece as it
//! arrives ([`Stream`]) with the same result, but for what is encoded; every step's cost is bounded by the length of the text, and a text that
//! would cost more ends in an [`Error`], on which the caller refuses the request.

mod classes;
mod context;
mod encoded;
mod engine;
mod explain;
mod extent;
mod fold;
mod fuzz;
mod hyperscan;
mod lone;
mod phone;
mod picture;
mod replace;
mod resolve;
mod restore;
mod rewrite;
mod rules;
mod run;
mod scan;
mod shapes;
mod stream;
mod surrogate;
mod token;
mod validate;
mod verify;
mod vocabulary;

#[cfg(test)]
mod kinds;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod twice;

pub use encoded::fuzz_encoded;
pub use engine::{DatabaseCache, Engine, Loaded};
pub use explain::{Checks, Fate, Proposal};
pub use fuzz::fuzz_scan_embedded;
pub use restore::{Found, Matcher, Originals};
pub use rewrite::{Exemption, Masked, Orders, redact, rewrite};
pub use rules::dictionary::{Case, DictionaryHead};
pub use rules::fuzz::fuzz_rule_file;
pub use rules::mistake::{Fault, Mistake, Mistakes, Origin, Position};
pub use rules::set::{Progress, RuleSet};
pub use scan::Scanner;
pub use stream::{Released, Stream, fuzz_mask_stream};
pub use token::TokenKey;
pub use verify::fuzz_scan_reference;

/// Ordinary text: prose, code, JSON, a log. What rules cost is measured on it.
pub const SAMPLE: &str = include_str!("../../rules/sample.txt");

/// Why a text was not scanned or not rewritten. Whoever sees one refuses the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Rule files or dictionaries do not say what they must.
    #[error("{0}")]
    Rules(Mistakes),
    /// A rule is to be left out that there is not.
    #[error("there is no built-in rule {0:?}; `interceptor rules list` lists them")]
    UnknownRule(String),
    /// The rules cannot be followed through a text that comes in pieces.
    #[error("text that comes in pieces cannot be scanned with these rules: {0}")]
    Stream(String),
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
    /// Values of a stream overlap in a chain that does not end.
    #[error("more than {0} bytes of a stream depend on what follows")]
    TooMuchHeld(usize),
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
