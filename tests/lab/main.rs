//! The main job, end to end: unmodified clients in the lab, captured, masked and audited.

mod bad_input;
mod ca;
mod certificates;
mod contract;
mod crash;
mod curl;
mod elsewhere;
mod hostile;
mod leftovers;
mod lifecycle;
mod names;
mod namespaces;
mod record;
mod sdks;
mod status;
mod tamper;
mod tls_scanners;
mod upgrade;
mod upstream;
