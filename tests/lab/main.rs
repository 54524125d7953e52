//! The main job, end to end: unmodified clients in the lab, captured, masked and audited.

mod bad_input;
mod clients;
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
mod status;
mod tamper;
mod upgrade;
mod upstream;
