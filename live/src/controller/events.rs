//! What becomes of a controller, as lines on stderr: elections, members, snapshots, trouble with its disk.
//!
//! A line is the seconds since the start, the member's name, and what happened, in the words of the simulator's
//! reports. What a member has heard of others goes into its `member.json` on the way.

use std::io::Write as _;
use std::time::Duration;

use anyedge_ccn::controller::{Disk, Snapshots, Status};
use anyedge_ccn::raft::Role as RaftRole;
use anyedge_ccn::rpc::{Latest, LatestReader, Strangers};
use anyedge_net::host::Host as _;

use super::member_file::MemberFile;
use crate::host::LiveHost;

/// Between two lines about callers that are not let in.
const STRANGERS_EVERY: Duration = Duration::from_secs(1);

/// Why a controller ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Stopped {
    /// It was asked to.
    Asked,
    /// It cannot go on.
    Failed(String),
}

/// Who tells.
pub(super) struct Events {
    host: LiveHost,
    member: MemberFile,
    stopped: Latest<Option<Stopped>>,
    told: Told,
}

/// What was told last.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Told {
    leadership: Leadership,
    voters: Vec<u64>,
    refused: u64,
    snapshots: Snapshots,
    disk: Disk,
}

/// What a member knows of who leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Leadership {
    /// It has just begun.
    #[default]
    New,
    /// It hears nobody in a term.
    Nobody(u64),
    /// It leads a term.
    Leads(u64),
    /// It follows a member in a term.
    Follows(u64, u64),
}

impl Events {
    pub(super) fn new(
        host: &LiveHost,
        member: MemberFile,
        stopped: Latest<Option<Stopped>>,
    ) -> Events {
        Events {
            host: host.clone(),
            member,
            stopped,
            told: Told::default(),
        }
    }

    /// Says one line.
    pub(super) fn say(&self, what: &str) {
        say(&self.host, what);
    }

    /// Tells what follows from each status, until the member stops.
    pub(super) async fn tell(mut self, mut statuses: LatestReader<Status>) {
        loop {
            let status = statuses.next(Status::clone).await;
            self.remember(&status);
            for line in self.told.news(&status) {
                self.say(&line);
            }
            if let Some(why) = status.stopped {
                let failed = Stopped::Failed(format!("the member has stopped: {why}"));
                self.stopped
                    .change(|stopped| stopped.is_none() && stopped.replace(failed).is_none());
                return;
            }
        }
    }

    fn remember(&mut self, status: &Status) {
        if status.heard.is_subset(&self.member.heard) {
            return;
        }
        self.member.heard.clone_from(&status.heard);
        if let Err(error) = self.member.write() {
            self.say(&format!("disk trouble: {error:#}"));
        }
    }
}

/// Tells of callers that are not let in: the last one, and how many there were, once in a while.
pub(super) async fn tell_strangers(host: LiveHost, mut strangers: LatestReader<Strangers>) {
    let mut told = 0;
    loop {
        let Strangers { total, last } = strangers.next(|strangers| *strangers).await;
        if let Some((address, why)) = last.filter(|_| total > told) {
            let more = match total - told {
                1 => String::new(),
                count => format!(", and {} before", count - 1),
            };
            say(&host, &format!("lets {address} not in: {why}{more}"));
            told = total;
        }
        host.sleep_until(host.now() + STRANGERS_EVERY).await;
    }
}

fn say(host: &LiveHost, what: &str) {
    let at = host.now().as_nanos();
    let (seconds, millis) = (at / 1_000_000_000, at / 1_000_000 % 1_000);
    let name = host.name();
    // Without a reader there is nobody to tell.
    let _ = writeln!(
        std::io::stderr().lock(),
        "{seconds}.{millis:03}s {name} {what}"
    );
}

impl Leadership {
    fn of(status: &Status) -> Leadership {
        match (status.role, status.leader) {
            (RaftRole::Leader, _) => Leadership::Leads(status.term),
            (_, Some(leader)) => Leadership::Follows(leader.id, status.term),
            (_, None) => Leadership::Nobody(status.term),
        }
    }
}

impl Told {
    /// The lines that this status is worth.
    fn news(&mut self, status: &Status) -> Vec<String> {
        let leadership = self.leadership(Leadership::of(status));
        let mut lines = Vec::from_iter(leadership);
        if status.members.voters != self.voters {
            let name = |id: &u64| format!("controller.{id}");
            let names: Vec<String> = status.members.voters.iter().map(name).collect();
            if !names.is_empty() {
                lines.push(format!("members {}", names.join(" ")));
            }
            self.voters.clone_from(&status.members.voters);
        }
        if status.refused_messages > self.refused {
            lines.push(format!(
                "refused {} messages that no correct member sends",
                status.refused_messages - self.refused
            ));
            self.refused = status.refused_messages;
        }
        lines.extend(self.snapshots(status.snapshots));
        lines.extend(self.disk(&status.disk));
        lines
    }

    fn snapshots(&mut self, found: Snapshots) -> Option<String> {
        let before = core::mem::replace(&mut self.snapshots, found);
        let Snapshots { index, bytes, .. } = found;
        if found.received > before.received {
            return Some(format!("received a snapshot: {bytes} bytes, place {index}"));
        }
        (found.made > before.made)
            .then(|| format!("made a snapshot: {bytes} bytes, place {index}; the log is cut"))
    }

    fn disk(&mut self, found: &Disk) -> Option<String> {
        if *found == self.disk {
            return None;
        }
        self.disk.clone_from(found);
        Some(match found {
            Disk::Well => "disk works again".to_owned(),
            Disk::Slow => "disk slow: a write takes longer than an election timeout; another member should lead                            (`anyedge ctl leader transfer ID`), or --election-timeout be longer"
                .to_owned(),
            Disk::Refuses(why) => format!(
                "disk refuses: {why}; tried again until it takes it, nothing is acknowledged here meanwhile:                  make room for --data"
            ),
        })
    }

    fn leadership(&mut self, found: Leadership) -> Option<String> {
        let before = core::mem::replace(&mut self.leadership, found);
        match found {
            _ if found == before => None,
            Leadership::Leads(term) => Some(format!("leads term {term}")),
            Leadership::Follows(leader, term) => {
                Some(format!("follows controller.{leader} in term {term}"))
            }
            // Of course nobody leads when it begins, and nobody still leads in the next term.
            Leadership::Nobody(_) if matches!(before, Leadership::New | Leadership::Nobody(_)) => {
                None
            }
            Leadership::Nobody(term) => Some(format!("hears no leader in term {term}")),
            Leadership::New => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elections_are_told_once_each_in_plain_words() {
        let mut told = Told::default();
        let mut news = |found| told.leadership(found);
        assert_eq!(news(Leadership::Nobody(0)), None);
        let follows = Leadership::Follows(2, 1);
        let said = news(follows);
        assert_eq!(said.as_deref(), Some("follows controller.2 in term 1"));
        assert_eq!(news(follows), None);
        let said = news(Leadership::Nobody(1));
        assert_eq!(said.as_deref(), Some("hears no leader in term 1"));
        assert_eq!(news(Leadership::Nobody(2)), None);
        let said = news(Leadership::Leads(3));
        assert_eq!(said.as_deref(), Some("leads term 3"));
    }

    #[test]
    fn snapshots_are_told_with_their_size_and_place() {
        let mut told = Told::default();
        let mut found = Snapshots::default();
        assert_eq!(told.snapshots(found), None);
        (found.made, found.index, found.bytes) = (1, 500, 2_048);
        let said = told.snapshots(found);
        let expected = "made a snapshot: 2048 bytes, place 500; the log is cut";
        assert_eq!(said.as_deref(), Some(expected));
        assert_eq!(told.snapshots(found), None);
        (found.received, found.index) = (1, 900);
        let said = told.snapshots(found);
        let expected = "received a snapshot: 2048 bytes, place 900";
        assert_eq!(said.as_deref(), Some(expected));
    }

    #[test]
    fn a_disk_in_trouble_is_told_once_with_what_helps_and_so_is_its_end() {
        let mut told = Told::default();
        let full = Disk::Refuses("No space left on device".to_owned());
        let said = told.disk(&full).expect("it is news");
        assert!(said.starts_with("disk refuses: No space left on device"));
        assert!(said.contains("make room for --data"), "{said}");
        assert_eq!(told.disk(&full), None);
        let said = told.disk(&Disk::Well);
        assert_eq!(said.as_deref(), Some("disk works again"));
        let said = told.disk(&Disk::Slow).expect("it is news");
        assert!(said.contains("leader transfer"), "{said}");
        assert_eq!(told.disk(&Disk::Slow), None);
    }
}
