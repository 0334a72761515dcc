//! Controllers as simulated hosts: each starts with its disk as it finds it, with everything that a real one serves.
//!
//! One whose disk is empty and that has run before must not vote as who it was: it has forgotten what it promised. It
//! comes back under another number, and an operator has it take the place of the old one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyedge_ccn::api::Api;
use anyedge_ccn::api::client::Client;
use anyedge_ccn::controller::{Config, Controller};
use anyedge_ccn::keeper::{Keeper, Patience};
use anyedge_ccn::raft::Role as RaftRole;
use anyedge_ccn::rpc::{ClientSecurity, Limits, Role, Server, ServerSecurity};
use anyedge_ccn::table::Table;
use anyedge_net::host::Host as _;
use anyedge_proto::control::v1::Member as Told;
use anyedge_sim::host::SimHost;

/// Followers wait this long for a leader, or up to twice as long. Four times that, after which a connection is cut that
/// does not answer, is more than the simulated TCP's first repeat takes (1 s): otherwise each packet lost would
/// be a connection lost.
const ELECTION: Duration = Duration::from_millis(300);
/// Entries that stay in the log: few, so that who comes back late is sent a snapshot.
const ENTRIES_KEPT: u64 = 40;
/// Added to the number of a member that has lost its disk.
const AGAIN: u64 = 10;
const PAUSE: Duration = Duration::from_millis(100);

struct Running {
    controller: Controller<Table>,
    _server: Server,
}

#[derive(Default)]
struct Inner {
    running: BTreeMap<u64, Running>,
    /// By machine: the number that it has.
    numbers: BTreeMap<String, u64>,
    /// Who takes whose place.
    replaced: Vec<(u64, u64, SocketAddr)>,
    starts: u64,
}

impl Inner {
    /// How each member stands, a line for each.
    fn statuses(&self) -> String {
        let line = |member: &Running| {
            let status = member.controller.status();
            format!("{status:?}\n")
        };
        self.running.values().map(line).collect()
    }
}

/// All members of a run.
#[derive(Clone, Default)]
pub(crate) struct Members(Arc<Mutex<Inner>>);

impl Members {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nobody panics with it")
    }

    /// The member on `host` starts, of the number `id` if it never did before.
    pub(crate) async fn start(
        self,
        host: SimHost,
        id: u64,
        peers: BTreeMap<u64, SocketAddr>,
        clients: u64,
    ) {
        let at = peers[&id];
        let id = self.number(&host, id, at);
        let mut config = Config::new(id, peers, ELECTION);
        config.entries_kept = ENTRIES_KEPT;
        config.is_founder = id < AGAIN;
        config.peers.insert(id, at);
        let controller = loop {
            let started = Controller::start(&host, config.clone(), Table::new()).await;
            match started {
                Ok(controller) => break controller,
                // A full disk takes no new file.
                Err(_) => host.sleep_until(host.now() + PAUSE).await,
            }
        };
        let keeper = Keeper::start(&host, &controller, Patience::default());
        let api = Api::new(&host, controller.clone(), keeper);
        let listener = host.tcp_listen(at, 128).expect("its port is free");
        let limits = Limits {
            calls_max: 64 * clients as usize,
            ..Limits::default()
        };
        let security = ServerSecurity::Plain(Role::Operator);
        let server = Server::serve(&host, listener, api.routes(), security, limits);
        let running = Running {
            controller,

            _server: server,
        };
        drop(self.inner().running.insert(id, running));
    }

    /// Who the member on `host` is, by what its disk says.
    fn number(&self, host: &SimHost, id: u64, at: SocketAddr) -> u64 {
        let mut inner = self.inner();
        inner.starts += 1;
        let known = inner.numbers.get(host.name()).copied();
        // Names are durable at once: a file by which a machine knows that it has run before.
        let has_run = host.rename_file("has-run", "has-run-twice").is_ok();
        if has_run {
            let back = host.rename_file("has-run-twice", "has-run");
            back.expect("it was renamed a moment ago");
        } else {
            drop(
                host.open_file("has-run")
                    .expect("an empty disk takes a name"),
            );
        }
        let number = match known {
            Some(known) if !has_run => {
                inner.replaced.push((known, known + AGAIN, at));
                known + AGAIN
            }
            known => known.unwrap_or(id),
        };
        inner.numbers.insert(host.name().to_owned(), number);
        number
    }

    /// Has those who lost their disks take the places of who they were.
    pub(crate) async fn replace(self, host: SimHost, client: Client<SimHost>) {
        let mut done = 0;
        loop {
            host.sleep_until(host.now() + PAUSE).await;
            let next = self.inner().replaced.get(done).copied();
            let Some((old, new, at)) = next else {
                continue;
            };
            let added = Told {
                id: new,
                address: at.to_string(),
                ..Told::default()
            };
            let changed = client.change_members(vec![added], vec![old]).await;
            done += usize::from(changed.is_ok());
        }
    }

    /// The machine of whoever leads, by the newest term.
    pub(crate) fn leader(&self) -> Option<String> {
        let inner = self.inner();
        let statuses = inner.running.values().map(|it| it.controller.status());
        let leading = statuses.filter(|status| status.role == RaftRole::Leader);
        let id = leading.max_by_key(|status| status.term)?.id;
        let machine = inner.numbers.iter().find(|(_, number)| **number == id);
        machine.map(|(name, _)| name.clone())
    }

    /// How many times a member has started, and how many terms there were.
    pub(crate) fn starts_and_terms(&self) -> (u64, u64) {
        let inner = self.inner();
        let terms = inner.running.values().map(|it| it.controller.status().term);
        (inner.starts, terms.max().unwrap_or(0))
    }

    /// The table of all members, when it is the same at each.
    ///
    /// # Errors
    /// In words, what differs.
    pub(crate) fn table(&self) -> Result<Table, String> {
        let inner = self.inner();
        let mut first: Option<(u64, Table)> = None;
        for id in inner.numbers.values() {
            let member = inner.running.get(id);
            let member = member.ok_or_else(|| format!("member {id} does not run"))?;
            if let Some(why) = member.controller.status().stopped {
                return Err(format!("member {id} has stopped: {why}"));
            }
            let table = member.controller.read(Table::clone);
            match &first {
                None => first = Some((*id, table)),
                Some((_, first)) if Table::snapshot(first) == Table::snapshot(&table) => {}
                Some((other, first)) => {
                    let (one, two) = (first.revision(), table.revision());
                    return Err(format!(
                        "member {other} has revision {one}, member {id} has {two}, or another table:\n{}",
                        inner.statuses()
                    ));
                }
            }
        }
        first
            .map(|(_, table)| table)
            .ok_or("nobody runs".to_owned())
    }

    /// A client of all machines.
    pub(crate) fn client(
        host: &SimHost,
        name: &str,
        peers: &BTreeMap<u64, SocketAddr>,
    ) -> Client<SimHost> {
        let servers = peers.values().copied().collect();
        Client::named(host, name, servers, ClientSecurity::Plain)
    }
}
