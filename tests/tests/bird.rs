//! Our BGP speaker against a real router: BIRD 2, in a namespace that the test makes.
//!
//! Needs root and `bird`; skipped loudly without.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyedge_live::dataplane::clock::MonotonicClock;
use anyedge_live::host::LiveHost;
use anyedge_live::netlink::Netlink;
use anyedge_live::netns::{self, Namespace};
use anyedge_net::host::Host as _;
use anyedge_net::rng::Seed;
use anyedge_pop::bgp::speaker::{Orders, Peer};
use anyedge_pop::bgp::{Config, State};
use anyedge_tests::bgp::{Speaker, VIPS, announce, config};
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
protocol direct { ipv4; ipv6; interface "lo"; }
protocol static { ipv4; route 203.0.113.0/24 blackhole; }
protocol static { ipv6; route 2001:db8:99::/48 blackhole; }
filter own { if source = RTS_STATIC then accept; reject; }
protocol bgp edge {
    local 10.9.0.2 as 65002;
    neighbor 10.9.0.1 as 65001;
    multihop;
    passive yes;
    hold time 9;
    ipv4 { import all; export filter own; };
    ipv6 { import all; export filter own; next hop address fd00:9::2; };
}
"#;

/// The router, and the namespace that it stands in; both go with it.
struct Router {
    child: Option<Child>,
    folder: Scratch,
    namespace: Namespace,
}

impl Router {
    fn set_up() -> Result<Router> {
        let name = format!("anyedge-bird-{}", std::process::id());
        let namespace = Namespace::create(&name)?;
        let router = Router {
            child: None,
            folder: Scratch::new(),
            namespace,
        };
        fs::create_dir_all(router.folder.path())?;
        fs::write(router.folder.path().join("bird.conf"), ROUTER)?;
        router.namespace.run(|| {
            let netlink = Netlink::open()?;
            netlink.set_up("lo")?;
            for address in ["10.9.0.1/24", "10.9.0.2/24", "fd00:9::1/64", "fd00:9::2/64"] {
                netlink.add_address("lo", address.parse().expect("a prefix"))?;
            }
            Ok(())
        })?;
        Ok(router)
    }

    /// Starts it, in the namespace of the calling thread.
    fn start(&mut self) -> Result<()> {
        let mut command = Command::new("bird");
        command
            .args(["-f", "-c", "bird.conf", "-s", "bird.ctl"])
            .current_dir(self.folder.path())
            .stderr(fs::File::create(self.folder.path().join("bird.log"))?)
            .stdout(Stdio::null());
        self.child = Some(command.spawn().context("bird does not start")?);
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

impl Drop for Router {
    fn drop(&mut self) {
        // Best effort: the error that made the test end matters more.
        let _ = self.kill();
        let _ = netns::delete(self.namespace.name());
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
    router: &Router,
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
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn a_real_router_hears_of_vips_and_of_their_end() {
    let has_bird = Command::new("bird").arg("--version").output().is_ok();
    if !nix::unistd::geteuid().is_root() || !has_bird {
        eprintln!("SKIPPED: a real router needs root, network namespaces and bird");
        return;
    }
    let mut router = Router::set_up().expect("a namespace can be made");
    let namespace = Namespace::open(router.namespace.name()).expect("it is there");
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

async fn story(router: &mut Router) -> Result<()> {
    router.start()?;
    let clock = MonotonicClock::start();
    let host = LiveHost::new("pop.test", clock, Seed(7), Handle::current());
    let config = Config {
        next_hop_v4: Some([10, 9, 0, 1].into()),
        next_hop_v6: Some([0xfd00, 9, 0, 0, 0, 0, 0, 1].into()),
        ..config(0)
    };
    let peer = Peer {
        config,
        remote: ([10, 9, 0, 2], 179).into(),
        local: Some(([10, 9, 0, 1], 0).into()),
    };
    let speaker = Speaker::start(&host, peer, None);
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

    // A router that dies and comes back hears all of it again.
    router.kill()?;
    let is_down = |seen: &anyedge_tests::bgp::Seen| {
        seen.state != Some(State::Established) && seen.routes.is_empty()
    };
    let down = speaker.until(&host, "down", is_down).await;
    down.map_err(anyhow::Error::msg)?;
    router.start()?;
    until(&host, router, routes, |shown| shown.contains(VIPS[0])).await?;

    speaker.order(Orders::default()).await;
    until(&host, router, routes, |shown| !shown.contains(VIPS[0])).await?;
    drop(speaker);
    until(&host, router, "show protocols all edge", |shown| {
        shown.contains("Administrative shutdown")
    })
    .await
}
