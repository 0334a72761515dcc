//! The log's writer: one write at a time beside the engine; what is wanted meanwhile becomes one next write.
//!
//! So proposals that come while the disk is busy share a sync, and the engine never waits for the disk. A full
//! disk keeps its write waiting, and nothing that depends on it leaves; after a failed sync there is no going on.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use anyedge_net::host::Host;
use anyedge_net::time::Instant;

use super::status::Disk;
use crate::raft::{Store, StoreError, Write};

/// Writes and what waits for them.
pub(super) struct Writer<H: Host> {
    host: H,
    retry: Duration,
    /// A write that takes so long is slow.
    slow: Duration,
    store: Option<Store<H>>,
    next: Option<Write>,
    under_way: Option<Pin<Box<dyn Future<Output = Done<H>> + Send>>>,
    /// When the write that is under way began.
    since: Instant,
    was_slow: bool,
    refused: Option<String>,
    pub(super) syncs: u64,
}

struct Done<H: Host> {
    store: Store<H>,
    write: Write,
    outcome: Result<(), StoreError>,
}

impl<H: Host> Writer<H> {
    pub(super) fn new(host: &H, store: Store<H>, (retry, slow): (Duration, Duration)) -> Writer<H> {
        Writer {
            host: host.clone(),
            retry,
            slow,
            store: Some(store),
            next: None,
            under_way: None,
            since: host.now(),
            was_slow: false,
            refused: None,
            syncs: 0,
        }
    }

    /// How the disk does, by the last write and the one that is under way.
    pub(super) fn disk(&self) -> Disk {
        match &self.refused {
            Some(why) => Disk::Refuses(why.clone()),
            None if self.was_slow || self.under_way.is_some() && self.is_slow() => Disk::Slow,
            None => Disk::Well,
        }
    }

    fn is_slow(&self) -> bool {
        self.host.now().since(self.since) >= self.slow
    }

    /// Wants this written after all that was wanted before.
    pub(super) fn add(&mut self, write: Write) {
        match &mut self.next {
            Some(next) => next.absorb(write),
            None => self.next = Some(write),
        }
    }

    /// Begins the next write, if there is one and none is under way.
    pub(super) fn begin(&mut self) {
        if self.next.is_none() {
            return;
        }
        let Some(mut store) = self.store.take() else {
            return;
        };
        let write = self.next.take().expect("it was seen just now");
        let (host, retry) = (self.host.clone(), self.retry);
        self.since = host.now();
        self.under_way = Some(Box::pin(async move {
            let work = host.run_blocking(move || {
                let outcome = store.write(&write.record);
                Done {
                    store,
                    write,
                    outcome,
                }
            });
            let done = work.await;
            if done.outcome.is_err() {
                host.sleep_until(host.now() + retry).await;
            }
            done
        }));
    }

    /// The number up to which everything is durable, once that grows.
    pub(super) fn poll_written(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<u64, StoreError>> {
        loop {
            let Some(under_way) = &mut self.under_way else {
                return Poll::Pending;
            };
            let done = ready!(under_way.as_mut().poll(context));
            self.under_way = None;
            self.store = Some(done.store);
            match done.outcome {
                Ok(()) => {
                    self.syncs += 1;
                    self.was_slow = self.is_slow();
                    self.refused = None;
                    return Poll::Ready(Ok(done.write.number));
                }
                // Nothing was written: the same again, with what came meanwhile.
                Err(StoreError::Disk(why)) => {
                    self.refused = Some(why.to_string());
                    let later = self.next.replace(done.write);
                    later.into_iter().for_each(|write| self.add(write));
                    self.begin();
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}
