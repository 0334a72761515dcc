//! The real world: network namespaces, veth wires and TUN devices, built by netlink and never by running commands.
//!
//! The same forwarders and services that the simulator runs are run here on the kernel. This crate is the only one
//! that may hold `unsafe`, and each such place says why there is no safe way.
//!
//! - [`lab`]: a topology as namespaces and processes on this machine: up, down, status, exec.
//! - [`netns`], [`netlink`], [`prefix`]: the ground the lab stands on.
//! - [`tun`]: the device through which a node takes the packets of its VIPs.
//! - [`control`]: how a node process says that it answers.

pub mod control;
pub mod dataplane;
pub mod host;
pub mod lab;
pub mod netlink;
pub mod netns;
pub mod prefix;
pub mod tun;
