//! The edge node (POP): where clients enter the private network, and where answers leave it.
//!
//! [`pop::Pop`] is a [`Forwarder`](anyedge_net::forwarder::Forwarder). A client's packet to a VIP takes
//! `ingress`: `choose_clb_node` finds its slot's node and the path there, and it leaves by a tunnel. An answer
//! takes `egress` to the Internet. A POP keeps nothing about any flow, so a flow survives the loss of its POP.

pub mod advertise;
pub mod bfd;
pub mod bgp;
pub mod pop;

mod announce;
mod choose_clb_node;
mod egress;
mod icmp;
mod ingress;
mod vips;
