//! Every capture of the data set through parsers, rewriting and all three forwarders: no panic, and nothing
//! malformed comes out.

#[path = "captures/forwarders.rs"]
mod forwarders;
#[path = "captures/wire.rs"]
mod wire;
