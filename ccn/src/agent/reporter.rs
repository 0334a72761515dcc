//! Sends a node's reports to the controller that leads.
//!
//! It begins with any controller, which says who leads if it does not itself, and stays with the one that takes its
//! reports. One report is under way at a time; what changes meanwhile is in the next one.

use core::future::{Future as _, poll_fn};
use core::net::SocketAddr;
use core::task::Poll;

use anyedge_net::host::Host;
use anyedge_net::rng::Rng;
use anyedge_proto::control::v1::report_client::ReportClient;
use anyedge_proto::control::v1::{NodeReport, NodeReportReply};
use futures_util::future::{Either, select};
use tonic::Status;

use super::Config;
use super::news::News;
use crate::keeper::LEADER_METADATA;
use crate::rpc::{Channel, Latest, LatestReader};

/// Controllers that are asked one after another without a pause, each because the one before named it.
const HINTS_MAX: u32 = 2;

/// A node's reporter.
pub(super) struct Reporter<H: Host> {
    host: H,
    config: Config,
    news: Latest<News>,
    reader: LatestReader<News>,
    rng: Rng,
}

impl<H: Host> Reporter<H> {
    pub(super) fn new(host: &H, config: Config, news: Latest<News>) -> Reporter<H> {
        Reporter {
            host: host.clone(),
            reader: news.reader(),
            rng: host.rng("report"),
            config,
            news,
        }
    }

    /// Reports as long as the host runs.
    pub(super) async fn run(mut self) {
        let controllers = self.config.follow.controllers.clone();
        let mut at = self.rng.below(controllers.len().max(1) as u64) as usize;
        let mut hinted = None;
        let mut hints = 0;
        while let Some(controller) = controllers.get(at) {
            let controller = hinted.unwrap_or(*controller);
            let (taken, status) = self.session(controller).await;
            self.change(|news| news.is_heard = false);
            hinted = leader_of(&status);
            hints = if taken > 0 { 0 } else { hints + 1 };
            if hinted.is_some() && hints <= HINTS_MAX {
                continue;
            }
            if hinted.is_none() {
                at = (at + 1) % controllers.len();
            }
            hints = 0;
            let pause = self.config.follow.pause;
            let pause = pause / 2 + self.rng.up_to(pause / 2);
            self.host.sleep_until(self.host.now() + pause).await;
        }
    }

    /// Reports to one controller; gives how many reports it took, and why it took no more.
    async fn session(&mut self, controller: SocketAddr) -> (u64, Status) {
        let follow = &self.config.follow;
        let security = follow.security.clone();
        let channel = Channel::new(&self.host, controller, security, follow.limits);
        let mut client = ReportClient::new(channel);
        let mut taken = 0;
        let (mut series, mut number) = (0, 0);
        loop {
            if number == 0 {
                series = self.rng.bits() ^ self.host.now().as_nanos();
                self.change(News::begin);
            }
            let report = self.next(series, number);
            match self.send(&mut client, report).await {
                Ok(reply) if reply.wants_all && number == 0 => {
                    return (taken, Status::internal("it wants all of all"));
                }
                Ok(reply) if reply.wants_all => {
                    number = 0;
                    continue;
                }
                Ok(_) => {
                    (taken, number) = (taken + 1, number + 1);
                    self.change(|news| (news.taken, news.is_heard) = (news.taken + 1, true));
                }
                Err(status) => return (taken, status),
            }
            self.wait().await;
        }
    }

    fn next(&self, series: u64, number: u64) -> NodeReport {
        let mut batch = None;
        self.change(|news| batch = Some(news.take(self.config.items_max)));
        let batch = batch.unwrap_or_default();
        NodeReport {
            node: self.config.name.clone(),
            in_force: batch.in_force,
            paths: batch.paths,
            targets: batch.targets,
            series,
            number,
        }
    }

    async fn send(
        &self,
        client: &mut ReportClient<Channel<H>>,
        report: NodeReport,
    ) -> Result<NodeReportReply, Status> {
        let patience = self.host.now() + self.config.answer_max;
        let silence = core::pin::pin!(self.host.sleep_until(patience));
        match select(core::pin::pin!(client.send(report)), silence).await {
            Either::Left((reply, _)) => reply.map(tonic::Response::into_inner),
            Either::Right(_) => Err(Status::deadline_exceeded("the controller is silent")),
        }
    }

    /// Until there are news, or the next heartbeat is due.
    async fn wait(&mut self) {
        let heartbeat = self.host.now() + self.config.heartbeat;
        let mut sleep = core::pin::pin!(self.host.sleep_until(heartbeat));
        let (news, reader) = (&self.news, &mut self.reader);
        poll_fn(|context| {
            // Every change from here on wakes this task.
            while reader.poll_next(context, |_| ()).is_ready() {}
            if news.with(|news| news.is_news) {
                return Poll::Ready(());
            }
            sleep.as_mut().poll(context)
        })
        .await;
    }

    /// Changes what only this task reads.
    fn change(&self, change: impl FnOnce(&mut News)) {
        self.news.change(|news| {
            change(news);
            false
        });
    }
}

/// Who leads, as a controller that does not said.
fn leader_of(status: &Status) -> Option<SocketAddr> {
    let leader = status.metadata().get(LEADER_METADATA)?;
    leader.to_str().ok()?.parse().ok()
}
