//! How a node process says that it answers: a Unix socket in the lab's state folder, one JSON line per connection.
//!
//! Sockets with a path are not bound to a network namespace, so `lab up` and `lab status` ask every node from outside.
//! The socket is bound only once the node can take packets; who gets a line back knows that the node is ready. The
//! line is written by the node's main thread, which ends the process when its data plane ends.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};
use std::os::fd::AsFd;

/// How long either side waits for the other.
const EXCHANGE_MAX: Duration = Duration::from_millis(500);
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
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot replace {}", path.display()));
            }
            _ => {}
        }
        let listener =
            UnixListener::bind(path).with_context(|| format!("cannot bind {}", path.display()))?;
        listener
            .set_nonblocking(true)
            .context("cannot make the control socket non-blocking")?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }

    /// Waits for at most `wait` and answers one caller, if there is one. A caller that goes away is no error.
    pub fn answer_one(&self, wait: Duration, answer: impl FnOnce() -> Answer) -> Result<()> {
        let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
        let mut waiting = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        match poll(&mut waiting, timeout) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(error).context("cannot wait on the control socket"),
        }
        let mut caller = match self.listener.accept() {
            Ok((caller, _)) => caller,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error).context("cannot accept on the control socket"),
        };
        caller
            .set_nonblocking(false)
            .context("cannot make a control connection blocking")?;
        caller
            .set_write_timeout(Some(EXCHANGE_MAX))
            .context("cannot bound a control connection")?;
        let line = serde_json::to_string(&answer()).context("cannot write the answer as JSON")?;
        if let Err(error) = caller.write_all(line.as_bytes()) {
            tracing::debug!(%error, "a control caller went away");
        }
        Ok(())
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Nobody is left to tell; the lab's `down` removes the folder anyway.
        let _ = std::fs::remove_file(&self.path);
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
        };
        let socket = ControlSocket::bind(&path).expect("bind in the temporary folder");
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| ask(&path));
            socket
                .answer_one(Duration::from_secs(5), || said.clone())
                .expect("one caller");
            assert_eq!(asked.join().expect("asked"), Some(said));
        });
        drop(socket);
        assert_eq!(ask(&path), None);
        assert!(!path.exists());
    }

    #[test]
    fn a_node_without_callers_goes_on_after_its_wait() {
        let path = socket_path("idle");
        let socket = ControlSocket::bind(&path).expect("bind in the temporary folder");
        let never = || -> Answer { unreachable!("nobody asked") };
        socket
            .answer_one(Duration::from_millis(1), never)
            .expect("an idle wait is no error");
    }
}
