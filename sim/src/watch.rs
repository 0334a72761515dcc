//! What a run shows of itself while it goes on: every packet that a link delivers, and what was done with it there.
//!
//! A [`Watcher`] sees and cannot: it gets copies, draws nothing and is asked nothing that the world acts upon, so that a
//! run with one has the digest of a run without. Where there is none, nothing is copied or noted.
//!
//! Packets of a flow show other tuples behind a load balancer; here a flow is always named as its client sees it.

use core::fmt;
use std::net::SocketAddr;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::flow::{Address, FlowKey};
use anyedge_net::time::Instant;
use serde::Serialize;

/// Somebody who is told what happens.
pub trait Watcher: Send {
    /// A link delivered a packet, and all that followed at the same instant is done.
    fn delivered(&mut self, delivery: &Delivery<'_>) {
        let _ = delivery;
    }

    /// Whether it wants to know of every step of `flow`, and why it was taken.
    fn asks(&self, flow: &FlowKey) -> bool {
        let _ = flow;
        false
    }

    /// A packet of a flow that was asked about came somewhere and went on, or did not.
    fn handled(&mut self, flow: &FlowKey, handled: &Handled) {
        let _ = (flow, handled);
    }

    /// Whether it has seen enough: the run ends then.
    fn is_satisfied(&self) -> bool {
        false
    }
}

/// A packet that came out of a link.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// When.
    pub at: Instant,
    /// The link's number; links that are made later have higher ones.
    pub link: usize,
    /// The link's name with its direction, such as `client.osaka>pop.tokyo`.
    pub name: &'a str,
    /// All of the packet, as it was on the wire.
    pub bytes: &'a [u8],
    /// Its flow, as the client sees it; `None` for what is no flow's, such as probes.
    pub flow: Option<FlowKey>,
    /// What was done with it, and with what came of it, at that instant.
    pub handled: &'a [Handled],
    /// A host took it in, with no node between.
    pub received: bool,
    /// Why it ended where no node was.
    pub lost: Option<DropReason>,
}

/// What somebody did with a packet.
#[derive(Clone, Debug, Serialize)]
pub struct Handled {
    /// When, in seconds.
    pub at_s: f64,
    /// The node's full name, or the population's that sends.
    pub who: String,
    /// It is an answer: from the VIP's side to the client.
    pub answer: bool,
    /// What was done, in order.
    pub did: Vec<Did>,
    /// Why, where somebody asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<Why>,
}

/// One thing that was done with a packet.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "did", rename_all = "kebab-case")]
pub enum Did {
    /// Sent by a tunnel.
    Tunnelled {
        /// The node at its other end.
        to: String,
        /// The path.
        over: String,
        /// The slot in its key.
        slot: u16,
        /// It is the one hop between CLB nodes.
        hop: bool,
    },
    /// The slot's other owner was told of the flow.
    Replicated {
        /// Who that is.
        to: String,
    },
    /// Sent to the Internet.
    LetOut,
    /// Sent over the region's own network, without a tunnel.
    Routed,
    /// Given to the backend beside the node.
    GivenToBackend,
    /// The flow was given to a target.
    Opened {
        /// Its address and port.
        target: SocketAddr,
    },
    /// The node went on with a flow that another had opened.
    TookOver,
    /// It is on a link.
    OnLink {
        /// The link, with its direction.
        link: String,
        /// When it will arrive, in seconds.
        arrives_s: f64,
    },
    /// A link did not take it.
    LinkLost {
        /// The link, with its direction.
        link: String,
        /// Why.
        reason: &'static str,
    },
    /// It was on a link that went down.
    CutOff {
        /// The link, with its direction.
        link: String,
    },
    /// A host took it in.
    Received,
    /// It ended there.
    Dropped {
        /// Why.
        reason: &'static str,
    },
}

/// Why something was done: what the one who did it went by.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum Why {
    /// BGP: the best of those who announce.
    Catchment {
        /// The best first; those that have withdrawn last.
        candidates: Vec<Candidate>,
        /// The POP or region that packets enter by.
        chosen: Option<String>,
        /// They go to one place whatever is announced.
        pinned: bool,
    },
    /// The slot in the route table, and the node's own links.
    Slot {
        /// Of the table in force at the node.
        revision: u64,
        /// The owner of the slot.
        primary: Option<String>,
        /// Who takes its place.
        secondary: Option<String>,
        /// The node's links to whom it sent.
        links: Vec<LinkState>,
    },
    /// An answer goes back by the POP that the flow entered by last, as long as a path there is alive.
    WayBack {
        /// Of the table in force at the node.
        revision: u64,
        /// That POP; `None` straight from the Internet, or where the flow is not known.
        entered_by: Option<String>,
    },
    /// The listener's rule and its targets.
    Listener {
        /// Of the table in force at the node.
        revision: u64,
        /// Load balancer and listener; `None` when there is none for the flow.
        listener: Option<String>,
        /// How it chooses: `wrr`, `wlc`, `ip-hash` or `maglev`.
        scheduler: Option<&'static str>,
        /// Where its client stays.
        stays_with: Option<SocketAddr>,
        /// The target that the flow had before this packet.
        known: Option<SocketAddr>,
        /// Another node served it.
        replica: bool,
        /// Those of the flow's family.
        targets: Vec<TargetState>,
    },
}

/// A place where packets to a VIP may enter.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Candidate {
    /// Such as `pop.tokyo`.
    pub site: String,
    /// `announced`, `leaving` or `withdrawn`, as the population has heard.
    pub standing: &'static str,
    /// Networks on the way.
    pub networks: u8,
    /// Round trip.
    pub rtt_ms: f64,
}

/// A node's link to another.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct LinkState {
    /// The path that it is over.
    pub path: String,
    /// Its other end.
    pub peer: String,
    /// Its cost.
    pub rtt_ms: f64,
    /// Whether it carries packets, as far as the node knows.
    pub live: bool,
}

/// A target as a CLB node sees it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct TargetState {
    /// Address and port.
    pub target: SocketAddr,
    /// In the table.
    pub weight: u8,
    /// Its checks find it well, or it has none.
    pub healthy: bool,
    /// It may take new flows, weight aside.
    pub open: bool,
    /// Its flows from all nodes, where they are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<u32>,
}

/// An address and its port.
pub(crate) fn socket((address, port): (Address, u16)) -> SocketAddr {
    SocketAddr::new(address.into(), port)
}

impl fmt::Display for Delivery<'_> {
    /// One line about the packet: its flow, and what was decided about it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.flow {
            Some(flow) => write!(f, "flow {flow}")?,
            None => f.write_str("no flow")?,
        }
        for handled in self.handled {
            write!(f, "; {handled}")?;
        }
        if self.received {
            f.write_str("; received")?;
        }
        if let Some(reason) = self.lost {
            write!(f, "; lost: {}", reason.name())?;
        }
        Ok(())
    }
}

impl fmt::Display for Handled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.who)?;
        if self.did.is_empty() {
            return f.write_str(" took it in");
        }
        let mut before = " ";
        for did in &self.did {
            write!(f, "{before}{did}")?;
            before = ", ";
        }
        Ok(())
    }
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Did::Tunnelled {
                to,
                over,
                slot,
                hop,
            } => {
                let hop = if *hop { " by its one hop" } else { "" };
                write!(f, "sent it to {to} over {over} in slot {slot}{hop}")
            }
            Did::Replicated { to } => write!(f, "told {to} of the flow"),
            Did::LetOut => f.write_str("let it out to the Internet"),
            Did::Routed => f.write_str("sent it over the region's own network"),
            Did::GivenToBackend => f.write_str("gave it to the backend"),
            Did::Opened { target } => write!(f, "chose target {target}"),
            Did::TookOver => f.write_str("took the flow over"),
            Did::OnLink { link, .. } => write!(f, "put it on {link}"),
            Did::LinkLost { link, reason } => write!(f, "lost it on {link}: {reason}"),
            Did::CutOff { link } => write!(f, "was cut off on {link}, which went down"),
            Did::Received => f.write_str("received it"),
            Did::Dropped { reason } => write!(f, "dropped it: {reason}"),
        }
    }
}
