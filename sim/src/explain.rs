//! Where flows go and why, found by starting them: each question becomes a flow of the very client, in the run as it is.
//!
//! The run goes on as without the questions until a flow starts; then its packets pass through the links, forwarders and
//! hosts that all others pass through, and a [watcher](crate::watch) writes down what each did and what it went by.
//! There is no second implementation that could be of another opinion. A TCP flow is a handshake that is closed at
//! once, a UDP flow a datagram that is echoed. Followed is all until the client has an answer and the flow a target.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyedge_net::flow::FlowKey;
use anyedge_net::host::{DatagramMeta, Host, UdpSocket as _};
use anyedge_net::time::Instant;
use anyedge_net::wire::{self, tcp, udp};
use anyedge_topologies::{Protocol, Question, Topology};
use anyedge_traffic::tick;
use serde::Serialize;

use crate::build::{BuildError, LoadHost};
use crate::host::{Shared, SimHost};
use crate::run::{self, Options, Progress};
use crate::services::Services;
use crate::watch::{Delivery, Did, Handled, Watcher, Why};

/// How long after its start a flow is followed at most.
pub const FOLLOWED_FOR: Duration = Duration::from_secs(10);
/// Steps of one flow that are kept: what a client tries again and again says nothing new.
const STEPS_MAX: usize = 256;
/// Bytes of the datagram of a UDP flow.
const DATAGRAM_BYTES: usize = 32;

/// Where a flow went.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// Who started it: the host, such as `client.osaka/1`.
    pub from: String,
    /// VIP and listener.
    pub to: String,
    /// Its tuple.
    pub flow: String,
    /// When it started.
    pub at_s: f64,
    /// The POP, or on the direct path the region, that its first packet entered by.
    pub entered: Option<String>,
    /// The CLB node that gave it a target.
    pub clb_node: Option<String>,
    /// Its target.
    pub target: Option<SocketAddr>,
    /// The host whose vSwitch delivered it.
    pub host: Option<String>,
    /// The POP that its first answer left by.
    pub left_by: Option<String>,
    /// Seconds from its start until the client had an answer.
    pub answered_after_s: Option<f64>,
    /// The answer refuses it.
    pub refused: bool,
    /// Why its packets ended on the way, in order.
    pub dropped: Vec<String>,
    /// All that was done with its packets.
    pub steps: Vec<Handled>,
}

impl Explanation {
    fn of(question: &Question) -> Explanation {
        Explanation {
            from: format!("client.{}/{}", question.client, question.host + 1),
            to: question.name.clone(),
            flow: key_of(question).to_string(),
            at_s: question.at.as_secs_f64(),
            entered: None,
            clb_node: None,
            target: None,
            host: None,
            left_by: None,
            answered_after_s: None,
            refused: false,
            dropped: Vec::new(),
            steps: Vec::new(),
        }
    }

    fn is_complete(&self) -> bool {
        self.answered_after_s.is_some() && (self.target.is_some() || self.refused)
    }

    /// Takes in a step.
    fn add(&mut self, handled: &Handled) {
        if self.is_complete() || self.steps.len() >= STEPS_MAX {
            return;
        }
        let is_cut = matches!(handled.did[..], [Did::CutOff { .. }]);
        let is_node = !(is_cut || matches!(handled.why, Some(Why::Catchment { .. })));
        if is_node && !handled.answer && self.entered.is_none() {
            self.entered = Some(handled.who.clone());
        }
        let opened = handled.did.iter().find_map(|did| match did {
            Did::Opened { target } => Some(*target),
            _ => None,
        });
        let known = match &handled.why {
            Some(Why::Listener { known, .. }) => *known,
            _ => None,
        };
        // The last who sent it on to a target is who served it.
        if let Some(target) = opened.or(known) {
            (self.target, self.clb_node) = (Some(target), Some(handled.who.clone()));
        }
        for did in &handled.did {
            match did {
                Did::GivenToBackend => self.host = Some(handled.who.clone()),
                Did::LetOut if handled.answer => self.left_by = Some(handled.who.clone()),
                Did::LinkLost { link, reason } => self.dropped.push(format!("{reason} on {link}")),
                Did::CutOff { link } => self.dropped.push(format!("LinkDown on {link}")),
                Did::Dropped { reason } => {
                    self.dropped.push(format!("{reason} at {}", handled.who));
                }
                _ => {}
            }
        }
        self.steps.push(handled.clone());
    }

    fn answered(&mut self, at: Instant, resets: bool) {
        if self.is_complete() {
            return;
        }
        self.refused = resets;
        self.answered_after_s = Some(at.as_secs_f64() - self.at_s);
    }
}

fn key_of(question: &Question) -> FlowKey {
    FlowKey {
        src: question.from.ip().into(),
        dst: question.to.ip().into(),
        src_port: question.from.port(),
        dst_port: question.to.port(),
        protocol: match question.protocol {
            Protocol::Tcp => tcp::PROTOCOL,
            Protocol::Udp => udp::PROTOCOL,
        },
    }
}

/// What has been found out so far.
struct Book {
    flows: BTreeMap<FlowKey, usize>,
    explanations: Vec<Explanation>,
    incomplete: usize,
}

/// Writes down what becomes of the flows; beside it, somebody else may watch too.
struct Explainer {
    book: Arc<Mutex<Book>>,
    also: Option<Box<dyn Watcher>>,
}

impl Explainer {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, flow: &FlowKey, change: impl FnOnce(&mut Explanation)) {
        let mut book = self.book();
        let Some(index) = book.flows.get(flow).copied() else {
            return;
        };
        let explanation = &mut book.explanations[index];
        let was_complete = explanation.is_complete();
        change(explanation);
        if explanation.is_complete() && !was_complete {
            book.incomplete -= 1;
        }
    }
}

impl Watcher for Explainer {
    fn delivered(&mut self, delivery: &Delivery<'_>) {
        if let Some(flow) = delivery.flow
            && self.asks(&flow)
            && let Ok(parsed) = wire::parse(delivery.bytes)
            && parsed.flow == flow.reversed()
        {
            let resets = parsed.tcp_flags & tcp::RST != 0;
            self.change(&flow, |own| own.answered(delivery.at, resets));
        }
        if let Some(also) = &mut self.also {
            also.delivered(delivery);
        }
    }

    fn asks(&self, flow: &FlowKey) -> bool {
        self.book().flows.contains_key(flow)
    }

    fn handled(&mut self, flow: &FlowKey, handled: &Handled) {
        self.change(flow, |own| own.add(handled));
    }

    fn is_satisfied(&self) -> bool {
        self.book().incomplete == 0
    }
}

/// Runs `topology` with the flows that `questions` ask about, all in one run, and tells where each went.
///
/// Each flow meets the network as the others have left it, so that a single question is about the run of the file as it
/// is. No two may have the same tuple.
///
/// # Errors
/// When the topology reads well but cannot be built.
pub fn explain(
    topology: &Topology,
    options: &Options,
    questions: &[Question],
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Explanation>, BuildError> {
    explain_beside(topology, options, questions, None, progress)
}

/// As [`explain`], with somebody else who watches the same run.
///
/// # Errors
/// As [`explain`].
pub fn explain_beside(
    topology: &Topology,
    options: &Options,
    questions: &[Question],
    also: Option<Box<dyn Watcher>>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Explanation>, BuildError> {
    let keys = questions.iter().map(key_of);
    let book = Arc::new(Mutex::new(Book {
        flows: keys.zip(0..).collect(),
        explanations: questions.iter().map(Explanation::of).collect(),
        incomplete: questions.len(),
    }));
    let explainer = Explainer {
        book: Arc::clone(&book),
        also,
    };
    let watched = run::Watched {
        watcher: Some(Box::new(explainer)),
        questions,
    };
    run::run_as(topology, options, &Services::new(), watched, progress)?;
    let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(core::mem::take(&mut book.explanations))
}

/// Lets each flow start when its time has come.
pub(crate) fn start(shared: &Arc<Shared>, hosts: &[LoadHost], questions: &[Question]) {
    let places = hosts.iter().filter(|host| host.direct.is_none());
    let places: BTreeMap<(&str, u32), &LoadHost> = places
        .map(|host| ((host.client.as_str(), host.index), host))
        .collect();
    for question in questions {
        if let Some(place) = places.get(&(question.client.as_str(), question.host)) {
            let host = SimHost::new(shared, place.host, &place.name);
            host.clone().spawn(flow(host, question.clone()));
        }
    }
}

async fn flow(host: SimHost, question: Question) {
    let at = Instant::ZERO + question.at;
    host.sleep_until(at).await;
    match question.protocol {
        // How it ends, the packets tell.
        Protocol::Tcp => drop(host.tcp_connect(Some(question.from), question.to).await),
        Protocol::Udp => {
            let Ok(socket) = host.udp_bind(question.from) else {
                return;
            };
            let mut datagram = tick::blank(DATAGRAM_BYTES);
            tick::stamp(&mut datagram, 0, at);
            let _ = socket.send(&datagram, DatagramMeta::to(question.to));
            host.sleep_until(at + FOLLOWED_FOR).await;
        }
    }
}
