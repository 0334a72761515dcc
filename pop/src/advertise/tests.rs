//! What is offered when, by the time alone.

use super::*;
use anyedge_net::event::Event;
use anyedge_net::time::Instant;

const GAME: Address = Address::v4([203, 0, 113, 10]);
const CHAT: Address = Address::v4([203, 0, 113, 20]);
const SHOP: Address = Address::v4([198, 51, 100, 1]);

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

fn plan(dead_after: Option<Duration>) -> Plan {
    let net = |text: &str| text.parse().expect("a prefix");
    Plan {
        prefixes: BTreeMap::from([
            (GAME, net("203.0.113.0/24")),
            (CHAT, net("203.0.113.0/24")),
            (SHOP, net("198.51.100.0/24")),
        ]),
        neighbours: Vec::new(),
        drain: Duration::from_secs(30),
        dead_after,
    }
}

struct Desk {
    plan: Plan,
    inbox: Inbox,
    intent: Intent,
}

impl Desk {
    fn open(dead_after: Option<Duration>, first: &[Event]) -> Desk {
        let inbox = Inbox::new();
        first.iter().for_each(|event| inbox.tell(event));
        let intent = Intent::begin(at(0), &inbox.look());
        let plan = plan(dead_after);
        Desk {
            plan,
            inbox,
            intent,
        }
    }

    fn offered(&mut self, ms: u64) -> (Vec<String>, Option<Instant>) {
        let wanted = self.inbox.look();
        let (offers, next) = self.intent.offers(at(ms), &wanted, &self.plan);
        (offers.keys().map(ToString::to_string).collect(), next)
    }

    fn wants(&self, vip: Address, announced: bool) {
        self.inbox.tell(&Event::Announcement { vip, announced });
    }
}

fn wanted(vip: Address) -> Event {
    let announced = true;
    Event::Announcement { vip, announced }
}

#[test]
fn a_prefix_is_offered_while_any_of_its_vips_is_wanted() {
    let mut desk = Desk::open(None, &[wanted(GAME), wanted(CHAT), wanted(SHOP)]);
    let both = ["198.51.100.0/24", "203.0.113.0/24"];
    assert_eq!(desk.offered(1).0, both);
    desk.wants(GAME, false);
    assert_eq!(desk.offered(2).0, both);
    desk.wants(CHAT, false);
    assert_eq!(desk.offered(3).0, both[..1]);
    desk.inbox.withhold(true);
    assert!(desk.offered(4).0.is_empty());
    desk.inbox.withhold(false);
    assert_eq!(desk.offered(5), (vec![both[0].to_owned()], None));
    desk.inbox.reset();
    assert!(desk.offered(6).0.is_empty());
}

#[test]
fn a_pop_that_drains_offers_for_as_long_as_the_plan_says_and_withdraws() {
    let mut desk = Desk::open(None, &[wanted(SHOP)]);
    desk.offered(1);
    desk.inbox.tell(&Event::Drains { begins: true });
    assert_eq!(desk.offered(1_000).1, Some(at(31_000)));
    desk.wants(GAME, true);
    assert_eq!(desk.offered(30_999).0.len(), 2, "what is wanted meanwhile");
    desk.wants(SHOP, false);
    assert_eq!(desk.offered(30_999).0, ["203.0.113.0/24"]);
    assert_eq!(desk.offered(31_000), (vec![], None));
    desk.inbox.tell(&Event::Drains { begins: false });
    assert_eq!(desk.offered(40_000).0, ["203.0.113.0/24"]);
}

#[test]
fn a_pop_that_drained_before_it_began_offers_nothing() {
    let mut desk = Desk::open(None, &[Event::Drains { begins: true }, wanted(SHOP)]);
    assert_eq!(desk.offered(0), (vec![], None));
    desk.inbox.tell(&Event::Drains { begins: false });
    assert_eq!(desk.offered(1).0.len(), 1);
}

#[test]
fn a_data_plane_without_a_sign_of_life_offers_nothing_until_it_gives_one() {
    let mut desk = Desk::open(Some(Duration::from_secs(1)), &[wanted(SHOP)]);
    assert_eq!(desk.offered(999).1, Some(at(1_000)), "it has just begun");
    desk.inbox.live(at(500));
    assert_eq!(desk.offered(1_499).0.len(), 1);
    assert_eq!(desk.offered(1_500), (vec![], Some(at(2_500))));
    desk.inbox.live(at(2_400));
    assert_eq!(
        desk.offered(2_500),
        (vec!["198.51.100.0/24".to_owned()], Some(at(3_400)))
    );
}
