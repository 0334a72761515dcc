//! The inbox of a POP's speakers: what its forwarder told last, and whether its data plane lives.
//!
//! Writers never wait for readers: each word replaces the one before it, and a sign of life is one store. It outlives
//! the service, so that what was told before the service started is not lost. One service reads it at a time.

use core::future::poll_fn;
use core::net::IpAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::Poll;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use anyedge_net::event::Event;
use anyedge_net::flow::Address;
use anyedge_net::time::Instant;
use futures_util::task::AtomicWaker;

use super::Neighbour;
use crate::bfd;
use crate::bgp::{Session, State};

/// Where forwarders and operators tell a POP's speakers what to announce. Clones are the same inbox.
#[derive(Clone, Default, Debug)]
pub struct Inbox {
    shared: Arc<Shared>,
}

#[derive(Default, Debug)]
struct Shared {
    wanted: Mutex<Wanted>,
    standings: Mutex<Vec<Standing>>,
    reader: AtomicWaker,
    /// In nanoseconds of the host's clock.
    lived_at: AtomicU64,
}

/// How a neighbour stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Its address.
    pub neighbour: IpAddr,
    /// The BGP session.
    pub session: State,
    /// The BFD session; `None`: there is none.
    pub bfd: Option<bfd::State>,
}

/// What is wanted of the speakers.
#[derive(Clone, Default, Debug)]
pub(super) struct Wanted {
    /// Counts changes.
    pub(super) edition: u64,
    pub(super) vips: BTreeMap<Address, bool>,
    pub(super) drains: bool,
    pub(super) withheld: bool,
    pub(super) is_closed: bool,
    /// By neighbour.
    pub(super) bfd_downs: Vec<u64>,
    pub(super) lived_at: Instant,
}

const HELD_SHORTLY: &str = "nobody panics while the inbox is locked";

impl Inbox {
    /// An inbox that nothing was told.
    pub fn new() -> Inbox {
        Inbox::default()
    }

    /// The forwarder told something.
    pub fn tell(&self, event: &Event) {
        match *event {
            Event::Announcement { vip, announced } => {
                self.change(|wanted| {
                    wanted.vips.insert(vip, announced);
                });
            }
            Event::Drains { begins } => self.change(|wanted| wanted.drains = begins),
            _ => {}
        }
    }

    /// Whether everything is to be withheld, whatever the forwarder wants.
    pub fn withhold(&self, withheld: bool) {
        self.change(|wanted| wanted.withheld = withheld);
    }

    /// The data plane lives at `now`.
    pub fn live(&self, now: Instant) {
        let at = now.since(Instant::ZERO).as_nanos();
        let at = u64::try_from(at).unwrap_or(u64::MAX);
        self.shared.lived_at.store(at, Ordering::Relaxed);
    }

    /// The forwarder begins anew and knows nothing.
    pub fn reset(&self) {
        self.change(|wanted| {
            wanted.vips.clear();
            wanted.drains = false;
        });
    }

    /// The service is to shut its sessions down and end.
    pub fn close(&self) {
        self.change(|wanted| wanted.is_closed = true);
    }

    /// How the neighbours stand, in the order of the plan.
    pub fn standings(&self) -> Vec<Standing> {
        self.shared.standings.lock().expect(HELD_SHORTLY).clone()
    }

    pub(super) fn begin(&self, neighbours: &[Neighbour]) {
        let standing = |neighbour: &Neighbour| Standing {
            neighbour: neighbour.peer.remote.ip(),
            session: State::Idle,
            bfd: neighbour.bfd.map(|_| bfd::State::Down),
        };
        let standings = neighbours.iter().map(standing).collect();
        *self.shared.standings.lock().expect(HELD_SHORTLY) = standings;
        self.change(|wanted| wanted.bfd_downs = vec![0; neighbours.len()]);
    }

    pub(super) fn look(&self) -> Wanted {
        let mut wanted = self.wanted().clone();
        let lived_at = Duration::from_nanos(self.shared.lived_at.load(Ordering::Relaxed));
        wanted.lived_at = Instant::ZERO + lived_at;
        wanted
    }

    /// Completes when the forwarder has said what it wants of a VIP, or the inbox is closed.
    pub(super) async fn told(&self) {
        self.until(|wanted| !wanted.vips.is_empty() || wanted.is_closed)
            .await;
    }

    /// Completes when something changed since `edition`.
    pub(super) async fn changed(&self, edition: u64) {
        self.until(|wanted| wanted.edition != edition).await;
    }

    /// A session told something of itself.
    pub(super) fn session(&self, index: usize, session: &Session) {
        let mut standings = self.shared.standings.lock().expect(HELD_SHORTLY);
        if let Some(standing) = standings.get_mut(index) {
            standing.session = session.state();
        }
    }

    /// A BFD session changed: one that was up and is not any more ends the BGP session.
    pub(super) fn bfd(&self, index: usize, event: &bfd::Event) {
        let bfd::Event::SessionState { from, to, .. } = *event;
        let mut standings = self.shared.standings.lock().expect(HELD_SHORTLY);
        if let Some(standing) = standings.get_mut(index) {
            standing.bfd = Some(to);
        }
        drop(standings);
        if from == bfd::State::Up {
            self.change(|wanted| {
                if let Some(downs) = wanted.bfd_downs.get_mut(index) {
                    *downs += 1;
                }
            });
        }
    }

    async fn until(&self, holds: impl Fn(&Wanted) -> bool) {
        poll_fn(|context| {
            self.shared.reader.register(context.waker());
            if holds(&self.wanted()) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    fn change(&self, change: impl FnOnce(&mut Wanted)) {
        let mut wanted = self.wanted();
        change(&mut wanted);
        wanted.edition += 1;
        drop(wanted);
        self.shared.reader.wake();
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.shared.wanted.lock().expect(HELD_SHORTLY)
    }
}
