//! The main job, end to end: unmodified clients in the lab, captured, masked and audited.

mod bad_input;
mod bodies;
mod contract;
mod crash;
mod curl;
mod differential;
mod disconnects;
mod elsewhere;
mod h2_abuse;
mod hostile;
mod leftovers;
mod lifecycle;
mod load;
mod names;
mod namespaces;
mod origin;
mod record;
mod sdks;
mod slow;
mod smuggling;
mod status;
mod tamper;
mod transport;
mod upgrade;
mod upstream;
