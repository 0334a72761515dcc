//! The Task service: what became of a request, by its id.
//!
//! The table remembers the last requests that were applied, at every member. What was refused, and what is under way, is
//! known to the member that was asked alone, and forgotten with it: then nobody knows the request, and it was not applied.

use core::pin::Pin;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyedge_net::host::Host;
use anyedge_proto::control::v1::task_server::Task;
use anyedge_proto::control::v1::{TaskReply, TaskRequest, TaskStatus};
use anyedge_proto::table::v1 as pb;
use futures_util::stream::{self, Stream};
use tonic::{Request, Response, Status};

use super::Api;
use super::allowed::{READERS, allowed};
use super::objects::named;
use super::refused::refused;
use crate::rpc::{Latest, LatestReader};
use crate::table::refusal::{Reason, Refusal};

/// Refused requests that are remembered.
const REFUSED_MAX: usize = 1_024;

/// Requests that this member was asked for and that the table does not know.
#[derive(Clone)]
pub(super) struct Tasks {
    inner: Arc<Mutex<Inner>>,
    /// How many have ended.
    ended: Latest<u64>,
}

#[derive(Default)]
struct Inner {
    /// How many calls each has; no more than there are calls.
    under_way: BTreeMap<String, u32>,
    refused: BTreeMap<String, Refusal>,
    order: VecDeque<String>,
}

/// A request that is under way until this is dropped.
pub(super) struct UnderWay {
    tasks: Tasks,
    id: String,
}

impl Default for Tasks {
    fn default() -> Tasks {
        Tasks {
            inner: Arc::default(),
            ended: Latest::new(0),
        }
    }
}

impl Tasks {
    /// Notes that the request of that id is under way.
    pub(super) fn begin(&self, id: &str) -> UnderWay {
        *self.locked().under_way.entry(id.to_owned()).or_default() += 1;
        UnderWay {
            tasks: self.clone(),
            id: id.to_owned(),
        }
    }

    fn end(&self, id: &str) {
        let mut inner = self.locked();
        if let Some(calls) = inner.under_way.get_mut(id) {
            *calls -= 1;
            if *calls == 0 {
                inner.under_way.remove(id);
            }
        }
        drop(inner);
        self.ended.change(|ended| {
            *ended += 1;
            true
        });
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics with it half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    /// Notes that the request was refused.
    pub(super) fn refused(self, refusal: Refusal) {
        let mut inner = self.tasks.locked();
        if inner.refused.insert(self.id.clone(), refusal).is_none() {
            inner.order.push_back(self.id.clone());
        }
        if inner.order.len() > REFUSED_MAX
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.refused.remove(&oldest);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.tasks.end(&self.id);
    }
}

type Replies = Pin<Box<dyn Stream<Item = Result<TaskReply, Status>> + Send>>;

#[tonic::async_trait]
impl<H: Host> Task for Api<H> {
    async fn get(&self, request: Request<TaskRequest>) -> Result<Response<TaskReply>, Status> {
        let TaskRequest { request_id } = allowed(request, READERS)?;
        let id = named(request_id, "request")?;
        self.readable(None).await?;
        self.task(&id).map(Response::new)
    }

    type WatchStream = Replies;

    /// Tells what is known at once, and for a request that is under way its end.
    async fn watch(&self, request: Request<TaskRequest>) -> Result<Response<Replies>, Status> {
        let TaskRequest { request_id } = allowed(request, READERS)?;
        let id = named(request_id, "request")?;
        self.readable(None).await?;
        let ended = self.shared.tasks.ended.reader();
        let first = self.task(&id)?;
        let next = (Some(first), ended, self.clone(), id);
        let replies = stream::unfold(Some(next), |next| async move {
            let (first, mut ended, api, id) = next?;
            let reply = match first {
                Some(first) => Ok(first),
                None => api.end_of(&id, &mut ended).await,
            };
            let goes_on = reply.as_ref().is_ok_and(is_running);
            Some((reply, goes_on.then_some((None, ended, api, id))))
        });
        Ok(Response::new(Box::pin(replies)))
    }
}

impl<H: Host> Api<H> {
    /// What is known of a request.
    fn task(&self, id: &str) -> Result<TaskReply, Status> {
        let applied = self.shared.controller.read(|table| {
            let outcome = table.outcome(id);
            outcome.map(pb::Outcome::from)
        });
        if let Some(outcome) = applied {
            return Ok(TaskReply {
                status: TaskStatus::Success.into(),
                revision: outcome.revision,
                failures: outcome.failures,
            });
        }
        let inner = self.shared.tasks.locked();
        if inner.under_way.contains_key(id) {
            return Ok(TaskReply {
                status: TaskStatus::Running.into(),
                ..TaskReply::default()
            });
        }
        if let Some(refusal) = inner.refused.get(id) {
            let failure = pb::Failure {
                item: 0,
                refusal: Some(refusal.into()),
            };
            return Ok(TaskReply {
                status: TaskStatus::Failed.into(),
                revision: 0,
                failures: vec![failure],
            });
        }
        Err(refused(&Reason::NoResource.because(format_args!(
            "nobody here knows of a request `{id}`"
        ))))
    }

    async fn end_of(&self, id: &str, ended: &mut LatestReader<u64>) -> Result<TaskReply, Status> {
        loop {
            ended.next(|_| ()).await;
            let reply = self.task(id);
            if !reply.as_ref().is_ok_and(is_running) {
                return reply;
            }
        }
    }
}

fn is_running(reply: &TaskReply) -> bool {
    reply.status() == TaskStatus::Running
}
