//! The two ends of every flow: load-generating clients and demo backends.
//!
//! Both are written once, generic over [`anyedge_net::host::Host`]: the simulator runs them in virtual time
//! over simulated TCP, the live world on kernel sockets. Clients are open loop ([`clients`]): what they
//! send, and when, is settled by [`schedule`] before the first answer arrives, so a slow network cannot
//! make its own load lighter. Whatever is sent ends in exactly one outcome of [`stats`].
//!
//! What travels between them: the raw sized [`exchange`] and the [`long_flow`] over TCP, the echoed [`tick`]
//! over UDP, and HTTP/1.1 for people and their tools. The [`backend`] tells the raw ones from the last by one
//! byte.

pub mod backend;
pub mod clients;
pub mod distance;
pub mod exchange;
pub mod failure;
pub mod hgrm;
pub mod load;
pub mod long_flow;
pub mod pace;
pub mod pattern;
pub mod receipt;
pub mod schedule;
mod scratch;
pub mod stats;
pub mod tick;
