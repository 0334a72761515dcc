//! A group of controllers on loopback that is changed while it works: members come and go, leadership is handed over,
//! logs are cut, and those who follow or come too many are dealt with.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyedge_ccn::controller::{Config, Controller, Failure};
use anyedge_ccn::follow;
use anyedge_ccn::rpc::{Channel, ClientSecurity, Limits};
use anyedge_live::dataplane::clock::MonotonicClock;
use anyedge_live::host::LiveHost;
use anyedge_net::host::{Host, TcpListener as _};
use anyedge_net::rng::Seed;
use anyedge_proto::control::v1::WatchRequest;
use anyedge_proto::control::v1::nodes_client::NodesClient;
use anyedge_proto::control::v1::watch_reply::Event;
use anyedge_tests::controllers::{ELECTION, Group, Ledger};
use anyedge_tests::two_machines::{Scratch, bounded};
use tokio::runtime::Handle;
use tonic::Code;

/// Founders, and one that joins later.
const IDS: [u64; 4] = [1, 2, 3, 4];

/// Machines with their disks, of which three run members.
struct Lab {
    hosts: BTreeMap<u64, LiveHost>,
    at: BTreeMap<u64, SocketAddr>,
    group: Group,
    _folder: Scratch,
}

impl Lab {
    async fn new(adjust: impl Fn(&mut Config)) -> Lab {
        let folder = Scratch::new();
        let clock = MonotonicClock::start();
        let host = |id: u64| {
            let name = format!("controller.{id}");
            let host = LiveHost::new(&name, clock, Seed(7), Handle::current());
            let host = host.with_files_in(&folder.path().join(name));
            (id, host.expect("a folder of its own"))
        };
        let hosts = BTreeMap::from(IDS.map(host));
        let free = |(id, host): (&u64, &LiveHost)| {
            let any = SocketAddr::from(([127, 0, 2, *id as u8], 0));
            let listener = host.tcp_listen(any, 1).expect("loopback has a free port");
            (*id, listener.local_addr())
        };
        let at = hosts.iter().map(free).collect();
        let group = Group::default();
        let lab = Lab {
            hosts,
            at,
            group,
            _folder: folder,
        };
        for id in &IDS[..3] {
            let mut config = Config::new(*id, lab.founders(), ELECTION);
            adjust(&mut config);
            let started = lab.group.start(&lab.hosts[id], config, lab.at[id]).await;
            started.expect("a fresh disk and a free port");
        }
        lab
    }

    fn founders(&self) -> BTreeMap<u64, SocketAddr> {
        let founders = self.at.iter().take(3);
        founders.map(|(id, at)| (*id, *at)).collect()
    }

    fn host(&self) -> &LiveHost {
        &self.hosts[&1]
    }

    async fn leader(&self) -> Controller<Ledger> {
        loop {
            let leader = self.group.leader().and_then(|id| self.group.member(id));
            match leader {
                Some(leader) => return leader,
                None => self.pause().await,
            }
        }
    }

    async fn pause(&self) {
        let host = self.host();
        host.sleep_until(host.now() + Duration::from_millis(10))
            .await;
    }

    /// Asks whoever leads until it is done.
    async fn ask<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        ask: impl Fn(Controller<Ledger>) -> F,
    ) -> T {
        loop {
            match ask(self.leader().await).await {
                Ok(done) => return done,
                Err(_) => self.pause().await,
            }
        }
    }
}

fn on_loopback<F: Future<Output = ()>>(story: impl FnOnce() -> F + Send + 'static) {
    let ended = bounded(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(story());
        Ok(())
    });
    assert_eq!(ended, Ok(()));
}

#[test]
fn a_member_that_is_added_gets_a_snapshot_votes_and_one_that_is_removed_is_not_missed() {
    on_loopback(|| async {
        let lab = Lab::new(|config| config.entries_kept = 10).await;
        for number in 0..50 {
            lab.group
                .write(lab.host(), &format!("early-{number}"))
                .await;
        }
        let at = lab.at[&4];
        lab.ask(|leader| async move { leader.set_address(4, Some(at)).await })
            .await;
        let mut config = Config::new(4, lab.founders(), ELECTION);
        config.is_founder = false;
        let started = lab.group.start(&lab.hosts[&4], config, at).await;
        started.expect("a fresh disk");
        lab.ask(|leader| async move { leader.change_members(&[4], &[]).await })
            .await;
        lab.group.settled(lab.host(), &IDS).await;
        let newest = lab.group.member(4).expect("it runs");
        assert!(
            newest.read(Ledger::len) >= 50,
            "a snapshot brought what was cut"
        );

        let leader = lab.leader().await.status().id;
        lab.ask(|controller| async move { controller.change_members(&[], &[leader]).await })
            .await;
        drop(lab.group.stop(leader));
        let stays: Vec<u64> = IDS.into_iter().filter(|id| *id != leader).collect();
        drop(lab.group.stop(stays[0]));
        let place = lab.group.write(lab.host(), "by two of three").await;
        assert_eq!(lab.leader().await.status().members.voters, stays);
        let acknowledged = vec![(place, "by two of three".to_owned())];
        // The follower of the two hears later that it counts.
        while lab.group.check(&stays[1..], &acknowledged).is_err() {
            lab.pause().await;
        }
    });
}

#[test]
fn leadership_is_handed_over_on_request_and_reads_see_what_was_acknowledged() {
    on_loopback(|| async {
        let lab = Lab::new(|_| ()).await;
        let place = lab.group.write(lab.host(), "before").await;
        let old = lab.leader().await;
        let to = IDS[..3].iter().find(|id| **id != old.status().id);
        let to = *to.expect("there are three");
        old.transfer(to).await.expect("it leads");
        let new = lab.group.member(to).expect("it runs");
        let mut told = new.watch_status();
        while new.status().role != anyedge_ccn::raft::Role::Leader {
            told.next(|_| ()).await;
        }
        let come_to = lab
            .ask(|leader| async move { leader.read_index().await })
            .await;
        assert!(come_to >= place);
        let refused = old.transfer(to).await;
        assert!(
            matches!(refused, Err(Failure::NotLeader(_))),
            "{refused:?}: who handed over leads no more"
        );
        let refused = lab.leader().await.transfer(9).await;
        assert_eq!(refused, Err(Failure::Unsound), "nobody has that number");
    });
}

#[test]
fn a_log_over_its_limit_of_bytes_is_cut_once_in_a_while_and_not_at_every_command() {
    on_loopback(|| async {
        let large = "x".repeat(10_000);
        let lab = Lab::new(|config| config.log_bytes_max = 200_000).await;
        for number in 0..60 {
            lab.group
                .write(lab.host(), &format!("{number}-{large}"))
                .await;
        }
        let leader = lab.leader().await;
        let syncs = leader.status().syncs;
        // Each write is a sync and each cut another: 60 commands of 10 KB pass half of 200 KB six times.
        assert!(syncs <= 60 + 15, "{syncs} syncs");
        lab.group.settled(lab.host(), &IDS[..3]).await;
        let all = lab.group.check(&IDS[..3], &Vec::new());
        assert_eq!(all, Ok(()));
    });
}

#[test]
fn a_watcher_too_far_behind_is_told_so_and_begins_again_and_one_too_many_is_refused() {
    on_loopback(|| async {
        let lab = Lab::new(|config| {
            config.deltas_max = 5;
            config.watchers_max = 2;
        })
        .await;
        for number in 0..20 {
            lab.group
                .write(lab.host(), &format!("early-{number}"))
                .await;
        }
        let leader = lab.leader().await.status().id;
        let limits = Limits::default();
        let channel = Channel::new(lab.host(), lab.at[&leader], ClientSecurity::Plain, limits);
        let mut client = NodesClient::new(channel);
        let request = |from_revision| WatchRequest {
            from_revision,
            bookmark_every_ns: 0,
        };
        let first = client.follow(request(2)).await.expect("there is room");
        let mut first = first.into_inner();
        let event = async |events: &mut tonic::Streaming<_>| {
            let reply: anyedge_proto::control::v1::WatchReply = events
                .message()
                .await
                .expect("it goes on")
                .expect("for ever");
            reply.event.expect("it says something")
        };
        let Event::Compacted(until) = event(&mut first).await else {
            panic!("revision 2 is not there any more");
        };
        assert!(until >= 15);
        let Event::Snapshot(snapshot) = event(&mut first).await else {
            panic!("then a snapshot");
        };
        assert!(snapshot.last);
        let marked = event(&mut first).await;
        assert_eq!(marked, Event::Bookmark(snapshot.revision));
        let _second = client.follow(request(0)).await.expect("there is room");
        let third = client.follow(request(0)).await;
        assert_eq!(
            third.err().map(|status| status.code()),
            Some(Code::ResourceExhausted)
        );
        drop(first);
        // A place is free when the server has seen that its holder left.
        loop {
            if client.follow(request(0)).await.is_ok() {
                return;
            }
            lab.pause().await;
        }
    });
}

#[test]
fn a_hundred_that_begin_to_follow_at_once_all_come_to_the_newest_state() {
    on_loopback(|| async {
        let lab = Lab::new(|_| ()).await;
        for number in 0..20 {
            lab.group
                .write(lab.host(), &format!("early-{number}"))
                .await;
        }
        let controllers: Vec<SocketAddr> = lab.founders().into_values().collect();
        let seen: Arc<Mutex<BTreeMap<usize, Ledger>>> = Arc::default();
        for number in 0..100 {
            let seen = Arc::clone(&seen);
            let publish = move |ledger: &Ledger| {
                let mut seen = seen.lock().expect("nobody panics with it");
                seen.insert(number, ledger.clone());
            };
            let config = follow::Config::new(controllers.clone());
            let host = lab.host().clone();
            lab.host().spawn(follow::follow(host, config, publish));
        }
        let last = lab.group.write(lab.host(), "last").await;
        let all_have_it = || {
            let seen = seen.lock().expect("nobody panics with it");
            let have = seen.values().filter(|ledger| ledger.at(last).is_some());
            have.count() == 100
        };
        while !all_have_it() {
            lab.pause().await;
        }
    });
}
