//! The words every stage uses: addresses by role, ids, spans, located text, findings; text made fit to be looked at. Uses
//! nothing of this crate.

mod addr;
mod finding;
mod harmless;
mod histogram;
mod id;
mod provider;
mod text;

pub use addr::{ClientAddr, OriginalDst};
pub use finding::{Action, Finding, Located, RuleMeta, Severity};
pub use harmless::harmless;
pub use histogram::Histogram;
pub use id::{BodyDigest, ExchangeId};
pub use provider::Provider;
pub use text::{Access, ByteSpan, Field, Form, OffsetMap, Run};
