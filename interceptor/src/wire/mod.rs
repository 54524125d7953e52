//! Providers' protocols: where is the text, and what does an error look like?
//!
//! Pure: bytes in, [`flow`](crate::flow) values out. A request body is never re-serialised; [`locate()`] finds every
//! string, key and long number in it, decodes them, and keeps the way back to the raw bytes, so that a replacement
//! can be patched in place.
//!
//! ```text
//! Operation::of(provider, method, target)   which call is this?
//! locate(operation, body) -> Document       its text as fields, what is not text as parts
//! Summary::new(provider, content type)      watches the response: model, usage, how it ended
//! error_body(...)                           a refusal in the provider's own words
//! ```

mod anthropic;
mod document;
mod error;
mod json;
mod locate;
mod openai;
mod operation;
mod path;
mod reply;
mod schema;
mod sse;
mod summary;
#[cfg(test)]
mod tests;
mod unescape;

pub use document::{Document, Kind, Part, Reason, Status};
pub use error::Error;
pub use locate::{fuzz_locate, locate};
pub use operation::Operation;
pub use reply::{amazon_error_type, error_body, overloaded_status};
pub use sse::{Event, EventStream, fuzz_sse};
pub use summary::{Outcome, Summary};
