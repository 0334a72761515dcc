//! [`Host`] on this machine: tokio for time and tasks, the kernel for TCP, UDP, echoes and files.
//!
//! The same load clients and backends that run in the simulator run here. The runtime is the caller's; sockets belong
//! to the namespace of the thread that makes them, so a host inside a namespace needs a runtime whose threads entered
//! it. Randomness is seeded by the host's name as in the simulator, which keeps arrival times comparable.

mod echo;
mod files;
mod protection;
mod saved_syn;
mod tcp;
mod udp;

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyedge_net::host::Host;
use anyedge_net::rng::{Rng, Seed};
use anyedge_net::time::Instant;
use tokio::runtime::Handle;

pub use self::echo::KernelEcho;
use self::files::Folder;
pub use self::files::KernelFile;
pub use self::protection::Protection;
pub use self::tcp::{KernelListener, KernelTcp};
pub use self::udp::KernelUdp;
use crate::dataplane::clock::{Clock, MonotonicClock};
use crate::overruns::Overruns;

/// A handle to this machine under a node's name.
#[derive(Clone, Debug)]
pub struct LiveHost {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    clock: MonotonicClock,
    seed: Seed,
    runtime: Handle,
    folder: Option<Arc<Folder>>,
    protections: BTreeMap<IpAddr, Protection>,
    overruns: Arc<Overruns>,
}

impl LiveHost {
    /// A host called `name` whose tasks run on `runtime` and whose randomness grows from `seed`.
    pub fn new(name: &str, clock: MonotonicClock, seed: Seed, runtime: Handle) -> Self {
        let name = name.to_owned();
        Self {
            shared: Arc::new(Shared {
                name,
                clock,
                seed,
                runtime,
                folder: None,
                protections: BTreeMap::new(),
                overruns: Arc::default(),
            }),
        }
    }

    /// The same host with its files in `directory`, which is made if need be and belongs to it alone.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub fn with_files_in(self, directory: &Path) -> io::Result<Self> {
        let old = &self.shared;
        let shared = Shared {
            name: old.name.clone(),
            clock: old.clock,
            seed: old.seed,
            runtime: old.runtime.clone(),
            folder: Some(Arc::new(Folder::open(directory)?)),
            protections: old.protections.clone(),
            overruns: Arc::clone(&old.overruns),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The same host, whose connections to these neighbours are protected so.
    #[must_use]
    pub fn protecting(self, protections: BTreeMap<IpAddr, Protection>) -> Self {
        let old = &self.shared;
        let shared = Shared {
            name: old.name.clone(),
            clock: old.clock,
            seed: old.seed,
            runtime: old.runtime.clone(),
            folder: old.folder.clone(),
            protections,
            overruns: Arc::clone(&old.overruns),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// What its UDP sockets had no room for, because nobody read in time.
    pub fn overruns(&self) -> &Arc<Overruns> {
        &self.shared.overruns
    }

    fn folder(&self) -> io::Result<&Folder> {
        let folder = self.shared.folder.as_deref();
        folder.ok_or_else(|| io::ErrorKind::Unsupported.into())
    }
}

impl Host for LiveHost {
    type Tcp = KernelTcp;
    type Listener = KernelListener;
    type Udp = KernelUdp;
    type Echo = KernelEcho;
    type File = KernelFile;

    fn name(&self) -> &str {
        &self.shared.name
    }

    fn now(&self) -> Instant {
        self.shared.clock.now()
    }

    fn unix_time(&self) -> Duration {
        // Before 1970 no clock is worth telling of.
        SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
    }

    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + Send + 'static {
        let deadline = tokio::time::Instant::from_std(self.shared.clock.machine_instant(at));
        let _inside = self.shared.runtime.enter();
        tokio::time::sleep_until(deadline)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.shared.runtime.spawn(task));
    }

    fn rng(&self, purpose: &str) -> Rng {
        self.shared.seed.stream(&self.shared.name, purpose)
    }

    fn tcp_connect(
        &self,
        local: Option<SocketAddr>,
        remote: SocketAddr,
    ) -> impl Future<Output = io::Result<KernelTcp>> + Send + 'static {
        let protection = self.shared.protections.get(&remote.ip()).cloned();
        tcp::connect(local, remote, protection)
    }

    fn tcp_listen(&self, local: SocketAddr, backlog: usize) -> io::Result<KernelListener> {
        let _inside = self.shared.runtime.enter();
        KernelListener::open(local, backlog)
    }

    fn udp_bind(&self, local: SocketAddr) -> io::Result<KernelUdp> {
        let _inside = self.shared.runtime.enter();
        let bound = KernelUdp::bind(local)?;
        self.shared.overruns.watch(bound.socket());
        Ok(bound)
    }

    fn echo_bind(&self, local: IpAddr) -> io::Result<KernelEcho> {
        let _inside = self.shared.runtime.enter();
        KernelEcho::bind(local)
    }

    fn open_file(&self, name: &str) -> io::Result<KernelFile> {
        self.folder()?.open_file(name)
    }

    fn rename_file(&self, from: &str, to: &str) -> io::Result<()> {
        self.folder()?.rename_file(from, to)
    }

    fn remove_file(&self, name: &str) -> io::Result<()> {
        self.folder()?.remove_file(name)
    }

    fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send + 'static {
        let job = self.shared.runtime.spawn_blocking(work);
        async {
            match job.await {
                Ok(result) => result,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => resume_unwind(panic),
                    // The runtime ends, and with it whoever waits here.
                    Err(_) => pending().await,
                },
            }
        }
    }
}
