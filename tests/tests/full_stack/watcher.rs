//! A watcher: it follows any controller that answers, keeps the table by what it is told, and writes down every revision as
//! it comes, to be checked at the end.
//!
//! Every session must tell each revision behind its beginning once and in order; a snapshot is another beginning. What one
//! watcher was told of a revision, all others must be told too.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyedge_ccn::follow::Mirror;
use anyedge_ccn::rpc::{Channel, ClientSecurity, Limits};
use anyedge_ccn::table::Table;
use anyedge_net::host::Host as _;
use anyedge_proto::control::v1::WatchRequest;
use anyedge_proto::control::v1::nodes_client::NodesClient;
use anyedge_proto::control::v1::watch_reply::Event;
use anyedge_proto::table::v1::Delta;
use anyedge_sim::host::SimHost;
use futures_util::future::{Either, select};

/// A controller that says nothing for so long is left.
const SILENCE_MAX: Duration = Duration::from_millis(1_500);
const BOOKMARK_EVERY: Duration = Duration::from_millis(300);
const PAUSE: Duration = Duration::from_millis(100);

/// Revisions with their requests, as they came behind a beginning.
#[derive(Clone, Default)]
struct Session {
    begins: u64,
    told: Vec<(u64, String)>,
}

/// What a watcher was told.
#[derive(Default)]
pub(crate) struct Seen {
    sessions: Vec<Session>,
    pub(crate) table: Table,
    wrong: Option<String>,
}

/// Where a watcher writes.
pub(crate) type Notes = Arc<Mutex<Seen>>;

/// Follows as long as the host runs.
pub(crate) async fn watch(host: SimHost, controllers: Vec<SocketAddr>, notes: Notes) {
    let mut rng = host.rng("watcher");
    let mut at = rng.below(controllers.len() as u64) as usize;
    loop {
        follow(&host, controllers[at], &notes).await;
        at = (at + 1) % controllers.len();
        host.sleep_until(host.now() + PAUSE).await;
    }
}

/// One session with one controller, until it ends or is silent.
async fn follow(host: &SimHost, controller: SocketAddr, notes: &Notes) {
    let limits = Limits {
        retry_max: PAUSE,
        ..Limits::default()
    };
    let channel = Channel::new(host, controller, ClientSecurity::Plain, limits);
    let has = notes.lock().expect("sound").table.revision();
    let request = WatchRequest {
        from_revision: if has == 0 { 0 } else { has + 1 },
        bookmark_every_ns: BOOKMARK_EVERY.as_nanos() as u64,
    };
    let mut client = NodesClient::new(channel).max_decoding_message_size(64 << 20);
    let Some(Ok(events)) = in_time(host, client.follow(request)).await else {
        return;
    };
    let mut events = events.into_inner();
    let mut snapshot = Vec::new();
    notes.lock().expect("sound").begin(has);
    while let Some(Ok(Some(reply))) = in_time(host, events.message()).await {
        let mut seen = notes.lock().expect("sound");
        match reply.event {
            Some(Event::Snapshot(chunk)) => {
                snapshot.extend_from_slice(&chunk.bytes);
                if chunk.last {
                    seen.restore(&core::mem::take(&mut snapshot));
                }
            }
            Some(Event::Delta(delta)) => seen.hear(&delta),
            Some(Event::Compacted(_)) => snapshot.clear(),
            Some(Event::Bookmark(_)) | None => {}
        }
    }
}

async fn in_time<T>(host: &SimHost, what: impl Future<Output = T>) -> Option<T> {
    let silence = core::pin::pin!(host.sleep_until(host.now() + SILENCE_MAX));
    match select(core::pin::pin!(what), silence).await {
        Either::Left((what, _)) => Some(what),
        Either::Right(_) => None,
    }
}

impl Seen {
    fn begin(&mut self, begins: u64) {
        self.sessions.push(Session {
            begins,
            told: Vec::new(),
        });
    }

    fn restore(&mut self, bytes: &[u8]) {
        match Table::restore(bytes) {
            Ok(table) => {
                self.begin(table.revision());
                // One who lags behind is no reason to go back.
                if table.revision() > self.table.revision() {
                    self.table = table;
                }
            }
            Err(error) => self.wrong = Some(error.to_string()),
        }
    }

    fn hear(&mut self, delta: &Delta) {
        let request = delta.outcome.as_ref().map(|it| it.request_id.clone());
        let session = self.sessions.last_mut().expect("it has begun");
        session
            .told
            .push((delta.revision, request.unwrap_or_default()));
        if delta.revision > self.table.revision()
            && let Err(error) = Mirror::replay(&mut self.table, delta)
        {
            self.wrong = Some(error.0);
        }
    }

    /// How many revisions it was told.
    pub(crate) fn revisions(&self) -> u64 {
        let told = self
            .sessions
            .iter()
            .map(|session| session.told.len() as u64);
        told.sum()
    }
}

/// Whether all watchers were told every revision once, in order, and the same.
///
/// # Errors
/// In words, what is wrong.
pub(crate) fn check(all: &[Notes]) -> Result<(), String> {
    let mut known: BTreeMap<u64, String> = BTreeMap::new();
    let mut sessions = Vec::new();
    for (number, notes) in all.iter().enumerate() {
        let seen = notes.lock().expect("sound");
        if let Some(wrong) = &seen.wrong {
            return Err(format!("watcher {number}: {wrong}"));
        }
        for session in &seen.sessions {
            for (revision, request) in &session.told {
                let before = known.insert(*revision, request.clone());
                if before.is_some_and(|before| before != *request) {
                    return Err(format!("revision {revision} is two requests'"));
                }
            }
            sessions.push((number, session.clone()));
        }
    }
    let mut requests = BTreeMap::new();
    for (revision, request) in known.iter().filter(|(_, request)| !request.is_empty()) {
        if let Some(before) = requests.insert(request, revision) {
            return Err(format!("{request} was applied at {before} and {revision}"));
        }
    }
    for (number, session) in sessions {
        let Some((last, _)) = session.told.last() else {
            continue;
        };
        let told: Vec<u64> = session.told.iter().map(|(revision, _)| *revision).collect();
        if *last <= session.begins || !told.is_sorted_by(|one, next| one < next) {
            return Err(format!("watcher {number} was told {told:?}"));
        }
        let due = known.range(session.begins + 1..=*last);
        let due: Vec<u64> = due.map(|(revision, _)| *revision).collect();
        if due != told {
            let begins = session.begins;
            return Err(format!(
                "watcher {number} was told {told:?} behind {begins}, of {due:?}"
            ));
        }
    }
    Ok(())
}
