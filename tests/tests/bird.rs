//! Our BGP speaker and our BFD against a real router: BIRD 2, one hop away in namespaces that the test makes.
//!
//! Needs root and `bird`; skipped loudly without.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyedge_live::dataplane::clock::MonotonicClock;
use anyedge_live::host::{LiveHost, Protection};
use anyedge_live::netlink::{Netlink, WireEnd};
use anyedge_live::netns::{self, Namespace};
use anyedge_net::host::Host as _;
use anyedge_net::rng::Seed;
use anyedge_pop::bfd::{self, Diagnostic};
use anyedge_pop::bgp::speaker::{Orders, Peer};
use anyedge_pop::bgp::{Config, State};
use anyedge_tests::bfd::{PATIENT, Speaker as Bfd};
use anyedge_tests::bgp::{Seen, Speaker, VIPS, announce, config};
use anyedge_tests::two_machines::Scratch;
use anyhow::{Context as _, Result, ensure};
use tokio::runtime::Handle;

/// How long the router may take for anything.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the router announces to us.
const ROUTES: [&str; 2] = ["203.0.113.0/24", "2001:db8:99::/48"];

const ROUTER: &str = r#"
log stderr all;
router id 192.0.2.2;
protocol device { }
protocol direct { ipv4; ipv6; interface "eth0"; }
protocol bfd {
    interface "eth0" { min rx interval 100 ms; min tx interval 100 ms; multiplier 5; };
}
protocol static { ipv4; route 203.0.113.0/24 blackhole; }
protocol static { ipv6; route 2001:db8:99::/48 blackhole; }
filter own { if source = RTS_STATIC then accept; reject; }
protocol bgp edge {
    local 10.9.0.2 as 65002;
    neighbor 10.9.0.1 as 65001;
    direct;
    bfd yes;
    passive yes;
    hold time 9;
    error wait time 1, 2;
    ipv4 { import all; export filter own; };
    ipv6 { import all; export filter own; next hop address fd00:9::2; };
}
"#;

/// The router and the POP beside it, each in a namespace; all of it goes with this.
struct Ground {
    child: Option<Child>,
    folder: Scratch,
    /// The POP's, then the router's.
    namespaces: [Namespace; 2],
}

impl Ground {
    fn set_up(word: &str, configuration: &str) -> Result<Ground> {
        let number = std::process::id();
        let name = |end| format!("anyedge-{word}-{number}-{end}");
        let pop = Namespace::create(&name("pop"))?;
        let router = Namespace::create(&name("router"));
        if router.is_err() {
            netns::delete(pop.name())?;
        }
        let ground = Ground {
            child: None,
            folder: Scratch::new(),
            namespaces: [pop, router?],
        };
        fs::create_dir_all(ground.folder.path())?;
        fs::write(ground.folder.path().join("bird.conf"), configuration)?;
        let ends = ground.namespaces.each_ref().map(|namespace| WireEnd {
            namespace,
            interface: "eth0",
        });
        Netlink::open()?.add_wire(ends[0], ends[1], 1_500)?;
        for (number, namespace) in (1..).zip(&ground.namespaces) {
            namespace.run(|| {
                let netlink = Netlink::open()?;
                netlink.set_up("lo")?;
                netlink.set_up("eth0")?;
                for address in [
                    format!("10.9.0.{number}/24"),
                    format!("fd00:9::{number}/64"),
                ] {
                    netlink.add_address("eth0", address.parse().expect("a prefix"))?;
                }
                Ok(())
            })?;
        }
        Ok(ground)
    }

    /// Starts the router.
    fn start(&mut self) -> Result<()> {
        let mut command = Command::new("bird");
        command
            .args(["-f", "-c", "bird.conf", "-s", "bird.ctl"])
            .current_dir(self.folder.path())
            .stderr(fs::File::create(self.folder.path().join("bird.log"))?)
            .stdout(Stdio::null());
        let spawned = self.namespaces[1].run(|| Ok(command.spawn()?));
        self.child = Some(spawned.context("bird does not start")?);
        Ok(())
    }

    /// Ends it as a crash does.
    fn kill(&mut self) -> io::Result<()> {
        match self.child.take() {
            Some(mut child) => child.kill().and_then(|()| child.wait()).map(drop),
            None => Ok(()),
        }
    }

    fn shows(&self, what: &str) -> String {
        shows(self.folder.path(), what)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // Best effort: the error that made the test end matters more.
        let _ = self.kill();
        for namespace in &self.namespaces {
            let _ = netns::delete(namespace.name());
        }
    }
}

fn shows(folder: &Path, what: &str) -> String {
    let words = what.split(' ');
    let control: PathBuf = folder.join("bird.ctl");
    let output = Command::new("birdc")
        .arg("-s")
        .arg(control)
        .args(words)
        .output();
    output.map_or_else(
        |error| error.to_string(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

/// Waits until what the router shows is as it should be.
async fn until(
    host: &LiveHost,
    router: &Ground,
    show: &str,
    holds: impl Fn(&str) -> bool,
) -> Result<()> {
    let end = host.now() + PATIENCE;
    loop {
        let shown = router.shows(show);
        if holds(&shown) {
            return Ok(());
        }
        ensure!(host.now() < end, "{show}: {shown}");
        host.sleep_until(host.now() + Duration::from_millis(50))
            .await;
    }
}

#[test]
fn a_real_router_hears_of_vips_and_misses_a_pop_at_once() {
    play("bird", ROUTER, async |router| story(router).await);
}

#[test]
fn a_router_that_wants_signatures_from_one_hop_away_gets_them_and_takes_nothing_else() {
    let guarded = "direct;\n    password \"not to be guessed\";\n    ttl security on;";
    let router = ROUTER.replace("direct;", guarded);
    play("signed", &router, async |router| signed(router).await);
}

/// Plays a story in the POP's namespace, beside a router of that configuration.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn play(
    word: &str,
    configuration: &str,
    story: impl AsyncFnOnce(&mut Ground) -> Result<()> + Send,
) {
    let has_bird = Command::new("bird").arg("--version").output().is_ok();
    if !nix::unistd::geteuid().is_root() || !has_bird {
        eprintln!("SKIPPED: a real router needs root, network namespaces and bird");
        return;
    }
    let mut router = Ground::set_up(word, configuration).expect("namespaces can be made");
    let namespace = Namespace::open(router.namespaces[0].name()).expect("it is there");
    let outcome = namespace.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(story(&mut router))
    });
    if let Err(error) = outcome {
        let log = fs::read_to_string(router.folder.path().join("bird.log"));
        panic!("{error:#}\n{}", log.unwrap_or_default());
    }
}

/// The POP towards the router.
fn towards_router() -> Peer {
    let config = Config {
        next_hop_v4: Some([10, 9, 0, 1].into()),
        next_hop_v6: Some([0xfd00, 9, 0, 0, 0, 0, 0, 1].into()),
        ..config(0)
    };
    Peer {
        config,
        remote: ([10, 9, 0, 2], 179).into(),
        local: Some(([10, 9, 0, 1], 0).into()),
    }
}

/// Only with the key and with packets of one hop does a session stand.
async fn signed(router: &mut Ground) -> Result<()> {
    router.start()?;
    let clock = MonotonicClock::start();
    let plain = LiveHost::new("pop.test", clock, Seed(7), Handle::current());
    let protected = |md5: Option<&str>, gtsm| {
        let md5 = md5.map(str::to_owned);
        let protection = Protection { md5, gtsm };
        let of = BTreeMap::from([(towards_router().remote.ip(), protection)]);
        plain.clone().protecting(of)
    };
    let key = "not to be guessed";
    let refused = [
        plain.clone(),
        protected(Some("guessed"), true),
        protected(Some(key), false),
    ];
    let routes = "show route all protocol edge";
    for host in refused {
        let speaker = Speaker::start(&host, towards_router(), None);
        speaker.order(announce(&VIPS, false)).await;
        let end = host.now() + Duration::from_secs(3);
        host.sleep_until(end).await;
        let shown = router.shows(routes);
        ensure!(!shown.contains(VIPS[0]), "it was believed: {shown}");
        speaker.kill();
        // A connection that it does not hear stays half open there.
        router.kill()?;
        router.start()?;
    }
    let host = protected(Some(key), true);
    let speaker = Speaker::start(&host, towards_router(), None);
    speaker.order(announce(&VIPS, false)).await;
    until(&host, router, routes, |shown| {
        VIPS.iter().all(|vip| shown.contains(vip))
    })
    .await?;
    let learned = speaker.learns(&host, &ROUTES).await;
    learned.map_err(anyhow::Error::msg)
}

async fn story(router: &mut Ground) -> Result<()> {
    router.start()?;
    let clock = MonotonicClock::start();
    let host = LiveHost::new("pop.test", clock, Seed(7), Handle::current());
    let speaker = Speaker::start(&host, towards_router(), None);
    speaker.order(announce(&VIPS, false)).await;
    let routes = "show route all protocol edge";
    let has_both = |shown: &str| VIPS.iter().all(|vip| shown.contains(vip));
    until(&host, router, routes, |shown| {
        has_both(shown) && !shown.contains("(65535,0)")
    })
    .await?;
    let learned = speaker.learns(&host, &ROUTES).await;
    learned.map_err(anyhow::Error::msg)?;

    speaker.order(announce(&VIPS, true)).await;
    until(&host, router, routes, |shown| {
        has_both(shown) && shown.matches("(65535,0)").count() == 2
    })
    .await?;
    speaker.order(announce(&VIPS[..1], false)).await;
    until(&host, router, routes, |shown| {
        shown.contains(VIPS[0]) && !shown.contains(VIPS[1])
    })
    .await?;
    // It asks for all of them again.
    router.shows("reload in edge");
    until(&host, router, routes, |shown| shown.contains(VIPS[0])).await?;

    missed_at_once(&host, router, &speaker).await?;

    speaker.order(Orders::default()).await;
    until(&host, router, routes, |shown| !shown.contains(VIPS[0])).await?;
    drop(speaker);
    until(&host, router, "show protocols all edge", |shown| {
        shown.contains("Administrative shutdown")
    })
    .await
}

/// The POP falls silent, then the router dies: BFD tells either of the other.
async fn missed_at_once(host: &LiveHost, router: &mut Ground, speaker: &Speaker) -> Result<()> {
    let routes = "show route all protocol edge";
    // The POP's BFD ends and nothing else: the router gives up the routes long before the hold time of 9 s.
    let [ours, theirs]: [SocketAddr; 2] = [1, 2].map(|end| ([10, 9, 0, end], bfd::PORT).into());
    let watching = Bfd::start(host, ours, theirs, PATIENT);
    until(host, router, "show bfd sessions", |shown| {
        shown.contains("Up")
    })
    .await?;
    watching
        .until(host, bfd::State::Up)
        .await
        .map_err(anyhow::Error::msg)?;
    host.sleep_until(host.now() + Duration::from_secs(1)).await;
    let killed_at = host.now();
    watching.kill();
    until(host, router, routes, |shown| !shown.contains(VIPS[0])).await?;
    let took = host.now().since(killed_at);
    ensure!(took < Duration::from_secs(2), "missed after {took:?}");

    // It comes back, and then the router dies.
    let watching = Bfd::start(host, ours, theirs, PATIENT);
    until(host, router, routes, |shown| shown.contains(VIPS[0])).await?;
    watching
        .until(host, bfd::State::Up)
        .await
        .map_err(anyhow::Error::msg)?;
    host.sleep_until(host.now() + Duration::from_secs(1)).await;
    let killed_at = host.now();
    router.kill()?;
    let (at, _, why) = watching
        .until(host, bfd::State::Down)
        .await
        .map_err(anyhow::Error::msg)?;
    let took = at.since(killed_at);
    ensure!(why == Diagnostic::TIME_EXPIRED, "{why:?}");
    ensure!(took < Duration::from_secs(2), "missed after {took:?}");
    let is_down = |seen: &Seen| seen.state != Some(State::Established) && seen.routes.is_empty();
    let down = speaker.until(host, "down", is_down).await;
    down.map_err(anyhow::Error::msg)?;
    router.start()?;
    until(host, router, routes, |shown| shown.contains(VIPS[0])).await
}
