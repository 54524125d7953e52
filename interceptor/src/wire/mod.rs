//! Providers' protocols: where is the text, and what does an error look like?
//!
//! Pure: bytes in, [`flow`](crate::flow) values out. A request body is never re-serialised; [`locate()`] finds every
//! string, key and long number in it, decodes them, and keeps the way back to the raw bytes, so that a replacement
//! can be patched in place.
//!
//! ```text
//! Operation::of(provider, method, target)   which call is this?
//! locate(operation, body) -> Document       its text as fields, what is not text as parts
//! locate_as(operation, content type, body)  the same for whatever format the operation may be asked for in
//! locate_message(text) -> Document          the same for a message of a WebSocket
//! Summary::new(provider, content type)      watches the response: model, usage, how it ended
//! error_body(...)                           a refusal in the provider's own words
//! ```

mod anthropic;
mod document;
mod error;
mod eventstream;
mod format;
mod json;
mod line_stream;
mod lines;
mod locate;
mod multipart;
mod openai;
mod operation;
mod path;
mod reply;
mod restore;
mod schema;
mod sse;
mod summary;
#[cfg(test)]
mod tests;
mod unescape;
mod upload;
mod walk;

pub use document::{Document, Kind, Part, Reason, Status};
pub use error::Error;
pub use eventstream::{AwsEventStream, AwsMessage, AwsStreamError, AwsValue, fuzz_eventstream};
pub use lines::fuzz_lines;
pub use locate::{fuzz_locate, locate, locate_as, locate_message};
pub use operation::Operation;
pub use reply::{amazon_error_type, error_body, overloaded_status};
pub use restore::{Restoration, Restorer, Search, Tokens, Unrestored, restorable};
pub use sse::{Event, EventStream, fuzz_sse};
pub use summary::{Outcome, Summary};
pub use upload::fuzz_multipart;
