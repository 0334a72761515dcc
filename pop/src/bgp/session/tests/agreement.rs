//! Whatever is wanted, in whatever order, and however often the wires break: in the end the peer knows exactly that.

use super::*;
use crate::bgp::GRACEFUL_SHUTDOWN;

/// Some of 40 prefixes of both families, with a few different offers.
fn drawn(rng: &mut Rng) -> BTreeMap<IpNet, Offer> {
    let mut offers = BTreeMap::new();
    for number in 0..40u8 {
        if rng.below(2) == 0 {
            continue;
        }
        let text = match number % 2 {
            0 => format!("198.51.100.{number}/32"),
            _ => format!("2001:db8:{number}::/48"),
        };
        let offer = Offer {
            med: (rng.below(2) == 0).then_some(rng.below(3) as u32),
            prepend: rng.below(3) as u8,
            communities: (0..rng.below(3) as u32).collect(),
        };
        offers.insert(text.parse().expect("a prefix"), offer);
    }
    offers
}

/// What the peer must know of each prefix: MED, length of the path, communities.
type Known = BTreeMap<IpNet, (Option<u32>, usize, Vec<u32>)>;

fn expected(offers: &BTreeMap<IpNet, Offer>, drains: bool) -> Known {
    let known = offers.iter().map(|(prefix, offer)| {
        let mut communities: Vec<_> = offer.communities.iter().copied().collect();
        communities.extend(drains.then_some(GRACEFUL_SHUTDOWN));
        let length = 1 + usize::from(offer.prepend);
        (*prefix, (offer.med, length, communities))
    });
    known.collect()
}

fn known(session: &Session) -> Known {
    let known = session.routes_in().iter().map(|(prefix, route)| {
        assert!(!route.is_stale);
        let said = &route.attributes;
        let length = said.as_path_length();
        (*prefix, (said.med, length, said.communities.clone()))
    });
    known.collect()
}

#[test]
fn the_peer_knows_exactly_what_is_wanted_in_the_end() {
    for seed in 0..100 {
        let mut rng = Seed(seed).stream("test", "agreement");
        let restart_seconds = [0, 60][seed as usize % 2];
        let a = Config {
            restart_seconds,
            ..config(A)
        };
        let mut peers = Peers::new(a, config(B));
        peers.start();
        let (mut offers, mut drains) = (BTreeMap::new(), false);
        for _ in 0..30 {
            match rng.below(8) {
                0 => peers.break_wires(),
                1 => {
                    let now = peers.now;
                    let end = rng.below(2) as usize;
                    peers.ends[end].reset(now, Code::RESET);
                    peers.settle();
                }
                2 => peers.is_cut = !peers.is_cut,
                3 => peers.pass(Duration::from_millis(rng.below(20_000))),
                _ => {
                    (offers, drains) = (drawn(&mut rng), rng.below(4) == 0);
                    peers.ends[A].want(&offers, drains);
                    // Sometimes what follows comes before any of it has left.
                    if rng.below(2) == 0 {
                        peers.settle();
                    }
                }
            }
        }
        peers.is_cut = false;
        peers.pass(Duration::from_secs(100));
        peers.expect(State::Established);
        assert_eq!(
            known(&peers.ends[B]),
            expected(&offers, drains),
            "seed {seed}"
        );
        assert_eq!(peers.ends[A].routes_out().count(), offers.len());
    }
}
