//! The kernel under the `Host` contract, where it shows no other way than on the real thing: resets, half-close,
//! backlog, datagram metadata, port-unreachable, foreign sources.
//!
//! Most of it needs no root: it stays on the loopback.

use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use anyedge_live::dataplane::clock::MonotonicClock;
use anyedge_live::host::LiveHost;
use anyedge_live::lab;
use anyedge_net::host::{DatagramMeta, Host, TcpListener, TcpStream, UdpSocket};
use anyedge_net::rng::Seed;
use futures_util::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Handle;

use crate::lone_lab::{LoneLab, can_make_namespaces};

const LIMIT: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_millis(100);
const LOOPBACKS: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

/// Runs a case on a runtime of this thread, for at most [`LIMIT`].
fn run<F: Future<Output = ()>>(case: impl FnOnce(LiveHost) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let host = LiveHost::new(
            "client.test",
            MonotonicClock::start(),
            Seed(7),
            Handle::current(),
        );
        tokio::time::timeout(LIMIT, case(host))
            .await
            .expect("the case ends in time");
    });
}

fn loopbacks() -> [SocketAddr; 2] {
    LOOPBACKS.map(|text| text.parse().expect("an address"))
}

#[test]
fn a_stream_that_was_closed_still_reads_and_then_ends() {
    run(async |host| {
        for any in loopbacks() {
            let mut listener = host.tcp_listen(any, 8).expect("it listens");
            let (near, far) = tokio::join!(
                host.tcp_connect(None, listener.local_addr()),
                listener.accept()
            );
            let (mut near, mut far) = (near.expect("connected"), far.expect("accepted"));
            assert_eq!(
                (near.peer_addr(), near.local_addr()),
                (far.local_addr(), far.peer_addr())
            );
            near.write_all(b"question").await.expect("open");
            near.close().await.expect("half-close");
            let mut text = String::new();
            far.read_to_string(&mut text).await.expect("up to the FIN");
            assert_eq!(text, "question");
            far.write_all(b"answer")
                .await
                .expect("the other half is open");
            drop(far);
            text.clear();
            near.read_to_string(&mut text).await.expect("up to the FIN");
            assert_eq!(text, "answer");
        }
    });
}

#[test]
fn datagrams_that_are_not_read_in_time_are_counted() {
    const SENT: u64 = 5_000;
    run(async |host| {
        for any in loopbacks() {
            let before = host.overruns().at_sockets();
            let receiver = host.udp_bind(any).expect("it is bound");
            let sender = std::net::UdpSocket::bind(any).expect("it is bound");
            let to = receiver.local_addr();
            for _ in 0..SENT {
                sender.send_to(&[7; 500], to).expect("loopback takes it");
            }
            let mut bytes = [0; 600];
            let mut read = 0;
            while let Ok(one) = tokio::time::timeout(SOON, receiver.recv(&mut bytes)).await {
                one.expect("it is open");
                read += 1;
            }
            assert!(0 < read && read < SENT, "a buffer for {read}");
            assert_eq!(read + host.overruns().at_sockets() - before, SENT);
        }
    });
}

#[test]
fn an_aborted_stream_is_a_reset_to_the_other_end() {
    run(async |host| {
        let mut listener = host.tcp_listen(loopbacks()[0], 8).expect("it listens");
        let (near, far) = tokio::join!(
            host.tcp_connect(None, listener.local_addr()),
            listener.accept()
        );
        far.expect("accepted").abort();
        let error = near
            .expect("connected")
            .read(&mut [0; 8])
            .await
            .expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_stream_dropped_with_unread_data_resets() {
    run(async |host| {
        let mut listener = host.tcp_listen(loopbacks()[0], 8).expect("it listens");
        let (near, far) = tokio::join!(
            host.tcp_connect(None, listener.local_addr()),
            listener.accept()
        );
        let (mut near, mut far) = (near.expect("connected"), far.expect("accepted"));
        near.write_all(b"two").await.expect("open");
        // One byte read shows that all have arrived: loopback hands over whole segments.
        far.read_exact(&mut [0; 1]).await.expect("it has arrived");
        drop(far);
        let error = near.read(&mut [0; 8]).await.expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_port_without_listener_refuses_and_a_port_in_use_is_not_given_twice() {
    run(async |host| {
        let first = host.tcp_listen(loopbacks()[0], 8).expect("it listens");
        let taken = host
            .tcp_listen(first.local_addr(), 8)
            .expect_err("the port is taken");
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        let (gone, own) = (first.local_addr(), Some(loopbacks()[0]));
        drop(first);
        let refused = host
            .tcp_connect(own, gone)
            .await
            .expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn no_more_connections_wait_than_the_backlog_says() {
    run(async |host| {
        let mut listener = host.tcp_listen(loopbacks()[0], 2).expect("it listens");
        let remote = listener.local_addr();
        let _first = host.tcp_connect(None, remote).await.expect("room for two");
        let _second = host.tcp_connect(None, remote).await.expect("room for two");
        // The kernel ignores the SYN and the client sends it again a second later: until then it is pending.
        let third = host.tcp_connect(None, remote);
        tokio::pin!(third);
        let waited = tokio::time::timeout(Duration::from_millis(200), &mut third).await;
        assert!(
            waited.is_err(),
            "a third connection fitted into a backlog of two"
        );
        listener.accept().await.expect("the first");
        third.await.expect("room again");
    });
}

#[test]
fn a_datagram_carries_its_ttl_tos_and_local_address() {
    run(async |host| {
        for any in loopbacks() {
            let (near, far) = (
                host.udp_bind(any).expect("bound"),
                host.udp_bind(any).expect("bound"),
            );
            for local in [None, Some(any.ip())] {
                let to = DatagramMeta {
                    local,
                    ttl: 9,
                    tos: 0xb9,
                    ..DatagramMeta::to(far.local_addr())
                };
                near.send(b"hello", to).expect("loopback takes it");
                let mut cut = [0; 3];
                let (len, meta) = far.recv(&mut cut).await.expect("it arrives");
                assert_eq!(
                    (len, &cut),
                    (5, b"hel"),
                    "cut to the buffer, with its whole length"
                );
                let expected = DatagramMeta {
                    peer: near.local_addr(),
                    local: Some(any.ip()),
                    ttl: 9,
                    tos: 0xb9,
                };
                assert_eq!(meta, expected);
            }
        }
    });
}

#[test]
fn port_unreachable_is_told_once_and_the_socket_lives_on() {
    run(async |host| {
        for any in loopbacks() {
            let (near, far) = (
                host.udp_bind(any).expect("bound"),
                host.udp_bind(any).expect("bound"),
            );
            let gone = far.local_addr();
            drop(far);
            near.send(b"?", DatagramMeta::to(gone))
                .expect("sent before anything is known");
            let refused = near.recv(&mut [0; 8]).await.expect_err("nobody is there");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            near.send(b"!", DatagramMeta::to(near.local_addr()))
                .expect("once was enough");
            let (len, _) = near.recv(&mut [0; 8]).await.expect("the socket lives on");
            assert_eq!(len, 1);
        }
    });
}

#[test]
fn time_and_randomness_are_the_hosts_own() {
    run(async |host| {
        let before = host.now();
        let until = before + Duration::from_millis(3);
        host.sleep_until(until).await;
        assert!(host.now() >= until);
        host.sleep_until(before).await;
        assert_eq!(
            host.rng("arrivals").bits(),
            Seed(7).stream("client.test", "arrivals").bits()
        );
        let (sender, receiver) = tokio::sync::oneshot::channel();
        host.spawn(async move {
            sender.send(1).expect("the case waits");
        });
        assert_eq!(receiver.await, Ok(1));
    });
}

#[test]
fn a_connection_may_come_from_a_foreign_source() {
    if !can_make_namespaces("a_connection_may_come_from_a_foreign_source") {
        return;
    }
    let lone = LoneLab::new();
    lab::up_blueprint(&lone.line_of_three()).expect("the lab comes up");
    lone.namespace("client.c")
        .run(|| {
            run(async |host| {
                let remote: SocketAddr = "198.51.100.2:9".parse().expect("an address");
                let foreign: SocketAddr = "203.0.113.77:0".parse().expect("an address");
                // Its SYN goes out and no answer can come back: what is refused, is refused by the kernel at once.
                let connecting = host.tcp_connect(Some(foreign), remote);
                assert!(
                    tokio::time::timeout(Duration::from_millis(50), connecting)
                        .await
                        .is_err()
                );
            });
            Ok(())
        })
        .expect("the namespace is there");
}
