//! [`Host`] on this machine: tokio for time and tasks, the kernel for TCP and UDP.
//!
//! The same load clients and backends that run in the simulator run here. The runtime is the caller's; sockets belong
//! to the namespace of the thread that makes them, so a host inside a namespace needs a runtime whose threads entered
//! it. Randomness is seeded by the host's name as in the simulator, which keeps arrival times comparable.

mod tcp;
mod udp;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use anyedge_net::host::Host;
use anyedge_net::rng::{Rng, Seed};
use anyedge_net::time::Instant;
use tokio::runtime::Handle;

pub use self::tcp::{KernelListener, KernelTcp};
pub use self::udp::KernelUdp;
use crate::dataplane::clock::{Clock, MonotonicClock};

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
            }),
        }
    }
}

impl Host for LiveHost {
    type Tcp = KernelTcp;
    type Listener = KernelListener;
    type Udp = KernelUdp;

    fn name(&self) -> &str {
        &self.shared.name
    }

    fn now(&self) -> Instant {
        self.shared.clock.now()
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
        tcp::connect(local, remote)
    }

    fn tcp_listen(&self, local: SocketAddr, backlog: usize) -> io::Result<KernelListener> {
        let _inside = self.shared.runtime.enter();
        KernelListener::open(local, backlog)
    }

    fn udp_bind(&self, local: SocketAddr) -> io::Result<KernelUdp> {
        let _inside = self.shared.runtime.enter();
        KernelUdp::bind(local)
    }
}
