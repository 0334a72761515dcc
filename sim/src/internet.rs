//! The public Internet: which site a client's packets enter, and the way back to each client.
//!
//! A site is a place where the provider meets the Internet: a POP, or a region's own edge. Each client
//! population has one public path (two links) to each site that its file names an RTT for. The catchment
//! is ideal: lowest RTT among the publishers that the Internet believes announced; it learns of a POP's
//! loss and return `convergence` later, and packets meanwhile still go where it last believed.

use core::hash::BuildHasherDefault;
use core::time::Duration;
use std::collections::{BTreeMap, HashMap};

use anyedge_net::flow::Address;
use siphasher::sip::SipHasher13;

use crate::executor::HostId;
use crate::world::LinkId;

/// A place where the provider meets the Internet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct SiteId(pub(crate) u16);

/// A group of clients with the same public paths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct PopulationId(pub(crate) u16);

/// The two links between a population and a site.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PublicPath {
    pub(crate) rtt: Duration,
    pub(crate) to_site: LinkId,
    pub(crate) to_clients: LinkId,
}

/// Where a population's packets may go.
pub(crate) struct Population {
    /// Object name, such as `client.osaka`.
    pub(crate) name: String,
    pub(crate) paths: BTreeMap<SiteId, PublicPath>,
    /// Pinned to one site: the direct path of the comparison. `None`: anycast.
    pub(crate) pinned: Option<SiteId>,
    /// The site that each VIP's packets enter now, by VIP number.
    catchment: Vec<Option<SiteId>>,
}

struct AnycastVip {
    publishers: Vec<SiteId>,
}

/// Lookups only, never iterated: its order cannot show.
type AddressMap<T> = HashMap<Address, T, BuildHasherDefault<SipHasher13>>;

/// Routing between clients and sites.
#[derive(Default)]
pub(crate) struct Internet {
    populations: Vec<Population>,
    hosts: AddressMap<(HostId, PopulationId)>,
    vips: AddressMap<usize>,
    anycast: Vec<AnycastVip>,
    /// Whether the Internet believes the site announces, by site.
    announced: Vec<bool>,
}

impl Internet {
    pub(crate) fn add_site(&mut self) -> SiteId {
        self.announced.push(true);
        SiteId(
            u16::try_from(self.announced.len() - 1)
                .expect("the builder bounds the number of sites"),
        )
    }

    pub(crate) fn add_vip(
        &mut self,
        addresses: impl Iterator<Item = Address>,
        publishers: Vec<SiteId>,
    ) {
        for address in addresses {
            self.vips.insert(address, self.anycast.len());
        }
        self.anycast.push(AnycastVip { publishers });
    }

    /// Adds a population; VIPs and sites must have been added before.
    pub(crate) fn add_population(
        &mut self,
        name: String,
        paths: BTreeMap<SiteId, PublicPath>,
        pinned: Option<SiteId>,
    ) -> PopulationId {
        let id = u16::try_from(self.populations.len())
            .expect("the builder bounds the number of populations");
        let mut population = Population {
            name,
            paths,
            pinned,
            catchment: Vec::new(),
        };
        population.route(&self.anycast, &self.announced);
        self.populations.push(population);
        PopulationId(id)
    }

    pub(crate) fn add_host(&mut self, address: Address, host: HostId, population: PopulationId) {
        self.hosts.insert(address, (host, population));
    }

    /// The Internet learns whether `site` announces.
    pub(crate) fn announce(&mut self, site: SiteId, announced: bool) {
        self.announced[usize::from(site.0)] = announced;
        for population in &mut self.populations {
            population.route(&self.anycast, &self.announced);
        }
    }

    /// The link that a client's packet to `destination` takes; `None` when no site announces it.
    pub(crate) fn towards(&self, from: PopulationId, destination: Address) -> Option<LinkId> {
        let population = &self.populations[usize::from(from.0)];
        let vip = *self.vips.get(&destination)?;
        let site = population.pinned.or(population.catchment[vip])?;
        population.paths.get(&site).map(|path| path.to_site)
    }

    /// The link from `site` to the client at `destination`.
    pub(crate) fn back(&self, site: SiteId, destination: Address) -> Option<LinkId> {
        let (_, population) = self.hosts.get(&destination)?;
        let path = self.populations[usize::from(population.0)]
            .paths
            .get(&site)?;
        Some(path.to_clients)
    }

    /// The client host at `destination`.
    pub(crate) fn host(&self, destination: Address) -> Option<HostId> {
        self.hosts.get(&destination).map(|(host, _)| *host)
    }

    pub(crate) fn populations(&self) -> &[Population] {
        &self.populations
    }
}

impl Population {
    fn route(&mut self, anycast: &[AnycastVip], announced: &[bool]) {
        self.catchment = anycast
            .iter()
            .map(|vip| {
                vip.publishers
                    .iter()
                    .filter(|site| announced[usize::from(site.0)])
                    .filter_map(|site| self.paths.get(site).map(|path| (path.rtt, *site)))
                    .min()
                    .map(|(_, site)| site)
            })
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(rtt_ms: u64, link: u32) -> PublicPath {
        PublicPath {
            rtt: Duration::from_millis(rtt_ms),
            to_site: LinkId(link),
            to_clients: LinkId(link + 1),
        }
    }

    const VIP: Address = Address::v4([203, 0, 113, 10]);

    #[test]
    fn clients_enter_by_the_lowest_rtt_that_is_believed_announced() {
        let mut internet = Internet::default();
        let [tokyo, seoul, unpublished] = [0; 3].map(|_| internet.add_site());
        internet.add_vip([VIP].into_iter(), vec![tokyo, seoul]);
        let paths = BTreeMap::from([
            (tokyo, path(9, 10)),
            (seoul, path(30, 20)),
            (unpublished, path(1, 30)),
        ]);
        let osaka = internet.add_population("client.osaka".into(), paths.clone(), None);
        let direct =
            internet.add_population("client.osaka/direct".into(), paths, Some(unpublished));
        assert_eq!(internet.towards(osaka, VIP), Some(LinkId(10)));
        internet.announce(tokyo, false);
        assert_eq!(internet.towards(osaka, VIP), Some(LinkId(20)));
        internet.announce(seoul, false);
        assert_eq!(
            internet.towards(osaka, VIP),
            None,
            "a VIP without publishers is unreachable"
        );
        assert_eq!(internet.towards(direct, VIP), Some(LinkId(30)));
        internet.announce(tokyo, true);
        assert_eq!(internet.towards(osaka, VIP), Some(LinkId(10)));
        assert_eq!(internet.towards(osaka, Address::v4([192, 0, 2, 1])), None);
    }
}
