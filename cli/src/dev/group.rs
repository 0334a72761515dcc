//! The controllers of `anyedge dev`, as processes of their own: what is killed is what would be killed elsewhere, and
//! nothing that one of them does can hide in another's memory.
//!
//! Each ends when its standard input does, so that none outlives us, however we end. One that ends by itself is started
//! again; one that cannot start is not.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyedge_live::controller::CertificateFiles;

use crate::ctl::trouble::Trouble;
use crate::mistakes;

/// Members.
const IDS: [u64; 3] = [1, 2, 3];
/// Where a data directory remembers its members' addresses: they are in the log too.
const ADDRESSES: &str = "addresses.json";
/// Loopback answers at once, but its disk is shared with all else that runs.
const ELECTION_TIMEOUT: &str = "500ms";
/// How long a member may take to end.
const END_MAX: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A member that ends within this time of its start does so in vain.
const VAIN: Duration = Duration::from_secs(2);
/// Starts in vain, one after another.
const VAIN_MAX: u32 = 5;

/// The processes.
pub(crate) struct Group {
    data: PathBuf,
    certificates: CertificateFiles,
    addresses: BTreeMap<u64, SocketAddr>,
    members: BTreeMap<u64, Member>,
}

struct Member {
    child: Child,
    started: Instant,
    in_vain: u32,
}

impl Group {
    /// Starts all of them, with their data in `data`.
    pub(crate) fn start(data: &Path, certificates: CertificateFiles) -> Result<Group, Trouble> {
        fs::create_dir_all(data)?;
        let mut group = Group {
            data: data.to_owned(),
            certificates,
            addresses: addresses(data)?,
            members: BTreeMap::new(),
        };
        for id in IDS {
            let member = Member {
                child: group.spawn(id)?,
                started: Instant::now(),
                in_vain: 0,
            };
            group.members.insert(id, member);
        }
        Ok(group)
    }

    /// Where they are.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.addresses.values().copied()
    }

    /// Number, address and process of each.
    pub(crate) fn members(&self) -> impl Iterator<Item = (u64, SocketAddr, u32)> {
        let member = |(id, member): (&u64, &Member)| (*id, self.addresses[id], member.child.id());
        self.members.iter().map(member)
    }

    /// Starts those again that have ended.
    pub(crate) fn tend(&mut self) -> Result<(), Trouble> {
        for id in IDS {
            let Some(member) = self.members.get_mut(&id) else {
                continue;
            };
            let Some(status) = member.child.try_wait()? else {
                continue;
            };
            let is_vain = member.started.elapsed() < VAIN;
            let in_vain = if is_vain { member.in_vain + 1 } else { 0 };
            if in_vain >= VAIN_MAX || status.code() == Some(2) {
                return Err(Trouble::failed(format_args!(
                    "controller.{id} does not stay: {status}; what it said is above"
                )));
            }
            let child = self.spawn(id)?;
            mistakes::complain(&format!(
                "controller.{id} ended ({status}): started again as process {}",
                child.id()
            ));
            let member = Member {
                child,
                started: Instant::now(),
                in_vain,
            };
            self.members.insert(id, member);
        }
        Ok(())
    }

    fn spawn(&self, id: u64) -> Result<Child, Trouble> {
        let peers = self.addresses.iter();
        let peers: Vec<String> = peers
            .map(|(id, address)| format!("{id}={address}"))
            .collect();
        let CertificateFiles {
            certificate,
            key,
            authority,
        } = &self.certificates;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args([
                "controller",
                "--ends-with-stdin",
                "--election-timeout",
                ELECTION_TIMEOUT,
            ])
            .args(["--id", &id.to_string()])
            .args(["--listen", &self.addresses[&id].to_string()])
            .args(["--peers", &peers.join(",")])
            .arg("--data")
            .arg(self.data.join(id.to_string()))
            .arg("--cert")
            .arg(certificate)
            .arg("--key")
            .arg(key)
            .arg("--ca")
            .arg(authority)
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        Ok(command.spawn()?)
    }

    /// Ends all: asks, waits, kills.
    fn end(&mut self) {
        for member in self.members.values_mut() {
            drop(member.child.stdin.take());
        }
        let over = Instant::now() + END_MAX;
        for member in self.members.values_mut() {
            while Instant::now() < over && matches!(member.child.try_wait(), Ok(None)) {
                std::thread::sleep(LOOK_EVERY);
            }
            // It may have ended just now.
            let _ = member.child.kill();
            let _ = member.child.wait();
        }
        self.members.clear();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

/// The addresses that `data` remembers, or new ones, which it remembers from now on.
fn addresses(data: &Path) -> Result<BTreeMap<u64, SocketAddr>, Trouble> {
    let file = data.join(ADDRESSES);
    if let Ok(text) = fs::read(&file) {
        let known = serde_json::from_slice(&text);
        return known.map_err(|error| {
            Trouble::refused(
                format_args!("{}: {error}", file.display()),
                "a directory that `anyedge dev --data` wrote, or a new one",
            )
        });
    }
    // All are held at once, so that no two are the same.
    let listeners = IDS.map(|id| (id, TcpListener::bind(("127.0.0.1", 0))));
    let mut found = BTreeMap::new();
    for (id, listener) in &listeners {
        let listener = listener.as_ref().map_err(Trouble::failed)?;
        found.insert(*id, listener.local_addr()?);
    }
    let text = serde_json::to_vec(&found).map_err(Trouble::failed)?;
    fs::write(&file, text)?;
    Ok(found)
}
