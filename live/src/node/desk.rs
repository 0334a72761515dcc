//! The desk of a process: where its main thread waits for callers on the control socket and for signals.
//!
//! SIGTERM and SIGINT ask it to end, SIGHUP to read its files again. They are blocked from the first moment on in every
//! thread and read here, so that none can strike between two steps.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::service_manager;
use crate::control::{Answer, ControlSocket};

/// How long the main thread waits before it looks after the others.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Why a wait is over before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The process was asked to end.
    Asked,
    /// It was asked to read its files again.
    Reload,
    /// What it looks after is over.
    Over,
}

/// Signals, and callers once the process is ready.
#[derive(Debug)]
pub(crate) struct Desk {
    signals: SignalFd,
    socket: Option<ControlSocket>,
}

impl Desk {
    /// From here on signals wait to be read. To be called before there is a second thread.
    pub(crate) fn new() -> Result<Desk> {
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            mask.add(signal);
        }
        mask.thread_block().context("cannot hold signals back")?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let signals = SignalFd::with_flags(&mask, flags).context("cannot wait for signals")?;
        Ok(Desk {
            signals,
            socket: None,
        })
    }

    /// The process is ready: it answers on `socket` from here on, and the service manager is told.
    pub(crate) fn open(&mut self, socket: Option<&Path>) -> Result<()> {
        self.socket = socket.map(ControlSocket::bind).transpose()?;
        service_manager::tell("READY=1");
        Ok(())
    }

    /// Waits for at most `wait`, and tells if somebody asked for something but an answer.
    pub(crate) fn wait(&self, wait: Duration) -> Result<Option<End>> {
        self.wait_answering(wait, || Answer {
            name: String::new(),
            pid: std::process::id(),
            summary: String::new(),
            waits_for: None,
        })
    }

    /// Answers callers until something else is asked for, or `is_over`.
    pub(crate) fn serve(
        &self,
        is_over: impl Fn() -> bool,
        answer: impl Fn() -> Answer,
    ) -> Result<End> {
        while !is_over() {
            if let Some(end) = self.wait_answering(LOOK_EVERY, &answer)? {
                return Ok(end);
            }
        }
        Ok(End::Over)
    }

    fn wait_answering(
        &self,
        wait: Duration,
        answer: impl FnOnce() -> Answer,
    ) -> Result<Option<End>> {
        let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
        let signals = PollFd::new(self.signals.as_fd(), PollFlags::POLLIN);
        let outcome = match &self.socket {
            Some(socket) => {
                let caller = PollFd::new(socket.as_fd(), PollFlags::POLLIN);
                poll(&mut [signals, caller], timeout)
            }
            None => poll(&mut [signals], timeout),
        };
        match outcome {
            Ok(0) | Err(Errno::EINTR) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(error).context("cannot wait for signals"),
        }
        if let Some(end) = self.read_signal()? {
            return Ok(Some(end));
        }
        if let Some(socket) = &self.socket {
            socket.answer_waiting(answer)?;
        }
        Ok(None)
    }

    fn read_signal(&self) -> Result<Option<End>> {
        let read = self.signals.read_signal().context("cannot read a signal")?;
        Ok(read.map(|signal| {
            if signal.ssi_signo == Signal::SIGHUP as u32 {
                End::Reload
            } else {
                End::Asked
            }
        }))
    }
}
