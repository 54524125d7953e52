//! A client of the lab that keeps the daemon busy: thousands of streams at once, or requests as fast as they are answered.
//!
//! ```text
//! lab-load streams COUNT IDLE_SECONDS EVENTS    as many streams, silent for so long, then so many events on each
//! lab-load requests CONNECTIONS SECONDS BYTES   one request after the other on each connection, with bodies of that size
//! ```
//!
//! Prints one JSON document. Finds the lab by the variables that every command in it has.

#![expect(clippy::print_stdout, reason = "the report")]

mod client;
mod daemon;
mod requests;
mod streams;

use anyhow::{Context as _, Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<u64> = arguments
        .iter()
        .skip(1)
        .map(|text| text.parse().with_context(|| format!("{text} is not a number")))
        .collect::<Result<_>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = match (arguments.first().map(String::as_str), &numbers[..]) {
        (Some("streams"), &[count, idle, events]) => runtime.block_on(streams::run(count, idle, events))?,
        (Some("requests"), &[connections, seconds, bytes]) => {
            runtime.block_on(requests::run(connections, seconds, bytes))?
        }
        _ => bail!("usage: lab-load streams COUNT IDLE_SECONDS EVENTS | requests CONNECTIONS SECONDS BYTES"),
    };
    println!("{report}");
    Ok(())
}
