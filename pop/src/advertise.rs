//! Advertisement: a POP's speakers, which tell its routers what its forwarder wants announced.
//!
//! [`run`] is the service: it reads the POP's [`Inbox`], keeps a BGP session with each neighbour and, beside it, a BFD
//! session whose end ends the other (RFC 5882). What is told are prefixes, /24 and /48 mostly, since the Internet takes
//! no longer ones: a prefix is announced while any of its VIPs is to be. A POP that drains announces on with
//! GRACEFUL_SHUTDOWN for [`Plan::drain`] (RFC 8326 §4), then withdraws.
//!
//! Fail-safe: a data plane that gives no sign of life for [`Plan::dead_after`] announces nothing, and again when it does.

mod inbox;
mod intent;
mod wire;

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeMap;

use anyedge_net::flow::{Address, Family};
use anyedge_net::host::Host;
use futures_util::future::{Either, join_all, pending, select};
use tokio::sync::{mpsc, oneshot};

use crate::bfd;
use crate::bgp::IpNet;
use crate::bgp::speaker::{self, Orders, Peer};

pub use inbox::{Inbox, Standing};
pub use wire::Wire;

use intent::Intent;

/// Orders that may wait for a speaker.
const ORDERS_MAX: usize = 4;
/// Before BFD asks again for sockets that it did not get.
const SOCKETS_AGAIN: Duration = Duration::from_secs(1);

/// What a POP announces by, and to whom.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The prefix of each VIP that has not the usual one.
    pub prefixes: BTreeMap<Address, IpNet>,
    /// The routers.
    pub neighbours: Vec<Neighbour>,
    /// How long a POP that drains announces on, with GRACEFUL_SHUTDOWN.
    pub drain: Duration,
    /// How long its data plane may give no sign of life; `None`: for ever.
    pub dead_after: Option<Duration>,
}

impl Plan {
    /// The prefix that a VIP is announced in.
    pub fn prefix(&self, vip: Address) -> IpNet {
        let usual = || {
            let length = match vip.family() {
                Family::V4 => 24,
                Family::V6 => 48,
            };
            let around = IpNet::new(vip.into(), length);
            around.expect("an address has as many bits").trunc()
        };
        self.prefixes.get(&vip).copied().unwrap_or_else(usual)
    }
}

/// A router.
#[derive(Clone, Debug)]
pub struct Neighbour {
    /// The BGP session.
    pub peer: Peer,
    /// The BFD session beside it, and our address for it.
    pub bfd: Option<(IpAddr, bfd::Config)>,
}

/// Speaks with the neighbours from the time when the forwarder first says what it wants of a VIP until the inbox is
/// closed; then the sessions are shut down, so that routers know at once.
pub async fn run<H: Host>(host: H, plan: Plan, inbox: Inbox) {
    inbox.begin(&plan.neighbours);
    inbox.told().await;
    let mut intent = Intent::begin(host.now(), &inbox.look());
    let mut speakers = start_speakers(&host, &plan, &inbox);
    start_bfd(&host, &plan, &inbox);
    let mut last: Vec<Option<Orders>> = vec![None; speakers.len()];
    loop {
        let wanted = inbox.look();
        if wanted.is_closed {
            break;
        }
        let now = host.now();
        let (offers, wake_at) = intent.offers(now, &wanted, &plan);
        for ((speaker, last), bfd_downs) in speakers.iter().zip(&mut last).zip(&wanted.bfd_downs) {
            let orders = Orders {
                offers: offers.clone(),
                drains: wanted.drains,
                bfd_downs: *bfd_downs,
            };
            if last.as_ref() != Some(&orders) {
                // A speaker lives as long as its orders.
                let _ = speaker.orders.send(orders.clone()).await;
                *last = Some(orders);
            }
        }
        let timer = match wake_at {
            Some(at) => Either::Left(host.sleep_until(at)),
            None => Either::Right(pending()),
        };
        let changed = inbox.changed(wanted.edition);
        select(Box::pin(changed), Box::pin(timer)).await;
    }
    let ended = speakers.drain(..).map(|speaker| speaker.ended);
    join_all(ended).await;
}

/// A speaker that runs beside the service.
struct Speaker {
    orders: mpsc::Sender<Orders>,
    ended: oneshot::Receiver<()>,
}

fn start_speakers<H: Host>(host: &H, plan: &Plan, inbox: &Inbox) -> Vec<Speaker> {
    let start = |(index, neighbour): (usize, &Neighbour)| {
        let (orders, receiver) = mpsc::channel(ORDERS_MAX);
        let (done, ended) = oneshot::channel();
        let (own, peer, inbox) = (host.clone(), neighbour.peer.clone(), inbox.clone());
        host.spawn(async move {
            let observe = |_, session: &_, _: &_| inbox.session(index, session);
            speaker::run(own, peer, None, receiver, observe).await;
            // Nobody may wait for it any more.
            let _ = done.send(());
        });
        Speaker { orders, ended }
    };
    plan.neighbours.iter().enumerate().map(start).collect()
}

/// One speaker for each of our own addresses.
fn start_bfd<H: Host>(host: &H, plan: &Plan, inbox: &Inbox) {
    let mut by_address: BTreeMap<IpAddr, Vec<(usize, bfd::speaker::Neighbour)>> = BTreeMap::new();
    for (index, neighbour) in plan.neighbours.iter().enumerate() {
        if let Some((local, config)) = neighbour.bfd {
            let remote = SocketAddr::new(neighbour.peer.remote.ip(), bfd::PORT);
            let own = bfd::speaker::Neighbour { remote, config };
            by_address.entry(local).or_default().push((index, own));
        }
    }
    for (local, own) in by_address {
        let (host, inbox) = (host.clone(), inbox.clone());
        host.clone().spawn(async move {
            let local = SocketAddr::new(local, bfd::PORT);
            let neighbours: Vec<_> = own.iter().map(|(_, neighbour)| *neighbour).collect();
            loop {
                let observe = |_, from: IpAddr, event: &bfd::Event| {
                    let mut of = own.iter();
                    if let Some((index, _)) = of.find(|(_, own)| own.remote.ip() == from) {
                        inbox.bfd(*index, event);
                    }
                };
                let Err(_) = bfd::speaker::run(host.clone(), local, &neighbours, observe).await;
                host.sleep_until(host.now() + SOCKETS_AGAIN).await;
            }
        });
    }
}

#[cfg(test)]
mod tests;
