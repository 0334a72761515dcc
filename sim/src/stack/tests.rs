//! Two hosts, a wire with delay and loss between them, and what TCP and UDP promise across it.

mod fragments;
mod pipe;
mod tcp;
mod udp;
