//! The sealed, tamper-evident log.

use serde::Deserialize;

/// When a record counts as durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// In the mapping: survives the daemon's death.
    Process,
    /// `msync` returned: survives the loss of power.
    #[default]
    Power,
}
