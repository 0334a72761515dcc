//! The smallest world: two hosts joined by one wire, for tests of what hosts promise.
//!
//! No topology, no node: a service on two machines and the packets between them, in virtual time, by the
//! same hosts, links and order of events as a whole run. Each host reaches the other's addresses and
//! nothing else; packets to anywhere else are lost without a word.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyedge_net::rng::Seed;
use anyedge_net::route_table::RouteTable;
use anyedge_net::time::Instant;
use anyedge_topologies::Loss;

use crate::digest::{Cover, TraceDigest};
use crate::executor::{Executor, HostId};
use crate::host::{Shared, SimHost};
use crate::internet::{PublicPath, SiteId};
use crate::link::{Link, LinkSpec, Wear};
use crate::order::Source;
use crate::scenario::Act;
use crate::stack::HostStack;
use crate::world::{Attachment, HostEntry, LinkEnd, LinkId, World};

/// The first host's name and addresses.
pub const HOST_A: (&str, [IpAddr; 2]) = ("host.a", addresses(1));
/// The second host's name and addresses.
pub const HOST_B: (&str, [IpAddr; 2]) = ("host.b", addresses(2));
/// What no wire leads to, in both families.
pub const NOWHERE: [IpAddr; 2] = addresses(3);

/// The wire between the two hosts, the same both ways: 1 Gbit/s, 1 MiB of queue, MTU 1,500.
#[derive(Clone, Copy, Debug)]
pub struct Wire {
    /// Twice the delay of one direction.
    pub rtt: Duration,
    /// Packets lost per million.
    pub loss_ppm: u32,
}

const ONE_THREAD: &str = "one thread runs the whole world";

const fn addresses(number: u8) -> [IpAddr; 2] {
    [
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, number)),
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number as u16)),
    ]
}

/// Runs the service that `start` makes of the two hosts on the first of them, and returns what it ends
/// with; `None` when it has not ended after `limit` of virtual time, or waits for what cannot happen.
///
/// # Panics
/// When a packet is not accounted for at the end.
pub fn run_pair<T, F>(
    seed: Seed,
    wire: Wire,
    limit: Duration,
    start: impl FnOnce(SimHost, SimHost) -> F,
) -> Option<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    PairRun::new(seed, wire, limit).run(start).value
}

/// A run of two hosts, with what [`run_pair`] leaves out.
pub struct PairRun<'a> {
    seed: Seed,
    wire: Wire,
    limit: Duration,
    cut: Option<[Duration; 2]>,
    between: Option<&'a mut dyn FnMut()>,
}

/// How a run of two hosts ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PairEnd<T> {
    /// What its service ended with, if it ended.
    pub value: Option<T>,
    /// Stands for every packet, all of its bytes, and its time.
    pub digest: u64,
}

impl<'a> PairRun<'a> {
    /// A run over `wire`, of `limit` at most.
    pub const fn new(seed: Seed, wire: Wire, limit: Duration) -> PairRun<'a> {
        PairRun {
            seed,
            wire,
            limit,
            cut: None,
            between: None,
        }
    }

    /// The wire carries nothing, either way, between these two times.
    #[must_use]
    pub const fn cut(mut self, from: Duration, to: Duration) -> PairRun<'a> {
        self.cut = Some([from, to]);
        self
    }

    /// Calls `act` each time that the world waits for its next event: for tests that real time changes nothing.
    #[must_use]
    pub fn between(mut self, act: &'a mut dyn FnMut()) -> PairRun<'a> {
        self.between = Some(act);
        self
    }

    /// Runs the service that `start` makes of the two hosts on the first of them.
    ///
    /// # Panics
    /// When a packet is not accounted for at the end.
    pub fn run<T, F>(mut self, start: impl FnOnce(SimHost, SimHost) -> F) -> PairEnd<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let mut executor = Executor::new();
        let world = build(self.seed, self.wire, self.cut, &executor);
        let shared = Shared::new(world, executor.handle().clone());
        let [a, b] = [(0, HOST_A.0), (1, HOST_B.0)]
            .map(|(id, name)| SimHost::new(&shared, HostId(id), name));
        let service = start(a, b);
        let ended = Arc::new(Mutex::new(None));
        let result = Arc::clone(&ended);
        executor.handle().spawn(HostId(0), async move {
            let value = service.await;
            *result.lock().expect(ONE_THREAD) = Some(value);
        });
        let has_ended = || ended.lock().expect(ONE_THREAD).is_some();
        let until = Instant::ZERO + self.limit;
        while !has_ended() && go_on(&mut executor, &shared, until) {
            if let Some(act) = &mut self.between {
                act();
            }
        }
        executor.finish();
        let mut world = shared.world();
        world.flush();
        world.close();
        let digest = world.digest.value();
        drop(world);
        let value = ended.lock().expect(ONE_THREAD).take();
        PairEnd { value, digest }
    }
}

/// Runs the services that are ready, then lets things happen until some are again; false when nothing is
/// left to happen before `until`.
fn go_on(executor: &mut Executor, shared: &Shared, until: Instant) -> bool {
    executor.run_ready();
    let mut world = shared.world();
    world.flush();
    while executor.handle().is_idle() {
        let Some(next) = world.next().filter(|next| next.at() <= until) else {
            return false;
        };
        world.step(next);
        world.flush();
    }
    true
}

fn build(seed: Seed, wire: Wire, cut: Option<[Duration; 2]>, executor: &Executor) -> World {
    let mut world = World::new(
        seed,
        TraceDigest::new(Cover::Full),
        Arc::new(RouteTable::empty()),
        Source::new(0),
        executor.handle().clone(),
    );
    let [to_b, to_a] = [("host.a>host.b", 1), ("host.b>host.a", 2)].map(|(name, rank)| {
        let link = Link::new(spec(name, wire), Source::new(rank), seed);
        world.add_link(link, LinkEnd::Clients)
    });
    if let Some([from, to]) = cut {
        for link in [to_b, to_a] {
            world.schedule_act(Instant::ZERO + from, Act::LinkDown(link));
            world.schedule_act(Instant::ZERO + to, Act::LinkUp(link));
        }
    }
    // Each host is a population of its own that knows one site: where the other one is.
    let [site_a, site_b] = [HOST_A, HOST_B].map(|(_, addresses)| {
        let site = world.internet.add_site("wire");
        let own = addresses.into_iter().map(Into::into);
        world.internet.add_vip(own, vec![site]);
        site
    });
    add_host(HOST_A, 3, (site_b, to_b), wire, &mut world);
    add_host(HOST_B, 4, (site_a, to_a), wire, &mut world);
    world
}

fn spec(name: &str, wire: Wire) -> LinkSpec {
    LinkSpec {
        name: name.to_owned(),
        rate_bps: 1_000_000_000,
        delay: wire.rtt / 2,
        jitter: Duration::ZERO,
        loss: Loss::Share(wire.loss_ppm),
        queue_bytes_max: 1 << 20,
        mtu: 1_500,
        wear: Wear::NONE,
    }
}

fn add_host(
    (name, addresses): (&str, [IpAddr; 2]),
    rank: usize,
    (site, link): (SiteId, LinkId),
    wire: Wire,
    world: &mut World,
) {
    let path = PublicPath {
        preference: (1, wire.rtt),
        to_site: link,
        to_clients: link,
    };
    let paths = BTreeMap::from([(site, path)]);
    let population = world.internet.add_population(name.to_owned(), paths, None);
    let stack = HostStack::new(&world.host_config(name, addresses.to_vec()));
    let attachment = Attachment::Client(population);
    let id = HostId(world.hosts.len() as u32);
    world
        .hosts
        .push(HostEntry::new(stack, Source::new(rank), attachment));
    for address in addresses {
        world.internet.add_host(address.into(), id, population);
    }
}

#[cfg(test)]
mod tests {
    use anyedge_net::host::{DatagramMeta, Host as _, UdpSocket as _};

    use super::*;

    const WIRE: Wire = Wire {
        rtt: Duration::from_millis(20),
        loss_ppm: 0,
    };

    #[test]
    fn a_datagram_takes_half_the_round_trip_and_its_time_on_the_wire() {
        let limit = Duration::from_secs(1);
        let arrived = run_pair(Seed(1), WIRE, limit, |a, b| async move {
            let far = b.udp_bind((HOST_B.1[0], 7).into()).expect("a fresh host");
            let near = a.udp_bind((HOST_A.1[0], 0).into()).expect("a fresh host");
            let to = DatagramMeta::to(far.local_addr());
            near.send(&[0; 972], to).expect("there is a way");
            far.recv(&mut [0; 972]).await.expect("it comes");
            b.now().as_nanos()
        });
        // 1,000 bytes at 1 Gbit/s behind 10 ms.
        assert_eq!(arrived, Some(10_008_000));
    }

    #[test]
    fn a_service_that_waits_for_nothing_or_too_long_gives_nothing() {
        let limit = Duration::from_secs(1);
        let ended = run_pair(Seed(1), WIRE, limit, |_, _| std::future::pending::<()>());
        assert_eq!(ended, None);
        let ended = run_pair(Seed(1), WIRE, limit, |a, _| async move {
            a.sleep_until(Instant::ZERO + 2 * limit).await;
        });
        assert_eq!(ended, None);
    }
}
