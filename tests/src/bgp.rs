//! What BGP speakers over a `Host` promise, written once and run in each world.
//!
//! The first machine connects, the second listens. Cases wait by the hosts' clocks, for as long as it takes.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anyedge_net::host::{Host, TcpListener as _};
use anyedge_net::time::Instant;
use anyedge_pop::bgp::speaker::{Orders, Peer, run};
use anyedge_pop::bgp::{Code, Config, Event, GRACEFUL_SHUTDOWN, IpNet, Offer, Session, State};
use futures_util::future::{AbortHandle, abortable};
use tokio::sync::mpsc;

use crate::conformance::{Case, Finding, Pair, case_list};

/// How long anything may take, by the world's clock.
const PATIENCE: Duration = Duration::from_secs(40);
/// What is announced in these cases.
pub const VIPS: [&str; 2] = ["198.51.100.1/32", "2001:db8:1::1/128"];

/// Every case.
pub fn cases<H: Host>() -> Vec<Case<H>> {
    case_list![
        routes_come_drain_and_go,
        a_killed_speaker_takes_its_routes_and_brings_them_back,
        a_speaker_that_stops_says_so,
        a_bfd_that_goes_down_resets_the_session,
        strangers_are_not_spoken_with,
        speakers_that_connect_at_once_keep_one_connection
    ]
}

/// What a speaker has told of itself.
#[derive(Default, Debug)]
pub struct Seen {
    /// Where its session stands.
    pub state: Option<State>,
    /// Its routes' communities.
    pub routes: BTreeMap<IpNet, Vec<u32>>,
    /// All that happened, and when.
    pub events: Vec<(Instant, Event)>,
}

/// A speaker that runs beside the case.
pub struct Speaker {
    orders: mpsc::Sender<Orders>,
    seen: Arc<Mutex<Seen>>,
    killed: AbortHandle,
}

impl Speaker {
    /// Starts one on `host`.
    pub fn start<H: Host>(host: &H, peer: Peer, listener: Option<H::Listener>) -> Speaker {
        let (orders, receiver) = mpsc::channel(8);
        let seen = Arc::new(Mutex::new(Seen::default()));
        let noted = Arc::clone(&seen);
        let observe = move |now: Instant, session: &Session, event: &Event| {
            let mut seen = noted.lock().expect("no observer panics");
            seen.state = Some(session.state());
            let routes = session.routes_in().iter();
            let communities =
                routes.map(|(prefix, route)| (*prefix, route.attributes.communities.clone()));
            seen.routes = communities.collect();
            seen.events.push((now, event.clone()));
        };
        let task = run(host.clone(), peer, listener, receiver, observe);
        let (task, killed) = abortable(task);
        host.spawn(async move {
            // It ends by its orders or by being killed.
            let _ = task.await;
        });
        Speaker {
            orders,
            seen,
            killed,
        }
    }

    /// What is to be announced.
    pub async fn order(&self, orders: Orders) {
        let sent = self.orders.send(orders).await;
        sent.expect("a speaker lives as long as its orders");
    }

    /// Ends it without a word.
    pub fn kill(&self) {
        self.killed.abort();
    }

    /// Looks at what it has told.
    pub fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().expect("no observer panics"))
    }

    /// Waits until `holds` of what it has told.
    pub async fn until<H: Host>(
        &self,
        host: &H,
        what: &str,
        holds: impl Fn(&Seen) -> bool,
    ) -> Finding {
        let end = host.now() + PATIENCE;
        while !self.look(&holds) {
            if host.now() > end {
                let seen = self.look(|seen| format!("{seen:?}"));
                return Err(format!("never {what}: {seen}"));
            }
            host.sleep_until(host.now() + Duration::from_millis(5))
                .await;
        }
        Ok(())
    }

    /// Waits until its routes are exactly these prefixes.
    pub async fn learns<H: Host>(&self, host: &H, prefixes: &[&str]) -> Finding {
        let expected = nets(prefixes);
        let what = format!("exactly {prefixes:?}");
        let is_so = |seen: &Seen| seen.routes.keys().copied().eq(expected.iter().copied());
        self.until(host, &what, is_so).await
    }
}

fn nets(prefixes: &[&str]) -> Vec<IpNet> {
    let parse = |text: &&str| text.parse().expect("a prefix");
    prefixes.iter().map(parse).collect()
}

/// Orders to announce `prefixes`.
pub fn announce(prefixes: &[&str], drains: bool) -> Orders {
    let offers = nets(prefixes)
        .into_iter()
        .map(|net| (net, Offer::default()));
    Orders {
        offers: offers.collect(),
        drains,
        bfd_downs: 0,
    }
}

/// The session of the first or the second machine: AS 65001 with 65002, hold time 9 s.
pub fn config(end: u16) -> Config {
    let last = end as u8 + 1;
    Config {
        next_hop_v4: Some([192, 0, 2, last].into()),
        next_hop_v6: Some([0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()].into()),
        hold_seconds: 9,
        connect_retry: Duration::from_secs(1),
        passive: end == 1,
        ..Config::new(
            65_001 + u32::from(end),
            [192, 0, 2, last].into(),
            65_002 - u32::from(end),
        )
    }
}

fn listen<H: Host>(host: &H, address: IpAddr) -> Result<(H::Listener, SocketAddr), String> {
    let listener = host.tcp_listen((address, 0).into(), 8);
    let listener = listener.map_err(|error| error.to_string())?;
    let at = listener.local_addr();
    Ok((listener, at))
}

/// The second machine's speaker, and where it listens.
pub fn answering<H: Host>(pair: &Pair<H>) -> Result<(Speaker, SocketAddr), String> {
    let (listener, at) = listen(&pair.b, pair.b_address)?;
    let peer = Peer {
        config: config(1),
        remote: (pair.a_address, 179).into(),
        local: None,
    };
    Ok((Speaker::start(&pair.b, peer, Some(listener)), at))
}

/// The first machine's speaker, which connects to `remote`.
pub fn asking<H: Host>(pair: &Pair<H>, remote: SocketAddr) -> Speaker {
    let peer = Peer {
        config: config(0),
        remote,
        local: Some((pair.a_address, 0).into()),
    };
    Speaker::start(&pair.a, peer, None)
}

async fn routes_come_drain_and_go<H: Host>(pair: Pair<H>) -> Finding {
    let (b, at) = answering(&pair)?;
    let a = asking(&pair, at);
    a.order(announce(&VIPS, false)).await;
    b.learns(&pair.a, &VIPS).await?;
    a.order(announce(&VIPS, true)).await;
    let drained = |seen: &Seen| {
        let mut communities = seen.routes.values();
        communities.all(|all| all[..] == [GRACEFUL_SHUTDOWN]) && seen.routes.len() == 2
    };
    b.until(&pair.a, "drained", drained).await?;
    a.order(announce(&VIPS[1..], false)).await;
    b.learns(&pair.a, &VIPS[1..]).await?;
    a.order(announce(&[], false)).await;
    b.learns(&pair.a, &[]).await?;
    let is_up = |seen: &Seen| seen.state == Some(State::Established);
    a.until(&pair.a, "up", is_up).await?;
    b.until(&pair.a, "up", is_up).await
}

async fn a_killed_speaker_takes_its_routes_and_brings_them_back<H: Host>(pair: Pair<H>) -> Finding {
    let (b, at) = answering(&pair)?;
    let a = asking(&pair, at);
    a.order(announce(&VIPS, false)).await;
    b.learns(&pair.a, &VIPS).await?;
    a.kill();
    b.learns(&pair.a, &[]).await?;
    let a = asking(&pair, at);
    a.order(announce(&VIPS, false)).await;
    b.learns(&pair.a, &VIPS).await
}

async fn a_speaker_that_stops_says_so<H: Host>(pair: Pair<H>) -> Finding {
    let (b, at) = answering(&pair)?;
    let a = asking(&pair, at);
    a.order(announce(&VIPS, false)).await;
    b.learns(&pair.a, &VIPS).await?;
    drop(a);
    let was_told = |seen: &Seen| notified(seen, Code::SHUTDOWN);
    b.until(&pair.a, "told", was_told).await?;
    b.learns(&pair.a, &[]).await
}

async fn a_bfd_that_goes_down_resets_the_session<H: Host>(pair: Pair<H>) -> Finding {
    let (b, at) = answering(&pair)?;
    let a = asking(&pair, at);
    a.order(announce(&VIPS, false)).await;
    b.learns(&pair.a, &VIPS).await?;
    a.order(Orders {
        bfd_downs: 1,
        ..announce(&VIPS, false)
    })
    .await;
    let was_told = |seen: &Seen| notified(seen, Code::BFD_DOWN);
    b.until(&pair.a, "told", was_told).await?;
    b.learns(&pair.a, &VIPS).await
}

async fn strangers_are_not_spoken_with<H: Host>(pair: Pair<H>) -> Finding {
    let (listener, at) = listen(&pair.b, pair.b_address)?;
    let peer = Peer {
        config: config(1),
        remote: (pair.foreign, 179).into(),
        local: None,
    };
    let _b = Speaker::start(&pair.b, peer, Some(listener));
    let a = asking(&pair, at);
    let tries = |seen: &Seen| {
        let events = seen.events.iter();
        let tried = events.filter(|(_, event)| is_state(event, State::Connect));
        tried.count() > 2
    };
    a.until(&pair.a, "tries thrice", tries).await?;
    match a.look(|seen| {
        seen.events
            .iter()
            .any(|(_, event)| is_state(event, State::OpenConfirm))
    }) {
        true => Err("a stranger was answered".to_owned()),
        false => Ok(()),
    }
}

async fn speakers_that_connect_at_once_keep_one_connection<H: Host>(pair: Pair<H>) -> Finding {
    let (listener_a, at_a) = listen(&pair.a, pair.a_address)?;
    let (listener_b, at_b) = listen(&pair.b, pair.b_address)?;
    let speaker = |end: u16, host: &H, remote, listener| {
        let config = Config {
            passive: false,
            hold_seconds: 3,
            ..config(end)
        };
        let local = [pair.a_address, pair.b_address][usize::from(end)];
        let peer = Peer {
            config,
            remote,
            local: Some((local, 0).into()),
        };
        Speaker::start(host, peer, Some(listener))
    };
    let a = speaker(0, &pair.a, at_b, listener_a);
    let b = speaker(1, &pair.b, at_a, listener_b);
    a.order(announce(&VIPS, false)).await;
    b.order(announce(&VIPS[..1], false)).await;
    b.learns(&pair.a, &VIPS).await?;
    a.learns(&pair.a, &VIPS[..1]).await?;
    // Longer than the hold time: what stayed is whole.
    pair.a
        .sleep_until(pair.a.now() + Duration::from_secs(4))
        .await;
    for end in [&a, &b] {
        let state = end.look(|seen| seen.state);
        if state != Some(State::Established) {
            return Err(format!("{state:?}"));
        }
    }
    Ok(())
}

fn notified(seen: &Seen, code: Code) -> bool {
    seen.events.iter().any(|(_, event)| match event {
        Event::NotificationReceived(notification) => notification.code == code,
        _ => false,
    })
}

fn is_state(event: &Event, state: State) -> bool {
    matches!(event, Event::SessionState { to, .. } if *to == state)
}

/// The first machine announces at once; gives how long the second took to learn, then keeps the session for `time`
/// and gives every change of its state since.
pub async fn kept_for<H: Host>(
    pair: Pair<H>,
    time: Duration,
) -> Result<(Duration, Vec<(Instant, State)>), String> {
    let (b, at) = answering(&pair)?;
    let begin = pair.a.now();
    let a = asking(&pair, at);
    a.order(announce(&VIPS, false)).await;
    b.learns(&pair.a, &VIPS).await?;
    let took = pair.a.now().since(begin);
    let known = b.look(|seen| seen.events.len());
    pair.a.sleep_until(pair.a.now() + time).await;
    b.learns(&pair.a, &VIPS).await?;
    let changes = b.look(|seen| {
        let events = seen.events.iter().skip(known);
        let states = events.filter_map(|(at, event)| match event {
            Event::SessionState { to, .. } => Some((*at, *to)),
            _ => None,
        });
        states.collect()
    });
    Ok((took, changes))
}
