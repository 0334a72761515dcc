//! A world of hosts in memory: an executor in virtual time, one delay everywhere, faults on request.
//!
//! Tasks run one at a time until none is ready, then time jumps to the next timer. Faults are about a
//! host's address: a stalled host gets what was sent to it only when the stall is over, a black hole gets
//! nothing ever, an unreachable one is refused by a router.

mod tcp;
mod udp;

use core::convert::Infallible;
use core::future::Future;
use core::net::{IpAddr, SocketAddr};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Wake;

use anyedge_net::host::Host;
use anyedge_net::rng::{Rng, Seed};
use anyedge_net::time::Instant;

pub(crate) use tcp::LoopbackTcp;
use tcp::{Backlog, LoopbackListener};
use udp::{LoopbackUdp, Mailbox};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The world: all hosts, tasks and timers.
#[derive(Clone)]
pub(crate) struct World(Arc<Core>);

struct Core {
    state: Mutex<State>,
    /// Apart from the state: wakers are called while it is locked.
    ready: Arc<Mutex<VecDeque<usize>>>,
    tasks: Mutex<Vec<Option<(Task, Waker)>>>,
    delay: Duration,
}

#[derive(Default)]
struct State {
    now: Instant,
    timers: BTreeMap<(Instant, u64), Waker>,
    timers_made: u64,
    ports_made: u16,
    stalls: BTreeMap<IpAddr, (Instant, Instant)>,
    black_holes: BTreeSet<IpAddr>,
    unreachable: BTreeSet<IpAddr>,
    backlogs: BTreeMap<SocketAddr, Arc<Mutex<Backlog>>>,
    mailboxes: BTreeMap<SocketAddr, Arc<Mutex<Mailbox>>>,
}

struct TaskWaker {
    task: usize,
    ready: Arc<Mutex<VecDeque<usize>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let mut ready = self.ready.lock().expect("nothing panics under the lock");
        if !ready.contains(&self.task) {
            ready.push_back(self.task);
        }
    }
}

impl World {
    /// A world in which everything takes `delay` one way.
    pub(crate) fn new(delay: Duration) -> World {
        World(Arc::new(Core {
            state: Mutex::default(),
            ready: Arc::default(),
            tasks: Mutex::default(),
            delay,
        }))
    }

    pub(crate) fn host(&self, name: &str, ip: &str) -> LoopbackHost {
        let ip = ip.parse().expect("tests write good addresses");
        LoopbackHost {
            world: self.clone(),
            name: name.into(),
            ip,
        }
    }

    /// What is sent to `host` between `from` and `until` arrives at `until`.
    pub(crate) fn stall(&self, host: &LoopbackHost, from: Duration, until: Duration) {
        let window = (Instant::ZERO + from, Instant::ZERO + until);
        self.state().stalls.insert(host.ip, window);
    }

    pub(crate) fn black_hole(&self, ip: &str) {
        self.state()
            .black_holes
            .insert(ip.parse().expect("tests write good addresses"));
    }

    pub(crate) fn unreachable(&self, ip: &str) {
        self.state()
            .unreachable
            .insert(ip.parse().expect("tests write good addresses"));
    }

    pub(crate) fn now(&self) -> Instant {
        self.state().now
    }

    pub(crate) fn tasks_alive(&self) -> usize {
        self.tasks().iter().flatten().count()
    }

    /// Runs everything up to and including `until`.
    pub(crate) fn run_until(&self, until: Duration) {
        let until = Instant::ZERO + until;
        loop {
            self.run_ready();
            let mut state = self.state();
            match state.timers.first_key_value() {
                Some((&(at, number), _)) if at <= until => {
                    state.now = state.now.max(at);
                    let waker = state.timers.remove(&(at, number));
                    drop(state);
                    waker.expect("it was the first").wake();
                }
                _ => {
                    state.now = until;
                    return;
                }
            }
        }
    }

    fn run_ready(&self) {
        loop {
            let next = self
                .0
                .ready
                .lock()
                .expect("nothing panics under the lock")
                .pop_front();
            let Some(number) = next else {
                return;
            };
            let Some((mut task, waker)) = self.tasks()[number].take() else {
                continue;
            };
            if task
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
            {
                self.tasks()[number] = Some((task, waker));
            }
        }
    }

    fn spawn(&self, task: Task) {
        let mut tasks = self.tasks();
        let waker = TaskWaker {
            task: tasks.len(),
            ready: self.0.ready.clone(),
        };
        let waker = Waker::from(Arc::new(waker));
        waker.wake_by_ref();
        tasks.push(Some((task, waker)));
    }

    fn wake_at(&self, at: Instant, waker: &Waker) {
        let mut state = self.state();
        state.timers_made += 1;
        let number = state.timers_made;
        state.timers.insert((at, number), waker.clone());
    }

    /// When something sent to `to` now arrives.
    fn arrival(&self, to: IpAddr) -> Instant {
        let state = self.state();
        let arrival = state.now + self.0.delay;
        match state.stalls.get(&to) {
            Some(&(from, until)) if from <= arrival && arrival < until => until,
            _ => arrival,
        }
    }

    fn free_port(&self) -> u16 {
        let mut state = self.state();
        state.ports_made = state.ports_made.wrapping_add(1);
        40_000 + state.ports_made % 20_000
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("nothing panics under the lock")
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<Option<(Task, Waker)>>> {
        self.0.tasks.lock().expect("nothing panics under the lock")
    }
}

/// The last timer that a reader set for what is on its way: polling again sets no second one.
#[derive(Default)]
struct Alarm(Option<(Instant, Waker)>);

impl Alarm {
    fn set(&mut self, world: &World, at: Instant, waker: &Waker) {
        let is_set = |(set, by): &(Instant, Waker)| *set == at && by.will_wake(waker);
        if !self.0.as_ref().is_some_and(is_set) {
            world.wake_at(at, waker);
            self.0 = Some((at, waker.clone()));
        }
    }
}

/// A host of a [`World`].
#[derive(Clone)]
pub(crate) struct LoopbackHost {
    world: World,
    name: String,
    ip: IpAddr,
}

struct Sleep {
    world: World,
    at: Instant,
    is_set: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.world.now() >= self.at {
            return Poll::Ready(());
        }
        if !self.is_set {
            self.world.wake_at(self.at, context.waker());
            self.is_set = true;
        }
        Poll::Pending
    }
}

impl LoopbackHost {
    fn bound(&self, local: SocketAddr) -> SocketAddr {
        let port = if local.port() == 0 {
            self.world.free_port()
        } else {
            local.port()
        };
        SocketAddr::new(self.ip, port)
    }
}

impl Host for LoopbackHost {
    type Tcp = LoopbackTcp;
    type Listener = LoopbackListener;
    type Udp = LoopbackUdp;
    type Echo = Infallible;
    type File = Infallible;

    fn name(&self) -> &str {
        &self.name
    }

    fn now(&self) -> Instant {
        self.world.now()
    }

    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + Send + 'static {
        Sleep {
            world: self.world.clone(),
            at,
            is_set: false,
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.world.spawn(Box::pin(task));
    }

    fn rng(&self, purpose: &str) -> Rng {
        Seed(1).stream(&self.name, purpose)
    }

    fn tcp_connect(
        &self,
        local: Option<SocketAddr>,
        remote: SocketAddr,
    ) -> impl Future<Output = io::Result<LoopbackTcp>> + Send + 'static {
        let local = local.unwrap_or_else(|| self.bound(SocketAddr::new(self.ip, 0)));
        tcp::connect(self.clone(), local, remote)
    }

    fn tcp_listen(&self, local: SocketAddr, _: usize) -> io::Result<LoopbackListener> {
        tcp::listen(&self.world, self.bound(local))
    }

    fn udp_bind(&self, local: SocketAddr) -> io::Result<LoopbackUdp> {
        udp::bind(&self.world, self.bound(local))
    }

    fn echo_bind(&self, _: IpAddr) -> io::Result<Infallible> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn open_file(&self, _: &str) -> io::Result<Infallible> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn rename_file(&self, _: &str, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove_file(&self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send + 'static {
        core::future::ready(work())
    }
}
