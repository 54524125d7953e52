//! Benchmark entry: leaves of one section, without a record's JSON. What remains is what every frame costs: digest,
//! checksum, sealing, leaf and chain hash, the Merkle tree, the copy.

use super::exchange::{Worker, wait};
use super::frame::{Content, Kind};
use super::writer::{Plan, Wanted};
use super::{Error, Log};
use crate::flow::ExchangeId;

/// Appends leaves, as one thread of the proxy does.
#[derive(Debug)]
pub struct BenchLeaves {
    worker: Worker,
    /// Of all of them: drawing one is no part of what a frame costs.
    exchange: ExchangeId,
}

impl BenchLeaves {
    /// With a data key of its own.
    ///
    /// # Errors
    /// As [`Log::worker`].
    pub fn new(log: &Log) -> Result<Self, Error> {
        Ok(Self { worker: log.worker()?, exchange: ExchangeId::new() })
    }

    /// Appends a leaf that holds `bytes`, sealed or as they are; with `durable` it waits until that is safe from loss of
    /// power.
    ///
    /// # Errors
    /// When it is not recorded.
    pub async fn append(&self, bytes: &[u8], sealed: bool, durable: bool) -> Result<(), Error> {
        let plan = Plan::new(Kind::Refusal, self.exchange);
        let wanted = if durable { Wanted::Durable } else { Wanted::Appended };
        let ticket = if sealed {
            let (key, bytes) = self.worker.seal(self.exchange, Content::Response, bytes)?;
            self.worker.append_plan(&plan.sealed(Content::Response, key, &bytes), wanted).await?
        } else {
            self.worker.append_plan(&plan.plain(Content::Response, bytes), wanted).await?
        };
        wait(ticket).await
    }
}
