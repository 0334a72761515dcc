//! The keeper: what the leader of the controllers does by itself, beside what it is asked.
//!
//! It stands beside every member and acts only while that one leads. It takes nodes' reports, finds by majority which CLB
//! nodes are lost or back, and proposes that; it proposes that slots settle when that is due. What it knows is gone with
//! its term: the next leader begins with what nodes report to it. [`TableTime`] is the time that it stamps into commands.
//!
//! Invariant: it changes nothing but through the log, on the condition that it changes what it looked at. See
//! docs/keeper.md.

mod health;
mod reports;
mod standing;
mod table_time;

use core::future::{Future as _, poll_fn};
use core::task::Poll;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyedge_net::host::Host;
use anyedge_net::time::Instant;
use anyedge_proto::control::v1::report_server::ReportServer;
use anyedge_proto::control::v1::{HealthStatusDetail, NodeReport, NodeReportReply};
use tokio::sync::mpsc;

use crate::controller::{Controller, Leader, bytes_of, outcome_of};
use crate::raft::Role;
use crate::table::Table;
use crate::table::change::Command;
pub use health::TARGET_OPINIONS_MAX;
pub use reports::{LEADER_METADATA, REPORT_ITEMS_MAX, Reports};
pub use standing::{NodeStanding, Patience};
use standing::{Standing, UnknownNode};
pub use table_time::TableTime;

/// The keeper beside one member. Clones speak to the same one; it stops when the last is gone.
#[derive(Clone)]
pub struct Keeper {
    shared: Arc<Shared>,
    time: TableTime,
}

/// What the service writes and the keeper's task reads.
struct Shared {
    controller: Controller<Table>,
    patience: Patience,
    /// Of the present term; `None` while the member does not lead.
    standing: Mutex<Option<Standing>>,
    nudges: mpsc::Sender<()>,
}

impl Keeper {
    /// Stands beside `controller` on the same `host`.
    pub fn start<H: Host>(host: &H, controller: &Controller<Table>, patience: Patience) -> Keeper {
        let (nudges, receiver) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            controller: controller.clone(),
            patience,
            standing: Mutex::new(None),
            nudges,
        });
        let keeper = Keeper {
            shared,
            time: TableTime::new(),
        };
        let task = Task {
            host: host.clone(),
            controller: controller.clone(),
            time: keeper.time.clone(),
            // Whoever has the keeper has its end of the channel: then the task ends.
            shared: Arc::downgrade(&keeper.shared),
        };
        host.spawn(task.run(receiver));
        keeper
    }

    /// The service by which nodes report to this member.
    pub fn report_service<H: Host>(&self, host: &H) -> ReportServer<Reports<H>> {
        Reports::service(host, &self.shared)
    }

    /// The time that this member stamps into commands.
    pub const fn time(&self) -> &TableTime {
        &self.time
    }

    /// What nodes report of a target (`gz-main/web/10.0.0.12:8080`); `Unknown` too where this member does not lead.
    pub fn health_of(&self, target: &str) -> HealthStatusDetail {
        let standing = self.shared.standing();
        standing
            .as_ref()
            .map_or(HealthStatusDetail::Unknown, |it| it.health.of(target))
    }

    /// How the nodes stand that have reported to this member, by name; nobody where it does not lead.
    pub fn nodes(&self) -> Vec<(String, NodeStanding)> {
        let standing = self.shared.standing();
        let nodes = standing.iter().flat_map(|it| &it.nodes);
        nodes.map(|(name, node)| (name.clone(), *node)).collect()
    }

    /// What was left out of reports because a table was full.
    pub fn ignored(&self) -> u64 {
        let standing = self.shared.standing();
        standing.as_ref().map_or(0, Standing::ignored)
    }
}

impl Shared {
    fn standing(&self) -> MutexGuard<'_, Option<Standing>> {
        // A panic while it is held ends the process or the run.
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a report.
    ///
    /// # Errors
    /// Who leads, if not this member.
    fn take(
        &self,
        now: Instant,
        report: &NodeReport,
    ) -> Result<Result<NodeReportReply, UnknownNode>, Option<Leader>> {
        let leading = self.leading();
        let term = leading.ok_or_else(|| self.controller.with_status(|status| status.leader))?;
        let taken = self.controller.read(|table| {
            let mut standing = self.standing();
            let standing = of_term(&mut standing, term, now, self.patience);
            standing.take(now, table, report)
        });
        // When one waits already, the task will look anyway.
        let _one_waits = self.nudges.try_send(());
        Ok(taken)
    }

    /// The term that this member leads.
    fn leading(&self) -> Option<u64> {
        self.controller.with_status(|status| {
            let leads = status.role == Role::Leader && status.stopped.is_none();
            leads.then_some(status.term)
        })
    }

    fn look(&self, now: Instant, stamp: Instant, term: u64) -> (Option<Command>, Option<Instant>) {
        self.controller.read(|table| {
            let mut standing = self.standing();
            let standing = of_term(&mut standing, term, now, self.patience);
            let command = standing.look(now, stamp, table);
            (command, standing.wake_at(now, stamp, table))
        })
    }
}

fn of_term(
    standing: &mut Option<Standing>,
    term: u64,
    now: Instant,
    patience: Patience,
) -> &mut Standing {
    if standing.as_ref().is_none_or(|it| it.term != term) {
        *standing = None;
    }
    standing.get_or_insert_with(|| Standing::new(term, now, patience))
}

/// What looks, waits and proposes.
struct Task<H: Host> {
    host: H,
    controller: Controller<Table>,
    time: TableTime,
    shared: std::sync::Weak<Shared>,
}

impl<H: Host> Task<H> {
    async fn run(self, mut nudges: mpsc::Receiver<()>) {
        let mut statuses = self.controller.watch_status();
        while let Some(shared) = self.shared.upgrade() {
            let wake_at = self.turn(&shared).await;
            drop(shared);
            let mut sleep = wake_at.map(|at| Box::pin(self.host.sleep_until(at)));
            let goes_on = poll_fn(|context| {
                if let Poll::Ready(nudge) = nudges.poll_recv(context) {
                    return Poll::Ready(nudge.is_some());
                }
                if statuses.poll_next(context, |_| ()).is_ready() {
                    return Poll::Ready(true);
                }
                let Some(sleep) = &mut sleep else {
                    return Poll::Pending;
                };
                sleep.as_mut().poll(context).map(|()| true)
            });
            if !goes_on.await {
                return;
            }
        }
    }

    /// Does what is to be done, and gives when to look again.
    async fn turn(&self, shared: &Shared) -> Option<Instant> {
        let Some(term) = shared.leading() else {
            *shared.standing() = None;
            return None;
        };
        let now = self.host.now();
        let stamp = self.time.stamp(&self.host, &self.controller);
        let (command, wake_at) = shared.look(now, stamp, term);
        let Some(command) = command else {
            return wake_at;
        };
        let applied = self.controller.propose(bytes_of(&command)).await;
        let accepted = applied.is_ok_and(|applied| outcome_of(&applied.answer).is_ok());
        let now = self.host.now();
        if accepted {
            return Some(now);
        }
        if let Some(standing) = &mut *shared.standing() {
            standing.put_off(now);
        }
        Some(now + shared.patience.retry)
    }
}
