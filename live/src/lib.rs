//! The real world: network namespaces, veth wires and TUN devices, built by netlink and never by running commands.
//!
//! The same forwarders and services that the simulator runs are run here on the kernel. This crate is the only one
//! that may hold `unsafe`, and each such place says why there is no safe way.
//!
//! - [`lab`]: a topology as namespaces and processes on this machine: up, down, status, exec.
//! - [`node`], [`backend`]: what each of those processes does.
//! - [`dataplane`]: drives a forwarder on a TUN device and tunnel sockets.
//! - [`host`]: the kernel's TCP and UDP, and tokio's time and tasks, for async services.
//! - [`load`]: the clients of the simulator on this machine's sockets.
//! - [`controller`], [`foreground`]: a controller as a process, and what such a program runs on.
//! - [`netns`], [`netlink`], [`prefix`], [`tun`]: the ground that the lab stands on.
//! - [`packet_socket`]: the wire of one device, to send on and to watch.
//! - [`wires`], [`offloads`]: wires with the delays and losses of the simulator's links.
//! - [`control`]: how a node process says that it answers.
//! - [`bundle`], [`containerlab`], [`yaml`]: a topology for machines of their own.
//! - [`huge_pages`]: where the memory of a long simulation lies.
//! - [`memory`]: how much of it there has been.
//! - [`doctor`]: what of a machine would keep a node from working.

pub mod backend;
pub mod bundle;
pub mod containerlab;
pub mod control;
pub mod controller;
pub mod dataplane;
pub mod doctor;
mod entropy;
pub mod foreground;
pub mod host;
pub mod huge_pages;
pub mod lab;
pub mod load;
pub mod memory;
pub mod netlink;
pub mod netns;
pub mod node;
pub mod offloads;
pub mod overruns;
pub mod packet_socket;
pub mod pcapng;
pub mod prefix;
pub mod processor;
pub mod tun;
pub mod wires;
pub mod yaml;
