//! A program in the foreground: a runtime, this machine as a host, and the wish that it ends.
//!
//! Controllers and the commands that speak with them run so. Their randomness grows from the operating system: two
//! programs of one name must never make the same request ids.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::dataplane::clock::MonotonicClock;
use crate::entropy;
use crate::host::LiveHost;

/// How long tasks may go on after the program has done its work.
const END_MAX: Duration = Duration::from_secs(1);

/// The runtime and the host of a program.
#[derive(Debug)]
pub struct Foreground {
    runtime: Runtime,
    host: LiveHost,
}

impl Foreground {
    /// A program that is called `name`.
    ///
    /// # Errors
    /// When the machine gives no threads or no randomness.
    pub fn new(name: &str) -> Result<Foreground> {
        let runtime = Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.context("cannot start threads")?;
        let clock = MonotonicClock::start();
        let host = LiveHost::new(name, clock, entropy::seed()?, runtime.handle().clone());
        Ok(Foreground { runtime, host })
    }

    /// The same with its files in `directory`, which is made if need be.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub fn with_files_in(mut self, directory: &Path) -> Result<Foreground> {
        let host = self.host.with_files_in(directory);
        self.host = host.with_context(|| format!("cannot use {}", directory.display()))?;
        Ok(self)
    }

    /// The machine that it runs on.
    pub const fn host(&self) -> &LiveHost {
        &self.host
    }

    /// 16 bytes that nobody else knows.
    ///
    /// # Errors
    /// When the machine gives no randomness.
    pub fn secret() -> Result<[u8; 16]> {
        entropy::secret()
    }

    /// Runs `work` to its end, then lets other tasks end too, for a second at most.
    pub fn run<T>(self, work: impl Future<Output = T>) -> T {
        let outcome = self.runtime.block_on(work);
        self.runtime.shutdown_timeout(END_MAX);
        outcome
    }
}

/// Completes when the process is asked to end, by SIGTERM or SIGINT; from the call on neither ends it at once.
///
/// # Errors
/// When the machine does not let us listen for signals.
pub fn asked_to_end() -> Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    Ok(async move {
        let terminated = std::pin::pin!(terminate.recv());
        let interrupted = std::pin::pin!(interrupt.recv());
        futures_util::future::select(terminated, interrupted).await;
    })
}
