//! What a node runs beside its forwarder: it follows the table that controllers keep, and tells them how it stands.
//!
//! Each whole table goes to `publish`. Which sessions are up, whose targets answer and which revision is in force comes
//! in by the [`AgentHandle`], is coalesced, and goes to the controller that leads: what changed at once, and something now
//! and then in any case. A controller that is lost is left for another, which is told everything anew. With no controller
//! the last table stays, and reports wait.
//!
//! Invariant: what waits to be told is bounded by what there is to tell of; one report is under way at a time.

mod news;
mod reporter;

use core::future::Future;
use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;

use anyedge_net::host::Host;
pub use anyedge_proto::control::v1::HealthStatusDetail;
use futures_util::future::select;

use crate::follow::{self, follow_from};
use crate::rpc::{ClientSecurity, Latest};
use crate::table::Table;
use news::News;
pub use news::{SESSIONS_MAX, TARGETS_MAX};
use reporter::Reporter;

/// Who an agent is, and whom it follows and reports to.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's full name.
    pub name: String,
    /// How it follows, where controllers are, and how they are called.
    pub follow: follow::Config,
    /// What the node acts upon already; `publish` is not told of it.
    pub begins_with: Table,
    /// A report without news comes this often.
    pub heartbeat: Duration,
    /// A controller that does not answer a report in this time is left for another.
    pub answer_max: Duration,
    /// Sessions and targets of one report.
    pub items_max: usize,
}

impl Config {
    /// The agent of the node of that name; a heartbeat each second.
    pub fn new(name: &str, controllers: Vec<SocketAddr>, security: ClientSecurity) -> Config {
        Config {
            name: name.to_owned(),
            follow: follow::Config {
                security,
                ..follow::Config::new(controllers)
            },
            begins_with: Table::new(),
            heartbeat: Duration::from_secs(1),
            answer_max: Duration::from_secs(2),
            items_max: 4_096,
        }
    }
}

/// Starts agents.
#[derive(Clone, Copy, Debug)]
pub struct Agent;

impl Agent {
    /// Follows and reports until the last handle is gone; `publish` gets each whole table.
    pub fn start<H: Host>(
        host: &H,
        mut config: Config,
        mut publish: impl FnMut(&Table) + Send + 'static,
    ) -> AgentHandle {
        let news = Latest::new(News::default());
        let handle = AgentHandle(Arc::new(End(news.clone())));
        let known = news.clone();
        let publish = move |table: &Table| {
            known.change(|news| {
                news.prune(table);
                false
            });
            publish(table);
        };
        let begins_with = core::mem::take(&mut config.begins_with);
        handle.in_force(begins_with.revision());
        let following = follow_from(host.clone(), config.follow.clone(), begins_with, publish);
        host.spawn(until_ended(news.clone(), following));
        let reporter = Reporter::new(host, config, news.clone());
        host.spawn(until_ended(news, reporter.run()));
        handle
    }
}

async fn until_ended(news: Latest<News>, work: impl Future<Output = ()> + Send) {
    let mut reader = news.reader();
    let ended = async { while !reader.next(|news| news.has_ended).await {} };
    select(core::pin::pin!(ended), core::pin::pin!(work)).await;
}

/// Tells an agent what it shall tell. Clones speak to the same one.
#[derive(Clone, Debug)]
pub struct AgentHandle(Arc<End>);

/// What handles share. The agent ends with it.
#[derive(Debug)]
struct End(Latest<News>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.change(|news| {
            news.has_ended = true;
            true
        });
    }
}

impl AgentHandle {
    /// The session with `node` over `path` came up or went down.
    pub fn path_state(&self, node: &str, path: &str, up: bool) {
        self.change(|news| news.path(node, path, Some(up)));
    }

    /// There is no session with `node` over `path` any more.
    pub fn path_gone(&self, node: &str, path: &str) {
        self.change(|news| news.path(node, path, None));
    }

    /// The node's own checks found something else of a target (`gz-main/web/10.0.0.12:8080`); `Unknown`: nothing any
    /// more.
    pub fn target_health(&self, target: &str, detail: HealthStatusDetail) {
        self.change(|news| news.target(target, detail));
    }

    /// The forwarder acts upon that revision.
    pub fn in_force(&self, revision: u64) {
        self.change(|news| news.in_force(revision));
    }

    /// What was not taken because there was too much.
    pub fn ignored(&self) -> u64 {
        self.0.0.with(|news| news.ignored)
    }

    /// Whether the controller that leads took the last report.
    pub fn is_heard(&self) -> bool {
        self.0.0.with(|news| news.is_heard)
    }

    /// Reports that controllers took.
    pub fn taken(&self) -> u64 {
        self.0.0.with(|news| news.taken)
    }

    fn change(&self, change: impl FnOnce(&mut News) -> bool) {
        self.0.0.change(change);
    }
}
