//! The public Internet: which site a client's packets enter, and the way back to each client.
//!
//! A site is a place where the provider meets the Internet: a POP, or a region's own edge. Each client
//! population has one public path (two links) to each site that its file names an RTT for. The catchment is that of
//! BGP, not of a map: of the publishers that the population has heard of the one that does not leave, with the fewest
//! networks on the path, then the lowest RTT. It hears of a change some time after, and its packets meanwhile still go
//! where it last believed.

mod announcements;

use core::time::Duration;
use std::collections::BTreeMap;

use anyedge_net::flow::Address;
use anyedge_net::rng::Seed;
use anyedge_net::switch;
use anyedge_topologies::Convergence;

use crate::executor::HostId;
use crate::lookup::{AddressMap, At};
use crate::world::LinkId;

pub(crate) use announcements::{Change, News, Standing};
use announcements::{Hearing, Site};

/// A place where the provider meets the Internet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct SiteId(pub(crate) u16);

/// A group of clients with the same public paths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct PopulationId(pub(crate) u16);

/// The two links between a population and a site.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PublicPath {
    /// Networks on the path, and the round trip.
    pub(crate) preference: (u8, Duration),
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
    hearing: BTreeMap<SiteId, Hearing>,
    /// How sites stand to VIPs, as far as this population has heard, and by which of their changes.
    heard: BTreeMap<(usize, SiteId), (u32, Standing)>,
    /// The site that each VIP's packets enter now, by VIP number.
    catchment: Vec<Option<SiteId>>,
}

/// What BGP compares, in this order: the least is best.
pub(crate) type Rank = (Standing, u8, Duration, SiteId);

struct AnycastVip {
    publishers: Vec<SiteId>,
}

/// Routing between clients and sites.
pub(crate) struct Internet {
    seed: Seed,
    convergence: Convergence,
    populations: Vec<Population>,
    hosts: AddressMap<(HostId, PopulationId)>,
    vips: AddressMap<usize>,
    anycast: Vec<AnycastVip>,
    sites: Vec<Site>,
}

impl Internet {
    /// An Internet of nobody, where news travel as `convergence` says.
    pub(crate) fn new(seed: Seed, convergence: Convergence) -> Internet {
        Internet {
            seed,
            convergence,
            populations: Vec::new(),
            hosts: AddressMap::default(),
            vips: AddressMap::default(),
            anycast: Vec::new(),
            sites: Vec::new(),
        }
    }

    /// Adds a site, which announces what it publishes from the beginning on.
    pub(crate) fn add_site(&mut self, name: &str) -> SiteId {
        let id = u16::try_from(self.sites.len()).expect("the builder bounds the number of sites");
        self.sites.push(Site::named(name));
        SiteId(id)
    }

    pub(crate) fn add_vip(
        &mut self,
        addresses: impl Iterator<Item = Address>,
        publishers: Vec<SiteId>,
    ) {
        for address in addresses {
            self.vips.insert(At(address), self.anycast.len());
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
        let hears = |site: &SiteId| {
            let of = &self.sites[usize::from(site.0)].name;
            Hearing::draw(&self.convergence, self.seed, &name, of)
        };
        let hearing = paths.keys().map(|site| (*site, hears(site))).collect();
        let mut population = Population {
            name,
            paths,
            pinned,
            hearing,
            heard: BTreeMap::new(),
            catchment: Vec::new(),
        };
        population.catchment = (0..self.anycast.len())
            .map(|vip| population.entry(vip, &self.anycast[vip]))
            .collect();
        self.populations.push(population);
        PopulationId(id)
    }

    pub(crate) fn add_host(&mut self, address: Address, host: HostId, population: PopulationId) {
        self.hosts.insert(At(address), (host, population));
    }

    /// The number of the VIP with that address.
    pub(crate) fn vip(&self, address: Address) -> Option<usize> {
        self.vips.get(&At(address)).copied()
    }

    /// Something changed at `site`: who hears what of it, and how much later.
    pub(crate) fn change(&mut self, site: SiteId, change: Change) -> Vec<(Duration, News)> {
        let published = |(_, vip): &(usize, &AnycastVip)| vip.publishers.contains(&site);
        let vips = self.anycast.iter().enumerate().filter(published);
        let vips: Vec<usize> = vips.map(|(number, _)| number).collect();
        let changed = self.sites[usize::from(site.0)].change(change, &vips);
        let mut news = Vec::new();
        for (vip, standing, edition) in changed {
            for (population, id) in self.populations.iter().zip((0..).map(PopulationId)) {
                let Some(hearing) = population.hearing.get(&site) else {
                    continue;
                };
                if population.pinned.is_none() {
                    let heard = News {
                        population: id,
                        site,
                        standing,
                        vip,
                        edition,
                    };
                    news.push((hearing.of(standing), heard));
                }
            }
        }
        news
    }

    /// A population hears `news`; whether its packets enter elsewhere from now on.
    pub(crate) fn hear(&mut self, news: &News) -> bool {
        if !self.sites[usize::from(news.site.0)].holds(news) || !switch::is_on("S-AC09") {
            return false;
        }
        let population = &mut self.populations[usize::from(news.population.0)];
        let heard = population.heard.entry((news.vip, news.site)).or_default();
        if heard.0 > news.edition {
            return false;
        }
        *heard = (news.edition, news.standing);
        let entry = population.entry(news.vip, &self.anycast[news.vip]);
        core::mem::replace(&mut population.catchment[news.vip], entry) != entry
    }

    /// The link that a client's packet to `destination` takes; `None` when no site announces it.
    #[inline]
    pub(crate) fn towards(&self, from: PopulationId, destination: Address) -> Option<LinkId> {
        let population = &self.populations[usize::from(from.0)];
        let vip = *self.vips.get(&At(destination))?;
        let site = population.pinned.or(population.catchment[vip])?;
        population.paths.get(&site).map(|path| path.to_site)
    }

    /// The link from `site` to the client at `destination`.
    pub(crate) fn back(&self, site: SiteId, destination: Address) -> Option<LinkId> {
        let (_, population) = self.hosts.get(&At(destination))?;
        let path = self.populations[usize::from(population.0)]
            .paths
            .get(&site)?;
        Some(path.to_clients)
    }

    /// The link that a packet to `destination` takes from beside the client at `client`.
    pub(crate) fn near(&self, client: Address, destination: Address) -> Option<LinkId> {
        let (_, population) = self.hosts.get(&At(client))?;
        self.towards(*population, destination)
    }

    /// The client host at `destination`.
    pub(crate) fn host(&self, destination: Address) -> Option<HostId> {
        self.hosts.get(&At(destination)).map(|(host, _)| *host)
    }

    /// Where packets of a population to `destination` enter now, and all places where they might, as it ranks them.
    pub(crate) fn entries(
        &self,
        from: PopulationId,
        destination: Address,
    ) -> Option<(Option<SiteId>, Vec<Rank>)> {
        let population = self.population(from);
        let vip = *self.vips.get(&At(destination))?;
        let chosen = population.pinned.or(population.catchment[vip]);
        let publishers = self.anycast[vip].publishers.iter();
        let ranks = publishers.filter_map(|site| population.rank(vip, *site));
        Some((chosen, ranks.collect()))
    }

    /// The name of a site, such as `pop.tokyo`.
    pub(crate) fn site_name(&self, site: SiteId) -> &str {
        &self.sites[usize::from(site.0)].name
    }

    pub(crate) fn population(&self, id: PopulationId) -> &Population {
        &self.populations[usize::from(id.0)]
    }

    pub(crate) fn populations(&self) -> &[Population] {
        &self.populations
    }
}

impl Population {
    /// The site that packets to the VIP of that number enter by.
    fn entry(&self, number: usize, vip: &AnycastVip) -> Option<SiteId> {
        let all = if switch::is_on("S-AC10") {
            vip.publishers.len()
        } else {
            1
        };
        vip.publishers
            .iter()
            .take(all)
            .filter_map(|site| self.rank(number, *site))
            .filter(|(standing, ..)| *standing != Standing::Withdrawn)
            .min()
            .map(|(.., site)| site)
    }

    /// How good a site is for packets to the VIP of that number; `None` without a path there.
    fn rank(&self, number: usize, site: SiteId) -> Option<Rank> {
        let heard = self.heard.get(&(number, site));
        let standing = heard.map(|(_, standing)| *standing).unwrap_or_default();
        let path = self.paths.get(&site)?;
        let (networks, rtt) = match switch::is_on("S-AC11") {
            true => path.preference,
            false => (0, Duration::ZERO),
        };
        let networks = if switch::is_on("S-AC06") { networks } else { 0 };
        Some((standing, networks, rtt, site))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(rtt_ms: u64, link: u32) -> PublicPath {
        PublicPath {
            preference: (1, Duration::from_millis(rtt_ms)),
            to_site: LinkId(link),
            to_clients: LinkId(link + 1),
        }
    }

    const VIP: Address = Address::v4([203, 0, 113, 10]);

    fn hear_all(internet: &mut Internet, site: SiteId, change: Change) {
        for (_, news) in internet.change(site, change) {
            internet.hear(&news);
        }
    }

    #[test]
    fn clients_enter_by_the_lowest_rtt_that_is_believed_announced() {
        let at_once = Convergence::fixed(Duration::ZERO);
        let mut internet = Internet::new(Seed(1), at_once);
        let [tokyo, seoul, unpublished] =
            ["tokyo", "seoul", "unpublished"].map(|name| internet.add_site(name));
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
        hear_all(&mut internet, tokyo, Change::Crashed);
        assert_eq!(internet.towards(osaka, VIP), Some(LinkId(20)));
        hear_all(&mut internet, seoul, Change::Withheld(true));
        assert_eq!(
            internet.towards(osaka, VIP),
            None,
            "a VIP without publishers is unreachable"
        );
        assert_eq!(internet.towards(direct, VIP), Some(LinkId(30)));
        hear_all(&mut internet, tokyo, Change::Stands(0, Standing::Announced));
        assert_eq!(internet.towards(osaka, VIP), Some(LinkId(10)));
        assert_eq!(internet.towards(osaka, Address::v4([192, 0, 2, 1])), None);
    }

    #[test]
    fn the_entry_is_the_best_path_by_bgp_and_not_the_nearest_site() {
        let mut internet = Internet::new(Seed(1), Convergence::fixed(Duration::ZERO));
        let [tokyo, seoul] = ["tokyo", "seoul"].map(|name| internet.add_site(name));
        internet.add_vip([VIP].into_iter(), vec![tokyo, seoul]);
        let by = |networks: u8, path: PublicPath| PublicPath {
            preference: (networks, path.preference.1),
            ..path
        };
        let entries = |networks: [u8; 2]| {
            let [near, far] = networks;
            BTreeMap::from([
                (tokyo, by(near, path(9, 10))),
                (seoul, by(far, path(30, 20))),
            ])
        };
        let near = internet.add_population("client.near".into(), entries([2, 2]), None);
        let far = internet.add_population("client.far".into(), entries([3, 2]), None);
        assert_eq!(internet.towards(near, VIP), Some(LinkId(10)));
        assert_eq!(internet.towards(far, VIP), Some(LinkId(20)), "A04");
        hear_all(&mut internet, seoul, Change::Stands(0, Standing::Leaving));
        assert_eq!(
            internet.towards(far, VIP),
            Some(LinkId(10)),
            "local preference goes first"
        );
    }

    #[test]
    fn each_population_hears_after_a_time_of_its_own_and_later_news_overtake() {
        let mut internet = Internet::new(Seed(7), Convergence::default());
        let tokyo = internet.add_site("pop.tokyo");
        let seoul = internet.add_site("pop.seoul");
        internet.add_vip([VIP].into_iter(), vec![tokyo, seoul]);
        let paths = BTreeMap::from([(tokyo, path(9, 10)), (seoul, path(30, 20))]);
        let names = (0..400).map(|number| format!("client.{number}"));
        let all: Vec<PopulationId> = names
            .map(|name| internet.add_population(name, paths.clone(), None))
            .collect();
        let withdrawn = internet.change(tokyo, Change::Crashed);
        assert_eq!(withdrawn.len(), all.len());
        let by = |seconds| {
            let limit = Duration::from_secs(seconds);
            withdrawn
                .iter()
                .filter(|(after, _)| *after <= limit)
                .count()
        };
        assert!((300..340).contains(&by(10)), "80 % within 10 s: {}", by(10));
        assert!(
            (345..375).contains(&by(120)),
            "90 % within 120 s: {}",
            by(120)
        );
        let (first, news) = (all[0], withdrawn[0].1);
        assert!(internet.hear(&news));
        assert_eq!(internet.towards(first, VIP), Some(LinkId(20)));
        let back = internet.change(tokyo, Change::Stands(0, Standing::Announced));
        assert!(!internet.hear(&withdrawn[1].1), "it has been overtaken");
        assert_eq!(internet.towards(all[1], VIP), Some(LinkId(10)));
        assert!(internet.hear(&back[0].1));
        assert_eq!(internet.towards(first, VIP), Some(LinkId(10)));
        let times = |internet: &mut Internet| {
            let again = internet.change(tokyo, Change::Stands(0, Standing::Withdrawn));
            again.iter().map(|(after, _)| *after).collect::<Vec<_>>()
        };
        let first_times: Vec<Duration> = withdrawn.iter().map(|(after, _)| *after).collect();
        assert_eq!(times(&mut internet), first_times, "drawn once for all");
    }

    #[test]
    fn a_site_announces_only_what_nobody_has_a_reason_to_withhold() {
        let mut internet = Internet::new(Seed(7), Convergence::fixed(Duration::from_secs(3)));
        let tokyo = internet.add_site("pop.tokyo");
        internet.add_vip([VIP].into_iter(), vec![tokyo]);
        let paths = BTreeMap::from([(tokyo, path(9, 10))]);
        internet.add_population("client.osaka".into(), paths, None);
        let vip = internet.vip(VIP).expect("it was added");
        let news = internet.change(tokyo, Change::Withheld(true));
        assert_eq!(news.len(), 1);
        assert_eq!(news[0].0, Duration::from_secs(3));
        for change in [
            Change::Stands(vip, Standing::Withdrawn),
            Change::Stands(vip, Standing::Announced),
            Change::Crashed,
            Change::Withheld(false),
        ] {
            assert_eq!(internet.change(tokyo, change), [], "{change:?}");
        }
        let news = internet.change(tokyo, Change::Stands(vip, Standing::Announced));
        assert_eq!(news[0].1.standing, Standing::Announced);
    }

    #[test]
    fn a_site_that_leaves_is_entered_by_only_where_nothing_else_leads_to_the_vip() {
        let mut internet = Internet::new(Seed(7), Convergence::fixed(Duration::from_secs(3)));
        let [tokyo, seoul] = ["tokyo", "seoul"].map(|name| internet.add_site(name));
        internet.add_vip([VIP].into_iter(), vec![tokyo, seoul]);
        let both = BTreeMap::from([(tokyo, path(9, 10)), (seoul, path(30, 20))]);
        let one = BTreeMap::from([(tokyo, path(9, 30))]);
        let osaka = internet.add_population("client.osaka".into(), both, None);
        let naha = internet.add_population("client.naha".into(), one, None);
        let leaving = internet.change(tokyo, Change::Stands(0, Standing::Leaving));
        // It withdraws before the first has been heard everywhere: that still holds.
        let gone = internet.change(tokyo, Change::Stands(0, Standing::Withdrawn));
        for (_, news) in &leaving {
            internet.hear(news);
        }
        assert_eq!(internet.towards(osaka, VIP), Some(LinkId(20)));
        assert_eq!(internet.towards(naha, VIP), Some(LinkId(30)));
        for (_, news) in &gone {
            internet.hear(news);
        }
        assert_eq!(internet.towards(naha, VIP), None);
        assert!(!internet.hear(&leaving[1].1), "it has heard of more since");
        assert_eq!(internet.towards(naha, VIP), None);
    }
}
