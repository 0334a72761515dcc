//! The parts of a running controller, from start to end.

use std::net::SocketAddr;
use std::time::Duration;

use anyedge_ccn::api::Api;
use anyedge_ccn::controller::{Config, Controller};
use anyedge_ccn::keeper::{Keeper, Patience};
use anyedge_ccn::raft::Role as RaftRole;
use anyedge_ccn::rpc::{LatestReader, Limits, Server, ServerSecurity, Strangers};
use anyedge_ccn::table::Table;
use anyedge_net::host::Host as _;
use anyhow::{Context as _, Result};
use futures_util::future::select;

use crate::host::LiveHost;
use crate::lab::refused::refuse;

/// Connections that wait to be accepted.
const BACKLOG: usize = 1_024;
/// How long a leader waits for its successor.
const HANDOVER_MAX: Duration = Duration::from_secs(1);

/// How long calls that have begun may go on. Streams of watchers have no end of their own.
const ANSWERS_MAX: Duration = Duration::from_millis(200);

/// A controller and its server.
pub(super) struct Service {
    pub(super) controller: Controller<Table>,
    server: Server,
}

impl Service {
    /// Opens the log, takes part, and answers at `listen`.
    pub(super) async fn start(
        host: &LiveHost,
        config: Config,
        (listen, security): (SocketAddr, ServerSecurity),
    ) -> Result<Service> {
        let listener = match host.tcp_listen(listen, BACKLOG) {
            Ok(listener) => listener,
            Err(error) => refuse!("cannot listen on {listen}: {error}"),
        };
        let controller = Controller::start(host, config, Table::new()).await;
        let controller = controller.context("cannot start")?;
        let keeper = Keeper::start(host, &controller, Patience::default());
        let api = Api::new(host, controller.clone(), keeper);
        let routes = api.routes();
        let server = Server::serve(host, listener, routes, security, Limits::default());
        Ok(Service { controller, server })
    }

    /// Tells of those whom it did not let in.
    pub(super) fn watch_strangers(&self) -> LatestReader<Strangers> {
        self.server.watch_strangers()
    }

    /// Hands leadership over, if there is somebody, and lets calls that have begun end.
    pub(super) async fn end(self, host: &LiveHost) {
        let status = self.controller.status();
        let mut others = status.members.voters.iter().filter(|id| **id != status.id);
        if let (RaftRole::Leader, Some(next)) = (status.role, others.next())
            && self.controller.transfer(*next).await.is_ok()
        {
            let mut statuses = self.controller.watch_status();
            let handed =
                async { while statuses.next(|status| status.role).await == RaftRole::Leader {} };
            let over = host.sleep_until(host.now() + HANDOVER_MAX);
            select(std::pin::pin!(handed), std::pin::pin!(over)).await;
        }
        self.server.stop();
        // The log needs no end; answers that are on their way do.
        host.sleep_until(host.now() + ANSWERS_MAX).await;
    }
}
