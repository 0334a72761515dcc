//! The health service: which services of a server are ready, told to whoever asks or watches.
//!
//! The server's own parts write into the [`HealthBook`]; load balancers and `anyedge ctl` read. A watcher is
//! told the last state only: states that came and went while it did not read are skipped, so nothing queues up.

use core::pin::Pin;
use std::collections::BTreeMap;

use anyedge_proto::health::health_check_response::ServingStatus;
use anyedge_proto::health::health_server::{Health, HealthServer};
use anyedge_proto::health::{HealthCheckRequest, HealthCheckResponse};
use futures_util::stream::{self, Stream};
use tonic::{Request, Response, Status};

use super::latest::Latest;

type States = BTreeMap<String, bool>;

/// Where a server's parts write whether they are ready.
#[derive(Clone, Debug)]
pub struct HealthBook(Latest<States>);

impl Default for HealthBook {
    fn default() -> HealthBook {
        HealthBook::new()
    }
}

impl HealthBook {
    /// A book in which the server as a whole (the service without a name) is ready.
    pub fn new() -> HealthBook {
        let states = BTreeMap::from([(String::new(), true)]);
        HealthBook(Latest::new(states))
    }

    /// Notes whether `service` is ready.
    pub fn set(&self, service: &str, is_serving: bool) {
        self.0
            .change(|states| states.insert(service.to_owned(), is_serving) != Some(is_serving));
    }

    /// The service that reads from this book.
    pub fn service(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService(self.clone()))
    }
}

/// Answers from a [`HealthBook`].
#[derive(Clone, Debug)]
pub struct HealthService(HealthBook);

fn state_of(states: &States, service: &str) -> ServingStatus {
    match states.get(service) {
        Some(true) => ServingStatus::Serving,
        Some(false) => ServingStatus::NotServing,
        None => ServingStatus::ServiceUnknown,
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = &request.get_ref().service;
        match self.0.0.with(|states| state_of(states, service)) {
            ServingStatus::ServiceUnknown => Err(Status::not_found("no such service")),
            known => Ok(Response::new(answer(known))),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        let states = self.0.0.reader();
        let told: Option<ServingStatus> = None;
        let stream = stream::unfold(
            (states, service, told),
            |(mut states, service, told)| async move {
                loop {
                    let now = states.next(|states| state_of(states, &service)).await;
                    if told != Some(now) {
                        return Some((Ok(answer(now)), (states, service, Some(now))));
                    }
                }
            },
        );
        Ok(Response::new(Box::pin(stream)))
    }
}
