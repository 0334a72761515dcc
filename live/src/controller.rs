//! A controller as a process of this machine: one member of the group that keeps the table.
//!
//! It listens, finds the others, keeps its log and what it is in its data directory, tells on stderr what becomes of
//! it, one line an event, and ends when it is asked to: leadership is handed over first, and calls that have begun end.
//! It needs no end: after a `kill -9` the same command goes on where the log is. See docs/operate.md.

mod certificates;
mod events;
mod member_file;
mod service;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyedge_ccn::controller::{Config, Controller, StartError, remembered_by};
use anyedge_ccn::raft::{Role, StoreError};
use anyedge_ccn::rpc::Latest;
use anyedge_ccn::table::Table;
use anyedge_net::host::Host as _;
use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use futures_util::future::{Either, select};

use crate::control::{Answer, ControlSocket};
use crate::foreground::{Foreground, asked_to_end};
use crate::host::LiveHost;
use crate::lab::refused::{Refused, refuse};
pub use certificates::{CertificateFiles, SERVER_NAME, Security};
use events::{Events, Stopped, tell_strangers};
use member_file::MemberFile;
use service::Service;

/// How long a member that starts without a log waits for what the others remember.
const MEET_WAIT: Duration = Duration::from_secs(2);
/// How long an end may take.
const END_MAX: Duration = Duration::from_secs(2);

/// What a controller is told on its command line.
#[derive(Clone, Debug)]
pub struct ControllerArgs {
    /// Its number, not 0.
    pub id: u64,
    /// Where its log lies.
    pub data: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where the members are.
    pub peers: BTreeMap<u64, SocketAddr>,
    /// It joins a group that exists.
    pub joins: bool,
    /// How members and clients know each other.
    pub security: Security,
    /// Followers wait so long to twice that for a leader.
    pub election_timeout: Duration,
    /// The table that all founders begin with, as a snapshot.
    pub founding: Option<PathBuf>,
    /// The control socket on which it says how it stands.
    pub ready: Option<PathBuf>,
    /// It also ends when its standard input does.
    pub ends_with_stdin: bool,
}

/// Runs a controller until it is asked to end.
///
/// # Errors
/// [`Refused`] when the arguments and the data directory do not fit together; others when the machine fails.
pub fn run(args: ControllerArgs) -> Result<()> {
    if let Err(reason) = check(&args) {
        refuse!("{reason}");
    }
    let member = MemberFile::open(&args.data, args.id)?;
    let name = format!("controller.{}", args.id);
    let foreground = Foreground::new(&name)?.with_files_in(&args.data)?;
    let host = foreground.host().clone();
    foreground.run(serve(host, args, member))
}

/// Why these arguments make no sense.
fn check(args: &ControllerArgs) -> Result<(), String> {
    let id = args.id;
    if id == 0 {
        return Err("--id 0 is nobody's: members are numbered from 1 on".to_owned());
    }
    if !args.joins && !args.peers.contains_key(&id) {
        return Err(format!(
            "--peers has no member {id}: it lists all first members, this one included \
             (--peers {id}={},..); one that is added later says --join",
            args.listen
        ));
    }
    if args.joins && args.peers.keys().all(|peer| *peer == id) {
        return Err("--join needs the members that are there already in --peers".to_owned());
    }
    if let Security::Plain = args.security {
        let addresses = args.peers.values().chain([&args.listen]);
        let mut others = addresses.filter(|address| !address.ip().is_loopback());
        if let Some(address) = others.next() {
            return Err(format!(
                "--plain knows nobody and is for loopback alone, not for {address}: give --cert, --key and --ca"
            ));
        }
    }
    Ok(())
}

async fn serve(host: LiveHost, args: ControllerArgs, mut member: MemberFile) -> Result<()> {
    let asked = asked_to_end()?;
    let security = args.security.load(&host)?;
    let mut config = Config::new(args.id, args.peers.clone(), args.election_timeout);
    config.is_founder = !args.joins;
    config.security = security.client;
    if let Some(file) = &args.founding {
        config.founding = founding(file)?;
    }
    config.heard.clone_from(&member.heard);
    if member.is_new() && !args.joins {
        member.write()?;
        if let Some(other) = remembered_by(&host, &config, MEET_WAIT).await {
            let how = format!(
                "{} is empty, but member {other} has heard member {} before",
                args.data.display(),
                args.id
            );
            refuse!("{}", member_file::lost(args.id, &how));
        }
    }
    let started = Service::start(&host, config, (args.listen, security.server));
    let service = started.await.map_err(explained)?;
    if !member.begun {
        member.begun = true;
        member.write()?;
    }
    let stopped = Latest::new(None);
    let events = Events::new(&host, member, stopped.clone());
    events.say(&format!("listens on {}", args.listen));
    host.spawn(events.tell(service.controller.watch_status()));
    host.spawn(tell_strangers(host.clone(), service.watch_strangers()));
    if let Some(socket) = &args.ready {
        answer_on(socket, &service.controller)?;
    }
    if args.ends_with_stdin {
        end_with_stdin(&stopped);
    }
    let mut stops = stopped.reader();
    let stops = async move {
        loop {
            if let Some(why) = stops.next(Option::clone).await {
                return why;
            }
        }
    };
    let failed = {
        let (asked, stops) = (std::pin::pin!(asked), std::pin::pin!(stops));
        match select(asked, stops).await {
            Either::Right((Stopped::Failed(why), _)) => Some(why),
            Either::Left(_) | Either::Right((Stopped::Asked, _)) => None,
        }
    };
    if let Some(why) = failed {
        bail!("{why}");
    }
    let over = host.sleep_until(host.now() + END_MAX);
    let end = service.end(&host);
    select(std::pin::pin!(end), std::pin::pin!(over)).await;
    Ok(())
}

/// The snapshot in `file`, which must be a table.
fn founding(file: &Path) -> Result<Bytes> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    if let Err(error) = Table::restore(&bytes) {
        refuse!("--founding {}: {error}", file.display());
    }
    Ok(bytes.into())
}

/// Says how the member stands, to whoever may ask, as long as the process lives.
fn answer_on(socket: &Path, controller: &Controller<Table>) -> Result<()> {
    let socket = ControlSocket::bind(socket)?;
    let controller = controller.clone();
    let answer = move || {
        let status = controller.status();
        let term = status.term;
        Answer {
            name: format!("controller.{}", status.id),
            pid: std::process::id(),
            summary: match (status.role, &status.leader) {
                (Role::Leader, _) => format!("leads term {term}, {} applied", status.applied),
                (_, Some(leader)) => format!("follows {} in term {term}", leader.id),
                _ => format!("hears no leader in term {term}"),
            },
            waits_for: None,
        }
    };
    let thread = std::thread::Builder::new().name("control".to_owned());
    let spawned = thread.spawn(move || {
        loop {
            if let Err(error) = socket
                .await_caller()
                .and_then(|()| socket.answer_waiting(&answer))
            {
                tracing::warn!(event = "ControlTrouble", "{error:#}");
                return;
            }
        }
    });
    drop(spawned.context("cannot start the thread of callers")?);
    Ok(())
}

/// Watches for the end of standard input: whoever started us holds it open while it lives.
fn end_with_stdin(stopped: &Latest<Option<Stopped>>) {
    let stopped = stopped.clone();
    // Reading blocks, and nothing waits for this thread.
    let spawned = std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            stopped.change(|why| why.is_none() && why.replace(Stopped::Asked).is_none());
        });
    drop(spawned);
}

/// What the user can do about a start that failed.
fn explained(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<StartError>() {
        Some(StartError::Store(StoreError::Disk(io)))
            if io.kind() == std::io::ErrorKind::ResourceBusy =>
        {
            let reason = "another process works in this data directory: end it first";
            Refused::because(reason.to_owned()).into()
        }
        Some(StartError::Store(StoreError::Damaged { .. })) => error.context(
            "the log is damaged: remove this member and let the machine join under another number",
        ),
        _ => error,
    }
}
