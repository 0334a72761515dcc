//! Services on two hosts, joined by one link of the real world each way: what the `Host` contract promises.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::host::{DatagramMeta, TcpListener as _, TcpStream as _, UdpSocket as _};
use anyedge_net::rng::Seed;
use anyedge_net::route_table::RouteTable;
use anyedge_topologies::Loss;
use futures_io::{AsyncRead, AsyncWrite};

use super::*;
use crate::digest::{Cover, TraceDigest};
use crate::executor::Executor;
use crate::internet::PublicPath;
use crate::link::{Link, LinkSpec, Wear};
use crate::order::Source;
use crate::stack::HostConfig;
use crate::world::{Attachment, HostEntry, LinkEnd};

/// What services noted, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, line: impl Into<String>) {
        self.0.lock().expect("one thread").push(line.into());
    }

    fn text(&self) -> String {
        self.0.lock().expect("one thread").join(" ")
    }
}

struct Lab {
    executor: Executor,
    shared: Arc<Shared>,
    client: SimHost,
    server: SimHost,
    log: Log,
}

impl Lab {
    /// `client` at 10.0.0.1 and `server` at 10.0.0.2, 10 ms apart.
    fn new(seed: u64, loss_ppm: u32) -> Lab {
        let seed = Seed(seed);
        let executor = Executor::new();
        let table = Arc::new(RouteTable::empty());
        let digest = TraceDigest::new(Cover::Full);
        let mut world = World::new(
            seed,
            digest,
            table,
            Source::new(0),
            executor.handle().clone(),
        );
        let spec = |name: &str| LinkSpec {
            name: name.to_owned(),
            rate_bps: 1_000_000_000,
            delay: Duration::from_millis(10),
            jitter: Duration::ZERO,
            loss: Loss::Share(loss_ppm),
            queue_bytes_max: 1 << 20,
            mtu: 1_500,
            wear: Wear::NONE,
        };
        let [out, back] = ["out", "back"].map(|name| {
            let link = Link::new(
                spec(name),
                Source::new(1 + usize::from(name == "back")),
                seed,
            );
            world.add_link(link, LinkEnd::Clients)
        });
        let addresses: [IpAddr; 2] =
            ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().expect("a literal"));
        let site = world.internet.add_site("wire");
        world.internet.add_vip(
            addresses.iter().map(|address| (*address).into()),
            vec![site],
        );
        let mut hosts = Vec::new();
        for (position, (name, to_site)) in
            [("client", out), ("server", back)].into_iter().enumerate()
        {
            let path = PublicPath {
                preference: (1, Duration::from_millis(20)),
                to_site,
                to_clients: to_site,
            };
            let paths = BTreeMap::from([(site, path)]);
            let population = world.internet.add_population(name.to_owned(), paths, None);
            let stack = HostStack::new(&HostConfig::new(name, vec![addresses[position]], seed));
            let attachment = Attachment::Client(population);
            world
                .hosts
                .push(HostEntry::new(stack, Source::new(3 + position), attachment));
            let id = HostId(position as u32);
            world
                .internet
                .add_host(addresses[position].into(), id, population);
            hosts.push((id, name));
        }
        let shared = Shared::new(world, executor.handle().clone());
        let [client, server] =
            [0, 1].map(|at: usize| SimHost::new(&shared, hosts[at].0, hosts[at].1));
        Lab {
            executor,
            shared,
            client,
            server,
            log: Log::default(),
        }
    }

    /// Runs until nothing is left to happen or `seconds` have passed.
    fn run_for(&mut self, seconds: u64) {
        let until = self.shared.world().now() + Duration::from_secs(seconds);
        loop {
            self.executor.run_ready();
            let mut world = self.shared.world();
            world.flush();
            while self.executor.handle().is_idle() {
                let Some(next) = world.next().filter(|next| next.at() <= until) else {
                    return;
                };
                world.step(next);
                world.flush();
            }
        }
    }

    /// Ends services and world; every packet is accounted for.
    fn finish(mut self) -> (String, u64) {
        self.executor.finish();
        let mut world = self.shared.world();
        world.close();
        (self.log.text(), world.digest.value())
    }
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("a literal")
}

async fn read(stream: &mut SimTcpStream) -> io::Result<Vec<u8>> {
    let mut into = vec![0; 2_000];
    let count = poll_fn(|context| Pin::new(&mut *stream).poll_read(context, &mut into)).await?;
    into.truncate(count);
    Ok(into)
}

async fn read_to_end(stream: &mut SimTcpStream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        match read(stream).await? {
            part if part.is_empty() => return Ok(all),
            part => all.extend(part),
        }
    }
}

async fn write(stream: &mut SimTcpStream, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        let count = poll_fn(|context| Pin::new(&mut *stream).poll_write(context, data)).await?;
        data = &data[count..];
    }
    Ok(())
}

async fn close(stream: &mut SimTcpStream) -> io::Result<()> {
    poll_fn(|context| Pin::new(&mut *stream).poll_close(context)).await
}

/// Serves every connection: reads to the end and answers with what it read, twice.
fn serve(host: &SimHost) {
    let mut listener = host
        .tcp_listen(addr("0.0.0.0:80"), 64)
        .expect("the port is free");
    let host = host.clone();
    host.clone().spawn(async move {
        while let Ok(mut stream) = listener.accept().await {
            host.spawn(async move {
                let request = read_to_end(&mut stream)
                    .await
                    .expect("clients close by FIN");
                write(&mut stream, &request).await.expect("clients read");
                write(&mut stream, &request).await.expect("clients read");
            });
        }
    });
}

#[test]
fn handles_may_cross_threads_as_libraries_demand() {
    fn check<T: Send + Sync + 'static>() {}
    check::<SimHost>();
    check::<SimTcpStream>();
    check::<SimListener>();
    check::<SimUdpSocket>();
    check::<Sleep>();
    check::<Connect>();
}

#[test]
fn sleepers_wake_in_the_order_of_their_times_and_of_asking() {
    let mut lab = Lab::new(1, 0);
    for (name, millis) in [("c", 30), ("a", 10), ("b1", 20), ("b2", 20)] {
        let (host, log) = (lab.client.clone(), lab.log.clone());
        lab.client.spawn(async move {
            host.sleep_until(Instant::ZERO + Duration::from_millis(millis))
                .await;
            log.add(format!("{name}@{}", host.now().as_nanos() / 1_000_000));
        });
    }
    lab.run_for(1);
    assert_eq!(lab.finish().0, "a@10 b1@20 b2@20 c@30");
}

#[test]
fn a_dropped_sleep_wakes_nobody() {
    let mut lab = Lab::new(1, 0);
    let (host, log) = (lab.client.clone(), lab.log.clone());
    lab.client.spawn(async move {
        let short = std::pin::pin!(host.sleep_until(Instant::from_nanos(10)));
        let long = Box::pin(host.sleep_until(Instant::from_nanos(20)));
        futures_util::future::select(short, long).await;
        log.add("short");
        std::future::pending::<()>().await;
    });
    lab.run_for(1);
    assert_eq!(lab.executor.polls(), 2);
    assert_eq!(lab.finish().0, "short");
}

#[test]
fn a_request_is_answered_over_a_half_closed_connection() {
    let mut lab = Lab::new(1, 0);
    serve(&lab.server);
    let (host, log) = (lab.client.clone(), lab.log.clone());
    lab.client.spawn(async move {
        let mut stream = host
            .tcp_connect(None, addr("10.0.0.2:80"))
            .await
            .expect("it listens");
        assert_eq!(stream.peer_addr(), addr("10.0.0.2:80"));
        assert_eq!(stream.local_addr().ip(), addr("10.0.0.1:1").ip());
        write(&mut stream, &[7; 30_000]).await.expect("it is open");
        close(&mut stream).await.expect("it is open");
        let answer = read_to_end(&mut stream).await.expect("it ends by FIN");
        log.add(format!(
            "{} {}",
            answer.len(),
            answer.iter().all(|byte| *byte == 7)
        ));
    });
    lab.run_for(60);
    assert_eq!(lab.finish().0, "60000 true");
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let run = |seed| {
        let mut lab = Lab::new(seed, 20_000);
        serve(&lab.server);
        for number in 0..50 {
            let (host, log) = (lab.client.clone(), lab.log.clone());
            lab.client.spawn(async move {
                let start = host
                    .rng(&format!("start-{number}"))
                    .up_to(Duration::from_secs(1));
                host.sleep_until(Instant::ZERO + start).await;
                let mut stream = host
                    .tcp_connect(None, addr("10.0.0.2:80"))
                    .await
                    .expect("it listens");
                write(&mut stream, &[1; 5_000]).await.expect("it is open");
                close(&mut stream).await.expect("it is open");
                let answer = read_to_end(&mut stream).await.expect("it ends by FIN");
                assert_eq!(answer.len(), 10_000);
                log.add(format!("{number}"));
            });
        }
        lab.run_for(120);
        let (log, digest) = lab.finish();
        assert_eq!(log.split(' ').count(), 50);
        (log, digest)
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5).1, run(6).1);
}

#[test]
fn a_cancelled_accept_loses_no_connection() {
    let mut lab = Lab::new(1, 0);
    let mut listener = lab
        .server
        .tcp_listen(addr("10.0.0.2:80"), 4)
        .expect("the port is free");
    let (host, log) = (lab.server.clone(), lab.log.clone());
    lab.server.spawn(async move {
        for at in [15, 25] {
            let deadline = host.sleep_until(Instant::ZERO + Duration::from_millis(at));
            let accept = std::pin::pin!(listener.accept());
            match futures_util::future::select(std::pin::pin!(deadline), accept).await {
                futures_util::future::Either::Left(_) => log.add("cancelled"),
                futures_util::future::Either::Right(_) => log.add("early"),
            }
        }
        let mut stream = listener.accept().await.expect("it waits");
        log.add(String::from_utf8(read(&mut stream).await.expect("it is open")).expect("text"));
    });
    let host = lab.client.clone();
    lab.client.spawn(async move {
        let mut stream = host
            .tcp_connect(None, addr("10.0.0.2:80"))
            .await
            .expect("it listens");
        write(&mut stream, b"hello").await.expect("it is open");
        host.sleep_until(Instant::ZERO + Duration::from_secs(5))
            .await;
    });
    lab.run_for(10);
    assert_eq!(lab.finish().0, "cancelled cancelled hello");
}

#[test]
fn connects_fail_by_kind_and_a_dropped_one_leaves_nothing() {
    let mut lab = Lab::new(1, 0);
    let (host, log) = (lab.client.clone(), lab.log.clone());
    lab.client.spawn(async move {
        for to in ["10.0.0.2:81", "10.9.9.9:80", "[2001:db8::1]:80"] {
            let error = host
                .tcp_connect(None, addr(to))
                .await
                .err()
                .expect("nobody is there");
            log.add(format!("{:?}", error.kind()));
        }
        let mut connect = Box::pin(host.tcp_connect(None, addr("10.9.9.9:80")));
        let polled =
            poll_fn(|context| Poll::Ready(connect.as_mut().poll(context).is_pending())).await;
        log.add(format!("{polled}"));
    });
    lab.run_for(60);
    assert!(
        lab.shared
            .world()
            .next()
            .is_none_or(|next| next.at().as_nanos() < 100_000_000_000)
    );
    assert_eq!(
        lab.finish().0,
        "ConnectionRefused TimedOut NetworkUnreachable true"
    );
}

#[test]
fn an_aborted_stream_resets_and_a_dropped_listener_refuses() {
    let mut lab = Lab::new(1, 0);
    let mut listener = lab
        .server
        .tcp_listen(addr("10.0.0.2:80"), 4)
        .expect("the port is free");
    lab.server.spawn(async move {
        let stream = listener.accept().await.expect("one comes");
        stream.abort();
    });
    let (host, log) = (lab.client.clone(), lab.log.clone());
    lab.client.spawn(async move {
        let mut stream = host
            .tcp_connect(None, addr("10.0.0.2:80"))
            .await
            .expect("it listens");
        let reset = read(&mut stream).await.expect_err("it was aborted");
        log.add(format!("{:?}", reset.kind()));
        let refused = host
            .tcp_connect(None, addr("10.0.0.2:80"))
            .await
            .err()
            .expect("it is closed");
        log.add(format!("{:?}", refused.kind()));
    });
    lab.run_for(10);
    assert_eq!(lab.finish().0, "ConnectionReset ConnectionRefused");
}

#[test]
fn datagrams_go_to_and_fro_and_a_silent_port_refuses_once() {
    let mut lab = Lab::new(1, 0);
    let echo = lab
        .server
        .udp_bind(addr("0.0.0.0:7000"))
        .expect("the port is free");
    lab.server.spawn(async move {
        let mut into = [0; 2_000];
        while let Ok((len, meta)) = echo.recv(&mut into).await {
            echo.send(&into[..len], DatagramMeta::to(meta.peer))
                .expect("it fits");
        }
    });
    let (host, log) = (lab.client.clone(), lab.log.clone());
    lab.client.spawn(async move {
        let socket = host.udp_bind(addr("0.0.0.0:0")).expect("ports are free");
        let mut into = [0; 2_000];
        socket
            .send(&[9; 1_000], DatagramMeta::to(addr("10.0.0.2:7000")))
            .expect("it fits");
        let (len, _) = socket.recv(&mut into).await.expect("it is echoed");
        log.add(format!("{len}@{}", host.now().as_nanos() / 1_000_000));
        socket
            .send(b"?", DatagramMeta::to(addr("10.0.0.2:7001")))
            .expect("it fits");
        let refused = socket.recv(&mut into).await.expect_err("nobody is there");
        log.add(format!("{:?}", refused.kind()));
    });
    lab.run_for(10);
    assert_eq!(lab.finish().0, "1000@20 ConnectionRefused");
}

/// How often its waker was used.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Two wakers, and how often each was used.
fn two_wakers() -> ([Waker; 2], impl Fn() -> [usize; 2]) {
    let counts = [(); 2].map(|()| Arc::new(Woken::default()));
    let wakers = counts.clone().map(Waker::from);
    let used = move || {
        counts
            .each_ref()
            .map(|woken| woken.0.load(Ordering::Relaxed))
    };
    (wakers, used)
}

#[test]
fn a_socket_wakes_who_asked_last_or_took_the_last_and_nobody_once_its_host_crashed() {
    let mut lab = Lab::new(1, 0);
    let socket = lab.server.udp_bind(addr("0.0.0.0:7000"));
    let socket = socket.expect("the port is free");
    let client = lab.client.udp_bind(addr("0.0.0.0:0"));
    let client = client.expect("ports are free");
    let ([one, other], used) = two_wakers();
    let ask = |waker: &Waker| {
        let asked = socket.poll_recv(&mut Context::from_waker(waker), &mut [0; 8]);
        asked.map(|came| came.map(|(len, _)| len).map_err(|error| error.kind()))
    };
    let send = |lab: &mut Lab| {
        let sent = client.send(b"tick", DatagramMeta::to(addr("10.0.0.2:7000")));
        sent.expect("it fits");
        lab.run_for(1);
    };
    for waker in [&one, &one, &other, &other] {
        assert_eq!(ask(waker), Poll::Pending);
    }
    send(&mut lab);
    assert_eq!(used(), [0, 1]);
    assert_eq!(ask(&one), Poll::Ready(Ok(4)));
    send(&mut lab);
    assert_eq!(used(), [1, 1], "it need not ask again");
    send(&mut lab);
    assert_eq!(used(), [1, 1], "it knows");
    assert_eq!(ask(&other), Poll::Ready(Ok(4)));
    assert_eq!(ask(&other), Poll::Ready(Ok(4)));
    assert_eq!(ask(&other), Poll::Pending);
    lab.shared.world().with_stack(HostId(1), |stack, io| {
        stack.crash(DropReason::HostDown, io.pool)
    });
    let gone = Poll::Ready(Err(ErrorKind::NotConnected));
    assert_eq!(ask(&other), gone);
}

#[test]
fn a_sleep_wakes_who_asked_last() {
    let mut lab = Lab::new(1, 0);
    let ([one, other], used) = two_wakers();
    let at = Instant::ZERO + Duration::from_secs(1);
    let mut sleep = std::pin::pin!(lab.client.sleep_until(at));
    let mut ask = |waker: &Waker| sleep.as_mut().poll(&mut Context::from_waker(waker));
    for waker in [&one, &one, &other, &one, &other, &other] {
        assert_eq!(ask(waker), Poll::Pending);
    }
    lab.run_for(2);
    assert_eq!(used(), [0, 1]);
    assert_eq!(ask(&other), Poll::Ready(()));
}

#[test]
fn a_crashed_host_says_nothing_and_its_tasks_are_gone() {
    let mut lab = Lab::new(1, 0);
    serve(&lab.server);
    let (host, log) = (lab.client.clone(), lab.log.clone());
    lab.client.spawn(async move {
        let mut stream = host
            .tcp_connect(None, addr("10.0.0.2:80"))
            .await
            .expect("it listens");
        host.sleep_until(Instant::ZERO + Duration::from_secs(2))
            .await;
        write(&mut stream, b"still there?")
            .await
            .expect("the buffer has room");
        let error = read(&mut stream).await.expect_err("the other end forgot");
        log.add(format!("{:?}", error.kind()));
    });
    lab.run_for(1);
    let hops = lab.shared.world().packet_hops();
    lab.shared.world().with_stack(HostId(1), |stack, io| {
        stack.crash(DropReason::HostDown, io.pool)
    });
    assert_eq!(lab.executor.kill_host(HostId(1)), 2);
    lab.shared.world().flush();
    assert!(lab.shared.world().packet_hops() == hops);
    assert_eq!(
        lab.server
            .tcp_listen(addr("0.0.0.0:80"), 1)
            .map(|_| ())
            .map_err(|error| error.kind()),
        Ok::<(), ErrorKind>(())
    );
    lab.run_for(10);
    assert_eq!(lab.finish().0, "ConnectionReset");
}
