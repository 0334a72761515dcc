//! The failover budget: when each fault was noticed, withdrawn from the Internet and moved away from.
//!
//! A fault has an entry when it begins and one when it ends. An entry is open until the next entry of the same
//! object, and takes down the signs that concern its object: the first sign that a node noticed, the last
//! population that heard of a withdrawal and whose packets went elsewhere by it, the last flow that moved.
//! What clients lost by it their own accounts know, by marks at the same times.

use anyedge_net::event::{Event, Health};
use anyedge_net::flow::Address;
use anyedge_net::id::{NodeId, PathId};
use anyedge_net::time::Instant;

use crate::internet::SiteId;

/// What the object of a fault consists of, as far as signs name it.
#[derive(Clone, Default, Debug)]
pub(crate) struct About {
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) paths: Vec<PathId>,
    /// Addresses of its targets.
    pub(crate) targets: Vec<Address>,
    /// The site of the POP that it is, or that its link leads to; `None`: any site's withdrawal may be its work.
    pub(crate) site: Option<SiteId>,
    /// Flows move by it to another POP.
    pub(crate) moves_pops: bool,
    /// Flows move by it to another CLB node.
    pub(crate) moves_owners: bool,
}

/// A fault's beginning or its end.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Its number in the file.
    pub(crate) fault: usize,
    pub(crate) at: Instant,
    /// The next entry of the same object.
    pub(crate) until: Option<Instant>,
    pub(crate) what: String,
    pub(crate) object: String,
    pub(crate) begins: bool,
    /// The region that is lost by it: resets of its flows are a cause of their own.
    pub(crate) lost_region: Option<String>,
    pub(crate) about: About,
    pub(crate) detected: Option<Instant>,
    /// The router of its POP came to miss it, or speaks with it again.
    pub(crate) router: Option<Instant>,
    pub(crate) withdrawn: Option<Instant>,
    pub(crate) moved: Option<Instant>,
    /// Why what it asked for was refused.
    pub(crate) refused: Option<String>,
}

/// The entries of a run, by time.
#[derive(Default)]
pub(crate) struct Budget {
    entries: Vec<Entry>,
}

impl Budget {
    /// A budget for `entries`, whose order among those of one time stays as it is.
    pub(crate) fn new(mut entries: Vec<Entry>) -> Budget {
        entries.sort_by_key(|entry| entry.at);
        for index in 0..entries.len() {
            let next = entries[index + 1..].iter();
            let mut same = next.filter(|next| next.object == entries[index].object);
            entries[index].until = same.next().map(|next| next.at);
        }
        Budget { entries }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// When something begins or ends, in order.
    pub(crate) fn times(&self) -> impl Iterator<Item = Instant> {
        self.entries.iter().map(|entry| entry.at)
    }

    /// A node at `here` told something.
    pub(crate) fn note(&mut self, now: Instant, here: NodeId, event: &Event) {
        match *event {
            Event::PeerState { path, peer, up } => self.detect(now, !up, |about| {
                about.nodes.contains(&peer) || about.paths.contains(&path)
            }),
            Event::PathGrey { path, peer, grey } => self.detect(now, grey, |about| {
                about.nodes.contains(&peer) || about.paths.contains(&path)
            }),
            Event::TargetHealth { target, health, .. } => {
                let ill = health == Health::Abnormal;
                self.detect(now, ill, |about| about.targets.contains(&target));
            }
            Event::FlowMoved { pop, .. } => self.moved(now, |entry| {
                let own = entry.about.nodes.contains(&pop);
                // Away from the POP when its fault begins, back to it when it ends.
                entry.about.moves_pops && (entry.about.nodes.is_empty() || own != entry.begins)
            }),
            Event::FlowTakenOver { .. } => self.moved(now, |entry| {
                let own = entry.about.nodes.contains(&here);
                entry.about.moves_owners && !(own && entry.begins)
            }),
            _ => {}
        }
    }

    /// The router of a POP's site came to miss the POP, or speaks with it again.
    pub(crate) fn router_sees(&mut self, now: Instant, site: SiteId, up: bool) {
        let is_it = |about: &About| about.site == Some(site) && about.moves_pops;
        for entry in self.open(now) {
            if entry.begins != up && is_it(&entry.about) {
                entry.router.get_or_insert(now);
            }
        }
        self.detect(now, !up, is_it);
    }

    /// A population heard that `site` withdrew a VIP, and its packets go elsewhere.
    pub(crate) fn withdrawn(&mut self, now: Instant, site: SiteId) {
        for entry in self.open(now) {
            if entry.begins && entry.about.site.is_none_or(|own| own == site) {
                entry.withdrawn = Some(now);
            }
        }
    }

    /// What an entry of `object` asked for just now was refused.
    pub(crate) fn refused(&mut self, now: Instant, object: &str, why: &str) {
        for entry in self.open(now) {
            if entry.at == now && entry.object == object {
                entry.refused = Some(why.to_owned());
            }
        }
    }

    /// What entries about whoever is called `who` asked for just now was refused.
    pub(crate) fn refused_any(&mut self, now: Instant, who: &str, why: &str) {
        for entry in self.open(now) {
            if entry.at == now && entry.object.contains(who) {
                entry.refused = Some(why.to_owned());
            }
        }
    }

    fn detect(&mut self, now: Instant, bad: bool, is_it: impl Fn(&About) -> bool) {
        for entry in self.open(now) {
            if entry.begins == bad && is_it(&entry.about) {
                entry.detected.get_or_insert(now);
            }
        }
    }

    fn moved(&mut self, now: Instant, by_it: impl Fn(&Entry) -> bool) {
        for entry in self.open(now) {
            if by_it(entry) {
                entry.moved = Some(now);
            }
        }
    }

    fn open(&mut self, now: Instant) -> impl Iterator<Item = &mut Entry> {
        let is_open = move |entry: &&mut Entry| {
            entry.at <= now && entry.until.is_none_or(|until| now < until)
        };
        self.entries.iter_mut().filter(is_open)
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    const TOKYO: NodeId = NodeId(1);
    const CLB: NodeId = NodeId(2);
    const PATH: PathId = PathId(0);

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn entry(seconds: u64, begins: bool) -> Entry {
        Entry {
            fault: 0,
            at: at(seconds),
            until: None,
            what: String::new(),
            object: "pop.tokyo".to_owned(),
            begins,
            lost_region: None,
            about: About {
                nodes: vec![TOKYO],
                site: Some(SiteId(0)),
                moves_pops: true,
                ..About::default()
            },
            detected: None,
            router: None,
            withdrawn: None,
            moved: None,
            refused: None,
        }
    }

    fn peer(up: bool) -> Event {
        Event::PeerState {
            path: PATH,
            peer: TOKYO,
            up,
        }
    }

    fn to_pop(pop: NodeId) -> Event {
        let zero = Address::v4([0; 4]);
        Event::FlowMoved {
            flow: anyedge_net::flow::FlowKey {
                protocol: 6,
                src: zero,
                dst: zero,
                src_port: 1,
                dst_port: 2,
            },
            pop,
        }
    }

    #[test]
    fn signs_count_from_the_beginning_of_a_fault_to_its_end_and_then_for_its_end() {
        let mut budget = Budget::new(vec![entry(20, true), entry(10, false), entry(30, false)]);
        budget.note(at(5), CLB, &peer(false));
        budget.note(at(21), CLB, &peer(false));
        budget.note(at(22), CLB, &peer(false));
        budget.withdrawn(at(23), SiteId(0));
        budget.withdrawn(at(24), SiteId(1));
        budget.note(at(24), CLB, &to_pop(TOKYO));
        budget.note(at(25), CLB, &to_pop(NodeId(9)));
        budget.note(at(26), CLB, &to_pop(NodeId(9)));
        budget.note(at(31), CLB, &peer(true));
        budget.note(at(33), CLB, &to_pop(NodeId(9)));
        budget.note(at(34), CLB, &to_pop(TOKYO));
        let [early, begin, end] = budget.entries() else {
            panic!("three entries");
        };
        assert_eq!((early.detected, early.moved), (None, None));
        assert_eq!(
            (begin.detected, begin.withdrawn, begin.moved),
            (Some(at(21)), Some(at(23)), Some(at(26)))
        );
        assert_eq!(
            (end.detected, end.withdrawn, end.moved),
            (Some(at(31)), None, Some(at(34)))
        );
    }

    #[test]
    fn signs_of_other_objects_are_not_its_own() {
        let mut budget = Budget::new(vec![entry(10, true)]);
        budget.note(
            at(11),
            CLB,
            &Event::PeerState {
                path: PATH,
                peer: CLB,
                up: false,
            },
        );
        budget.refused(at(11), "pop.tokyo", "too late");
        budget.refused(at(10), "pop.seoul", "another");
        let one = &budget.entries()[0];
        assert_eq!((one.detected, one.refused.as_deref()), (None, None));
        budget.refused(at(10), "pop.tokyo", "too few publishers");
        assert!(budget.entries()[0].refused.is_some());
    }
}
