//! How a node process says that it answers: a Unix socket in the lab's state folder, one JSON line per connection.
//!
//! Sockets with a path are not bound to a network namespace, so `lab up` and `lab status` ask every node from outside.
//! The socket is bound only once the node can take packets; who gets a line back knows that the node is ready. The
//! line is written by the node's main thread, which ends the process when its data plane ends. Only root and the node's
//! own user get one: others may not open the socket, and who opened it by whatever way is looked at (SO_PEERCRED).

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

/// How long either side waits for the other.
pub(crate) const EXCHANGE_MAX: Duration = Duration::from_millis(500);
/// The longest answer read.
const ANSWER_BYTES_MAX: u64 = 4_096;
/// The longest path of a Unix socket, in bytes (`sun_path` less the terminating zero).
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The process's name in the lab, such as `pop.tokyo`.
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// One line for people: what it serves and how many packets it has seen.
    pub summary: String,
    /// What keeps its region from losing another node without losing flows; nothing, as a rule.
    #[serde(default)]
    pub waits_for: Option<String>,
}

/// The node's side.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Binds the socket: from here on the node counts as ready. A socket left by a dead process is replaced.
    pub fn bind(path: &Path) -> Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot replace {}", path.display()));
            }
            _ => {}
        }
        let listener =
            UnixListener::bind(path).with_context(|| format!("cannot bind {}", path.display()))?;
        fs::set_permissions(path, Permissions::from_mode(0o600))
            .with_context(|| format!("cannot close {} to others", path.display()))?;
        listener
            .set_nonblocking(true)
            .context("cannot make the control socket non-blocking")?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }

    /// Waits for a caller, for as long as it takes.
    pub fn await_caller(&self) -> Result<()> {
        let mut waiting = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        match poll(&mut waiting, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error).context("cannot wait on the control socket"),
        }
    }

    /// Answers the caller that waits, if one does. A caller that goes away is no error, and neither is a stranger.
    pub fn answer_waiting(&self, answer: impl FnOnce() -> Answer) -> Result<()> {
        let Some(mut caller) = self.accept_known()? else {
            return Ok(());
        };
        let line = serde_json::to_string(&answer()).context("cannot write the answer as JSON")?;
        if let Err(error) = caller.write_all(line.as_bytes()) {
            tracing::debug!(%error, "a control caller went away");
        }
        Ok(())
    }

    /// The caller that waits, if one does and it may call; what it says and hears is bounded in time.
    pub(crate) fn accept_known(&self) -> Result<Option<UnixStream>> {
        let caller = match self.listener.accept() {
            Ok((caller, _)) => caller,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error).context("cannot accept on the control socket"),
        };
        let who = getsockopt(&caller, PeerCredentials).context("cannot see who calls")?;
        if who.uid() != 0 && who.uid() != geteuid().as_raw() {
            tracing::debug!(event = "StrangerRefused", uid = who.uid());
            return Ok(None);
        }
        let bounded = caller
            .set_nonblocking(false)
            .and_then(|()| caller.set_read_timeout(Some(EXCHANGE_MAX)))
            .and_then(|()| caller.set_write_timeout(Some(EXCHANGE_MAX)));
        bounded.context("cannot bound a control connection")?;
        Ok(Some(caller))
    }
}

impl AsFd for ControlSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Nobody is left to tell; the lab's `down` removes the folder anyway.
        let _ = fs::remove_file(&self.path);
    }
}

/// The lab's side: asks the process behind `path`. `None` when nobody answers in time.
pub fn ask(path: &Path) -> Option<Answer> {
    let caller = UnixStream::connect(path).ok()?;
    caller.set_read_timeout(Some(EXCHANGE_MAX)).ok()?;
    let mut line = String::new();
    caller
        .take(ANSWER_BYTES_MAX)
        .read_to_string(&mut line)
        .ok()?;
    serde_json::from_str(&line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket_path(test: &str) -> PathBuf {
        std::env::temp_dir().join(format!("anyedge-{test}-{}.sock", std::process::id()))
    }

    #[test]
    fn a_bound_socket_answers_and_a_dropped_one_does_not() {
        let path = socket_path("control");
        let said = Answer {
            name: "pop.tokyo".to_owned(),
            pid: 7,
            summary: "0 packets".to_owned(),
            waits_for: Some("clb-2 to answer".to_owned()),
        };
        let socket = ControlSocket::bind(&path).expect("bind in the temporary folder");
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| ask(&path));
            let mut waiting = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
            poll(&mut waiting, PollTimeout::from(5_000_u16)).expect("somebody calls");
            let answered = socket.answer_waiting(|| said.clone());
            answered.expect("one caller");
            assert_eq!(asked.join().expect("asked"), Some(said));
        });
        let mode = fs::metadata(&path).expect("it is there").permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "nobody else may call");
        drop(socket);
        assert_eq!(ask(&path), None);
        assert!(!path.exists());
    }

    #[test]
    fn a_node_without_callers_answers_nobody() {
        let path = socket_path("idle");
        let socket = ControlSocket::bind(&path).expect("bind in the temporary folder");
        let never = || -> Answer { unreachable!("nobody asked") };
        let idle = socket.answer_waiting(never);
        idle.expect("that nobody calls is no error");
    }
}
