//! The live crate on the real kernel: namespaces, wires, TUN devices, sockets.
//!
//! Every test here that leaves the loopback needs root and is skipped loudly without it. Each has a lab of its own, so that they run side by
//! side, and takes it down also when it fails.

#[path = "kernel/dataplane.rs"]
mod dataplane;
#[path = "kernel/host.rs"]
mod host;
#[path = "kernel/lab.rs"]
mod lab;
#[path = "kernel/lone_lab.rs"]
mod lone_lab;
#[path = "kernel/offload.rs"]
mod offload;
#[path = "kernel/raw_gre.rs"]
mod raw_gre;
#[path = "kernel/streams.rs"]
mod streams;
#[path = "kernel/tun.rs"]
mod tun;
#[path = "kernel/wires.rs"]
mod wires;
#[path = "kernel/workers.rs"]
mod workers;
