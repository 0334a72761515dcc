//! UDP and ICMP between two hosts.

use std::io::ErrorKind;
use std::task::Poll;
use std::time::Duration;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::host::DatagramMeta;
use anyedge_net::packet::Meta;
use anyedge_net::port::PortId;
use anyedge_net::wire;

use super::super::UdpId;
use super::pipe::*;

pub(super) fn bind(pipe: &mut Pipe, host: usize, local: &str) -> UdpId {
    pipe.hosts[host]
        .udp_bind(addr(local))
        .expect("the port is free")
        .0
}

pub(super) fn send(
    pipe: &mut Pipe,
    host: usize,
    socket: UdpId,
    payload: &[u8],
    to: &str,
) -> std::io::Result<()> {
    let meta = DatagramMeta::to(addr(to));
    pipe.with(host, |stack, io| stack.udp_send(socket, payload, &meta, io))
}

type Received = std::io::Result<(Vec<u8>, usize, DatagramMeta)>;

pub(super) fn poll_recv(
    pipe: &mut Pipe,
    host: usize,
    socket: UdpId,
    room: usize,
) -> Poll<Received> {
    let mut into = vec![0; room];
    let polled = pipe.with(host, |stack, io| {
        stack.udp_poll_recv(socket, &context(), &mut into, io.pool)
    });
    polled.map_ok(|(len, meta)| {
        into.truncate(len);
        (into, len, meta)
    })
}

fn recv(pipe: &mut Pipe, host: usize, socket: UdpId) -> Received {
    pipe.wait(|pipe| poll_recv(pipe, host, socket, 2_000))
}

#[test]
fn a_datagram_arrives_with_its_marks_and_is_cut_to_the_reader() {
    let mut pipe = Pipe::new(1);
    for (client, server) in [("10.0.0.1", "10.0.0.2"), ("[2001:db8::1]", "[2001:db8::2]")] {
        let at = format!("{server}:7000");
        let echo = bind(&mut pipe, SERVER, &at);
        let tick = bind(&mut pipe, CLIENT, &format!("{client}:5000"));
        let meta = DatagramMeta {
            ttl: 9,
            tos: 0xb9,
            ..DatagramMeta::to(addr(&at))
        };
        pipe.with(CLIENT, |stack, io| {
            stack.udp_send(tick, &pattern(1_000), &meta, io)
        })
        .expect("it fits");
        let (bytes, len, meta) = pipe
            .wait(|pipe| poll_recv(pipe, SERVER, echo, 10))
            .expect("a datagram came");
        assert_eq!((&bytes[..], len), (&pattern(10)[..], 1_000));
        assert_eq!((meta.ttl, meta.tos), (9, 0xb9));
        assert_eq!(meta.peer, addr(&format!("{client}:5000")));
        assert_eq!(meta.local, Some(addr(&at).ip()));
    }
    assert!(pipe.drops.is_empty());
    pipe.finish();
}

#[test]
fn a_port_without_socket_refuses_once() {
    let mut pipe = Pipe::new(1);
    for (local, to) in [
        ("0.0.0.0:0", "10.0.0.2:7000"),
        ("[::]:0", "[2001:db8::2]:7000"),
    ] {
        let tick = bind(&mut pipe, CLIENT, local);
        send(&mut pipe, CLIENT, tick, &pattern(1_400), to).expect("it fits");
        let refused = recv(&mut pipe, CLIENT, tick).expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert!(poll_recv(&mut pipe, CLIENT, tick, 1).is_pending());
        send(&mut pipe, CLIENT, tick, b"again", to).expect("the error was reported");
        pipe.run_for(Duration::from_secs(1));
        let refused = send(&mut pipe, CLIENT, tick, b"more", to).expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
    assert_eq!(pipe.drops, [DropReason::NotForHost; 4]);
    pipe.finish();
}

#[test]
fn a_host_that_refuses_much_refuses_in_silence() {
    let mut pipe = Pipe::new(1);
    let mut sockets = Vec::new();
    for _ in 0..60 {
        let tick = bind(&mut pipe, CLIENT, "0.0.0.0:0");
        send(&mut pipe, CLIENT, tick, b"tick", "10.0.0.2:7000").expect("it fits");
        sockets.push(tick);
    }
    pipe.run_for(Duration::from_millis(20));
    assert_eq!(pipe.drops, [DropReason::NotForHost; 60]);
    let heard = sockets
        .into_iter()
        .filter(|tick| poll_recv(&mut pipe, CLIENT, *tick, 1).is_ready());
    assert_eq!(heard.count(), 50, "its burst");
    pipe.run_for(Duration::from_millis(100));
    let tick = bind(&mut pipe, CLIENT, "0.0.0.0:0");
    send(&mut pipe, CLIENT, tick, b"tick", "10.0.0.2:7000").expect("it fits");
    let refused = recv(&mut pipe, CLIENT, tick).expect_err("it says so again");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_full_socket_drops_what_comes_and_keeps_what_came() {
    let mut configs = [config(CLIENT, 1), config(SERVER, 1)];
    configs[SERVER].udp_queue_max = 3;
    let mut pipe = Pipe::of(configs);
    let echo = bind(&mut pipe, SERVER, "10.0.0.2:7000");
    let tick = bind(&mut pipe, CLIENT, "10.0.0.1:0");
    for number in 0..5 {
        send(&mut pipe, CLIENT, tick, &[number], "10.0.0.2:7000").expect("it fits");
    }
    pipe.run_for(Duration::from_secs(1));
    assert_eq!(pipe.drops, [DropReason::SocketFull; 2]);
    let came: Vec<_> = (0..3)
        .map(|_| recv(&mut pipe, SERVER, echo).expect("it came").0[0])
        .collect();
    assert_eq!(came, [0, 1, 2]);
    pipe.finish();
}

#[test]
fn addresses_and_ports_that_cannot_be_bound_are_refused_by_kind() {
    let mut pipe = Pipe::new(1);
    let stack = &mut pipe.hosts[SERVER];
    let mut bind = |local| {
        stack
            .udp_bind(addr(local))
            .map(|_| ())
            .map_err(|error| error.kind())
    };
    assert_eq!(bind("10.0.0.2:53"), Ok(()));
    assert_eq!(bind("10.0.0.2:53"), Err(ErrorKind::AddrInUse));
    assert_eq!(bind("0.0.0.0:53"), Err(ErrorKind::AddrInUse));
    assert_eq!(bind("[::]:53"), Ok(()));
    assert_eq!(bind("[2001:db8::2]:53"), Err(ErrorKind::AddrInUse));
    assert_eq!(bind("10.9.9.9:53"), Err(ErrorKind::AddrNotAvailable));
    let mut listen = |local| {
        stack
            .tcp_listen(addr(local), 1)
            .map(|_| ())
            .map_err(|error| error.kind())
    };
    assert_eq!(listen("0.0.0.0:80"), Ok(()));
    assert_eq!(listen("10.0.0.2:80"), Err(ErrorKind::AddrInUse));
    assert_eq!(listen("10.9.9.9:81"), Err(ErrorKind::AddrNotAvailable));
}

#[test]
fn datagrams_that_cannot_be_sent_are_errors() {
    let mut pipe = Pipe::new(1);
    let tick = bind(&mut pipe, CLIENT, "10.0.0.1:0");
    for (len, to) in [
        (65_508, "10.0.0.2:7"),
        (1, "[2001:db8::2]:7"),
        (1, "10.0.0.2:0"),
    ] {
        let error =
            send(&mut pipe, CLIENT, tick, &pattern(len), to).expect_err("it cannot be sent");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    send(&mut pipe, CLIENT, tick, &pattern(1_472), "10.0.0.2:7").expect("it fills the MTU");
}

#[test]
fn a_host_set_up_for_foreign_sources_sends_and_gets_as_any_address() {
    let mut configs = [config(CLIENT, 1), config(SERVER, 1)];
    configs[CLIENT].foreign_sources = true;
    let mut pipe = Pipe::of(configs);
    let echo = bind(&mut pipe, SERVER, "0.0.0.0:7000");
    let tick = bind(&mut pipe, CLIENT, "198.51.100.7:5000");
    send(&mut pipe, CLIENT, tick, b"as another", "10.0.0.2:7000").expect("it fits");
    let (_, _, meta) = recv(&mut pipe, SERVER, echo).expect("it came");
    assert_eq!(meta.peer, addr("198.51.100.7:5000"));
    send(&mut pipe, SERVER, echo, b"back", "198.51.100.7:5000").expect("it fits");
    assert_eq!(recv(&mut pipe, CLIENT, tick).expect("it came").0, b"back");
    let listener = pipe.listen(1);
    let local = Some(addr("198.51.100.8:0"));
    let flow = pipe
        .with(CLIENT, |stack, io| {
            stack.tcp_connect(local, addr(WEB), io.now)
        })
        .expect("foreign sources are allowed");
    pipe.connected(flow).expect("the server listens");
    pipe.accept(listener);
    pipe.finish();
}

#[test]
fn an_echo_request_is_answered() {
    let mut pipe = Pipe::new(1);
    let mut bytes = vec![0; 20 + 8 + 32];
    let header = wire::ip::Header {
        src: addr("10.0.0.1:1").ip().into(),
        dst: addr("10.0.0.2:1").ip().into(),
        protocol: wire::icmp::PROTOCOL_V4,
        ttl: 64,
        tos: 0,
        payload_len: 40,
    };
    header.write(&mut bytes);
    bytes[20] = wire::icmp::V4_ECHO_REQUEST;
    bytes[24..].fill(7);
    wire::icmp::fill_checksum(&mut bytes[20..], header.src, header.dst);
    let packet = pipe
        .pool
        .lend_copy(&bytes, Meta::plain(PortId::LOCAL))
        .expect("the pool is large");
    let replies = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let tapped = std::sync::Arc::clone(&replies);
    pipe.tap = Box::new(move |_, bytes| {
        tapped.lock().expect("one thread").push(bytes[20]);
        false
    });
    pipe.deliver(SERVER, packet);
    pipe.run_for(Duration::from_secs(1));
    assert_eq!(
        *replies.lock().expect("one thread"),
        [wire::icmp::V4_ECHO_REPLY]
    );
    assert!(pipe.drops.is_empty());
    pipe.finish();
}
