//! A simulated machine as services see it: the `Host` contract over the world's clock, tasks, transports and disks.
//!
//! Everything here is a handle: the world, which one call at a time opens, and an id with a generation. A call opens the
//! world (unless it asks the time alone), acts on one host's transport, and returns; nothing is kept borrowed, so handles are `Send` and
//! `Sync` and may outlive what they name, which then answers `NotConnected`.
//!
//! Invariant: no service code and no destructor of it runs while the world is open.

mod echo;
mod files;
mod sleep;
mod tcp;
mod udp;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyedge_net::host::{Host, RawHost};
use anyedge_net::rng::Rng;
use anyedge_net::time::Instant;
use try_lock::Locked;

use crate::clock::WorldTime;
use crate::disk::DiskFile;
use crate::executor::{Handle, HostId};
use crate::one_thread::OneThread;
use crate::stack::{HostStack, Io};
use crate::world::World;

pub use echo::SimEchoSocket;
use sleep::By;
pub use sleep::Sleep;
pub use tcp::{Connect, SimListener, SimTcpStream};
pub use udp::SimUdpSocket;

/// The world and the executor's handle: what all hosts of a run share.
pub struct Shared {
    world: OneThread<World>,
    time: Arc<WorldTime>,
    tasks: Handle,
}

impl Shared {
    pub(crate) fn new(world: World, tasks: Handle) -> Arc<Shared> {
        Arc::new(Shared {
            time: Arc::clone(world.time()),
            world: OneThread::new(world),
            tasks,
        })
    }

    /// Opens the world. Never while a service is polled or dropped further up the stack.
    #[inline]
    pub(crate) fn world(&self) -> Locked<'_, World> {
        self.world.open()
    }
}

/// One simulated machine.
#[derive(Clone)]
pub struct SimHost {
    shared: Arc<Shared>,
    id: HostId,
    name: Arc<str>,
}

impl SimHost {
    pub(crate) fn new(shared: &Arc<Shared>, id: HostId, name: &str) -> SimHost {
        SimHost {
            shared: Arc::clone(shared),
            id,
            name: name.into(),
        }
    }

    /// Acts on the whole world, which no service of anybody's may be called by meanwhile.
    pub(crate) fn with_world<R>(&self, act: impl FnOnce(&mut World) -> R) -> R {
        act(&mut self.shared.world())
    }

    fn with<R>(&self, act: impl FnOnce(&mut HostStack, &mut Io<'_>) -> R) -> R {
        self.shared.world().with_stack(self.id, act)
    }
}

impl Host for SimHost {
    type Tcp = SimTcpStream;
    type Listener = SimListener;
    type Udp = SimUdpSocket;
    type Echo = SimEchoSocket;
    type File = DiskFile;

    fn name(&self) -> &str {
        &self.name
    }

    fn now(&self) -> Instant {
        let shared = &self.shared;
        let shown = shared.time.shown();
        shown.unwrap_or_else(|| shared.world().host_now(self.id))
    }

    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + Send + 'static {
        Sleep::new(&self.shared, self.id, By::Host, at)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.shared.tasks.spawn(self.id, task);
    }

    fn rng(&self, purpose: &str) -> Rng {
        self.shared.world().seed().stream(&self.name, purpose)
    }

    fn secrets(&self, purpose: &str) -> Option<Rng> {
        Some(self.rng(&format!("secrets {purpose}")))
    }

    fn tcp_connect(
        &self,
        local: Option<SocketAddr>,
        remote: SocketAddr,
    ) -> impl Future<Output = io::Result<SimTcpStream>> + Send + 'static {
        Connect::new(&self.shared, self.id, local, remote)
    }

    fn tcp_listen(&self, local: SocketAddr, backlog: usize) -> io::Result<SimListener> {
        let (id, local) = self.with(|stack, _| stack.tcp_listen(local, backlog))?;
        Ok(SimListener::new(&self.shared, self.id, id, local))
    }

    fn udp_bind(&self, local: SocketAddr) -> io::Result<SimUdpSocket> {
        let (id, local, waits) = self.with(|stack, _| {
            let (id, local) = stack.udp_bind(local)?;
            Ok::<_, io::Error>((id, local, stack.udp_waits(id)?))
        })?;
        let place = (self.id, id, local);
        Ok(SimUdpSocket::new(&self.shared, place, waits))
    }

    fn echo_bind(&self, local: IpAddr) -> io::Result<SimEchoSocket> {
        let id = self.with(|stack, _| stack.echo_bind(local))?;
        Ok(SimEchoSocket::new(&self.shared, self.id, id))
    }

    fn open_file(&self, name: &str) -> io::Result<DiskFile> {
        self.disk().open_file(name)
    }

    fn rename_file(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk().rename_file(from, to)
    }

    fn remove_file(&self, name: &str) -> io::Result<()> {
        self.disk().remove_file(name)
    }

    fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send + 'static {
        self.after_the_disk(work)
    }
}

impl RawHost for SimHost {
    fn send_packet(&self, packet: &[u8]) {
        self.with(|stack, io| stack.send_raw(packet, io));
    }
}

#[cfg(test)]
mod tests;
