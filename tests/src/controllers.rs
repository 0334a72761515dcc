//! A group of controllers in either world, and what must hold of it whatever becomes of its members.
//!
//! The members replicate a [`Ledger`], which keeps every command at its place. A writer gives the group commands one
//! after another and notes what was acknowledged; at the end every member must have every acknowledged command at the
//! place that it was told, and all must have the same.

pub mod catch_up;
pub mod election;
mod ledger;

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use anyedge_ccn::controller::{Config, Controller, Failure};
use anyedge_ccn::raft::Role as RaftRole;
use anyedge_ccn::rpc::{Limits, Role, Server, ServerSecurity};
use anyedge_net::host::Host;
use tonic::service::Routes;

pub use ledger::Ledger;

/// Followers wait this long for a leader, or up to twice as long.
pub const ELECTION: Duration = Duration::from_millis(150);
/// Connections that wait to be accepted.
const BACKLOG: usize = 128;
/// Before the writer tries another member.
const PAUSE: Duration = Duration::from_millis(20);

/// The members that run, by their numbers, for the writer and for who looks on.
#[derive(Clone, Default)]
pub struct Group(Arc<Mutex<BTreeMap<u64, Running>>>);

struct Running {
    controller: Controller<Ledger>,
    _server: Server,
}

/// What was acknowledged: places and commands.
pub type Acknowledged = Vec<(u64, String)>;

impl Group {
    /// Starts a member on `host` and serves it at its address among `peers`.
    ///
    /// # Errors
    /// In words, when it cannot.
    pub async fn start<H: Host>(
        &self,
        host: &H,
        config: Config,
        at: SocketAddr,
    ) -> Result<(), String> {
        let id = config.id();
        let controller = Controller::start(host, config, Ledger::default()).await;
        let controller = controller.map_err(|error| error.to_string())?;
        let listener = host.tcp_listen(at, BACKLOG);
        let listener = listener.map_err(|error| format!("{at}: {error}"))?;
        let routes = Routes::new(controller.raft_service());
        let routes = routes.add_service(controller.nodes_service(host));
        let security = ServerSecurity::Plain(Role::Node);
        let server = Server::serve(host, listener, routes, security, Limits::default());
        let running = Running {
            controller,
            _server: server,
        };
        drop(self.running().insert(id, running));
        Ok(())
    }

    /// Lets a member go.
    pub fn stop(&self, id: u64) -> Option<Controller<Ledger>> {
        let running = self.running().remove(&id)?;
        Some(running.controller)
    }

    /// The member of that number.
    pub fn member(&self, id: u64) -> Option<Controller<Ledger>> {
        let running = self.running();
        running.get(&id).map(|member| member.controller.clone())
    }

    /// Who leads, by the newest term.
    pub fn leader(&self) -> Option<u64> {
        let running = self.running();
        let statuses = running.values().map(|member| member.controller.status());
        let leading = statuses.filter(|status| status.role == RaftRole::Leader);
        let newest = leading.max_by_key(|status| status.term);
        newest.map(|status| status.id)
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<u64, Running>> {
        self.0.lock().expect("nobody panics with it")
    }

    /// Gives the group commands called `name-0`, `name-1`, .., each until it is acknowledged, with `gap` between
    /// them, and tells `note` of each.
    pub async fn write_all<H: Host>(
        &self,
        host: &H,
        (name, count): (&str, usize),
        gap: Duration,
        note: impl Fn(u64, String),
    ) {
        for number in 0..count {
            let command = format!("{name}-{number}");
            let place = self.write(host, &command).await;
            note(place, command);
            host.sleep_until(host.now() + gap).await;
        }
    }

    /// Writes `command` by whoever leads, again and again until it is acknowledged: it may stand in more places than
    /// one then. Gives the place that was acknowledged.
    pub async fn write<H: Host>(&self, host: &H, command: &str) -> u64 {
        let mut at = 0;
        loop {
            let ids: Vec<u64> = self.running().keys().copied().collect();
            let member = ids.get(at % ids.len().max(1));
            if let Some(member) = member.and_then(|id| self.member(*id)) {
                match member.propose(command.to_owned().into()).await {
                    Ok(applied) => return applied.place.index,
                    Err(Failure::NotLeader(Some(leader))) => {
                        let known = ids.iter().position(|id| *id == leader.id);
                        at = known.unwrap_or(at + 1);
                    }
                    Err(_) => at += 1,
                }
            }
            host.sleep_until(host.now() + PAUSE).await;
        }
    }

    /// What is wrong with the members `ids`: nothing, if each has every acknowledged command at its place and all have
    /// the same.
    ///
    /// # Errors
    /// In words, what is wrong.
    pub fn check(&self, ids: &[u64], acknowledged: &Acknowledged) -> Result<(), String> {
        let mut first: Option<Ledger> = None;
        for id in ids {
            let member = self.member(*id);
            let member = member.ok_or_else(|| format!("member {id} does not run"))?;
            let ledger = member.read(Ledger::clone);
            for (place, command) in acknowledged {
                if ledger.at(*place) != Some(command) {
                    let found = ledger.at(*place);
                    return Err(format!("{id} lost {command} at {place}: it has {found:?}"));
                }
            }
            match &first {
                None => first = Some(ledger),
                Some(first) if *first == ledger => {}
                Some(_) => return Err(format!("{id} has another ledger than {}", ids[0])),
            }
        }
        Ok(())
    }

    /// Waits until all of `ids` run and have applied all that was acknowledged before the call.
    pub async fn settled<H: Host>(&self, host: &H, ids: &[u64]) {
        let place = loop {
            let leader = self.leader().and_then(|id| self.member(id));
            if let Some(leader) = leader
                && let Ok(place) = leader.read_index().await
            {
                break place;
            }
            host.sleep_until(host.now() + PAUSE).await;
        };
        let has_come = |id: &u64| {
            let member = self.member(*id);
            member.is_some_and(|member| member.status().applied >= place)
        };
        while !ids.iter().all(has_come) {
            host.sleep_until(host.now() + PAUSE).await;
        }
    }
}
