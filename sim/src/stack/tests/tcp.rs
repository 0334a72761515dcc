//! TCP between two hosts, whichever TCP each of them speaks.

use std::io::ErrorKind;
use std::task::Poll;
use std::time::Duration;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::packet::{Meta, Pool};
use anyedge_net::port::PortId;
use anyedge_net::wire;

use super::super::connections::USER_TIMEOUT;
use super::super::{HostStack, Io, ListenerId, TcpBuffers};
use super::pipe::*;
use super::{Pair, with_each_pair};

with_each_pair!(
    an_answer_arrives_intact_under_one_percent_loss,
    no_more_waits_unsent_than_may_and_all_arrives_under_loss,
    ipv6_carries_connections_too,
    the_same_seed_gives_the_same_bytes_and_another_seed_others,
    a_port_without_listener_refuses,
    an_aborted_stream_resets_the_other_end,
    a_stream_dropped_with_unread_data_resets_and_one_without_closes,
    data_for_a_stream_that_was_dropped_is_answered_by_reset,
    a_silent_peer_times_a_connect_out,
    a_silent_peer_times_a_write_out_but_not_an_idle_connection,
    a_half_closed_connection_still_carries_the_answer,
    a_full_backlog_ignores_further_syns_until_one_is_accepted,
    closing_a_listener_resets_what_was_not_accepted,
    a_reader_that_stops_closes_the_window_and_opens_it_again,
    both_ends_may_close_at_the_same_time,
    a_port_is_used_again_after_close,
    time_wait_answers_a_fin_that_comes_again,
    ports_run_out_by_an_error_and_come_back,
    a_host_has_no_more_connections_than_its_bound,
    a_timer_that_comes_too_early_costs_no_pass_and_is_set_anew,
    ten_thousand_connections_cost_no_more_each_than_ten,
    a_connection_that_begins_anew_in_old_buffers_is_like_a_first_one,
    a_crash_is_silent_and_leaves_handles_that_find_nothing,
    damaged_and_misdirected_segments_are_dropped_by_cause,
    an_accepted_connection_knows_the_client_that_its_syn_told_of,
);

fn kind<T: std::fmt::Debug>(result: std::io::Result<T>) -> ErrorKind {
    result.expect_err("it must fail").kind()
}

fn flags(bytes: &[u8]) -> u8 {
    wire::parse(bytes)
        .expect("hosts send sound packets")
        .tcp_flags
}

/// One request of 1 KB and its answer of 10 KB, the server closing first.
fn exchange(pipe: &mut Pipe, listener: ListenerId) {
    let client = pipe.connect();
    pipe.connected(client).expect("the server listens");
    let server = pipe.accept(listener);
    pipe.write(CLIENT, client, &pattern(1_000))
        .expect("it is open");
    let mut request = Vec::new();
    while request.len() < 1_000 {
        request.extend(pipe.read(SERVER, server).expect("it is open"));
    }
    assert_eq!(request, pattern(1_000));
    pipe.write(SERVER, server, &pattern(10_000))
        .expect("it is open");
    pipe.release(SERVER, server);
    assert_eq!(
        pipe.read_to_end(CLIENT, client).expect("it ends by FIN"),
        pattern(10_000)
    );
    pipe.release(CLIENT, client);
}

fn an_answer_arrives_intact_under_one_percent_loss(tcp: Pair) {
    let mut pipe = Pipe::speaking(tcp, 3);
    pipe.loss_ppm = 10_000;
    let listener = pipe.listen(8);
    for _ in 0..200 {
        exchange(&mut pipe, listener);
    }
    assert!(pipe.delivered > 200 * 15);
    pipe.finish();
}

fn no_more_waits_unsent_than_may_and_all_arrives_under_loss(tcp: Pair) {
    const UNSENT_MAX: usize = 4_096;
    let mut pipe = Pipe::speaking(tcp, 5);
    pipe.loss_ppm = 20_000;
    let [client, server] = pipe.establish();
    let limited = pipe.hosts[SERVER].tcp_limit_unsent(server, UNSENT_MAX as u32);
    limited.expect("it is open");
    for round in 0..20 {
        // Less than the client's window, more than may be under way.
        let sent = pattern(40_000 + round);
        let mut first = None;
        pipe.with(SERVER, |stack, io| {
            first = Some(stack.tcp_poll_write(server, &context(), &sent, io.now));
        });
        let Some(Poll::Ready(Ok(taken))) = first else {
            panic!("all before was read, so all was sent: {first:?}");
        };
        assert_eq!(taken, UNSENT_MAX);
        let rest = pipe.write(SERVER, server, &sent[taken..]);
        rest.expect("it goes on to be writable");
        let mut came = Vec::new();
        while came.len() < sent.len() {
            came.extend(pipe.read(CLIENT, client).expect("it is open"));
        }
        assert!(came == sent, "round {round}");
    }
    pipe.release(CLIENT, client);
    pipe.release(SERVER, server);
    pipe.finish();
}

fn ipv6_carries_connections_too(tcp: Pair) {
    let mut pipe = Pipe::speaking(tcp, 1);
    let local = addr("[2001:db8::2]:80");
    let (listener, _) = pipe.hosts[SERVER]
        .tcp_listen(local, 8)
        .expect("the port is free");
    let client = pipe.connect_to(local).expect("ports are free");
    pipe.connected(client).expect("the server listens");
    let server = pipe.accept(listener);
    pipe.write(SERVER, server, &pattern(5_000))
        .expect("it is open");
    pipe.close(SERVER, server).expect("it is open");
    assert_eq!(
        pipe.read_to_end(CLIENT, client).expect("it ends by FIN"),
        pattern(5_000)
    );
    let (local, peer) = pipe.hosts[CLIENT]
        .tcp_addresses(client)
        .expect("it is open");
    assert_eq!(
        (local.ip(), peer),
        (addr("[2001:db8::1]:1").ip(), addr("[2001:db8::2]:80"))
    );
    pipe.finish();
}

fn the_same_seed_gives_the_same_bytes_and_another_seed_others(tcp: Pair) {
    let run = |seed| {
        let mut pipe = Pipe::speaking(tcp, seed);
        pipe.loss_ppm = 20_000;
        let listener = pipe.listen(8);
        for _ in 0..20 {
            exchange(&mut pipe, listener);
        }
        (pipe.digest, pipe.now)
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

fn a_port_without_listener_refuses(tcp: Pair) {
    let mut pipe = Pipe::speaking(tcp, 1);
    let flow = pipe.connect();
    assert_eq!(kind(pipe.connected(flow)), ErrorKind::ConnectionRefused);
    assert_eq!(pipe.drops, [DropReason::NotForHost]);
    assert_eq!(pipe.now.as_nanos(), 21_000_000);
    pipe.release(CLIENT, flow);
    pipe.finish();
}

fn an_aborted_stream_resets_the_other_end(tcp: Pair) {
    let mut pipe = Pipe::speaking(tcp, 1);
    let [client, server] = pipe.establish();
    pipe.write(CLIENT, client, b"before").expect("it is open");
    pipe.run_for(Duration::from_secs(1));
    pipe.abort(CLIENT, client);
    pipe.run_for(Duration::from_secs(1));
    // What came before the reset is still read, as in a kernel.
    assert_eq!(
        pipe.read(SERVER, server).expect("it came in time"),
        b"before"
    );
    assert_eq!(kind(pipe.read(SERVER, server)), ErrorKind::ConnectionReset);
    assert_eq!(
        kind(pipe.write(SERVER, server, b"x")),
        ErrorKind::ConnectionReset
    );
    pipe.finish();
}

fn a_stream_dropped_with_unread_data_resets_and_one_without_closes(tcp: Pair) {
    for unread in [false, true] {
        let mut pipe = Pipe::speaking(tcp, 1);
        let [client, server] = pipe.establish();
        if unread {
            pipe.write(CLIENT, client, b"unread").expect("it is open");
            pipe.run_for(Duration::from_secs(1));
        }
        pipe.release(SERVER, server);
        let end = pipe.read(CLIENT, client);
        match unread {
            true => assert_eq!(kind(end), ErrorKind::ConnectionReset),
            false => assert_eq!(end.expect("it ends by FIN"), b""),
        }
    }
}

fn data_for_a_stream_that_was_dropped_is_answered_by_reset(tcp: Pair) {
    let mut pipe = Pipe::speaking(tcp, 1);
    let [client, server] = pipe.establish();
    pipe.release(SERVER, server);
    pipe.run_for(Duration::from_secs(1));
    pipe.write(CLIENT, client, b"too late")
        .expect("our direction is open");
    pipe.run_for(Duration::from_secs(1));
    // Linux, too, says EPIPE when the reset finds the connection in CLOSE-WAIT.
    assert_eq!(
        kind(pipe.write(CLIENT, client, b"x")),
        ErrorKind::BrokenPipe
    );
    assert_eq!(pipe.read(CLIENT, client).expect("the FIN came before"), b"");
}

fn a_silent_peer_times_a_connect_out(tcp: Pair) {
    let mut pipe = Pipe::speaking(tcp, 1);
    pipe.tap = Box::new(|_, _| true);
    let start = pipe.now;
    let flow = pipe.connect();
    assert_eq!(kind(pipe.connected(flow)), ErrorKind::TimedOut);
    assert_eq!(pipe.now, start + USER_TIMEOUT);
}

fn a_silent_peer_times_a_write_out_but_not_an_idle_connection(tcp: Pair) {
    let mut pipe = Pipe::speaking(tcp, 1);
    let [client, server] = pipe.establish();
    pipe.run_for(Duration::from_secs(3_600));
    pipe.write(CLIENT, client, b"still there?")
        .expect("it is open");
    assert_eq!(
        pipe.read(SERVER, server).expect("it is open"),
        b"still there?"
    );
    pipe.run_for(Duration::from_secs(3_600));
    pipe.tap = Box::new(|_, _| true);
    let start = pipe.now;
    pipe.write(CLIENT, client, b"and now?")
        .expect("the buffer has room");
    assert_eq!(kind(pipe.read(CLIENT, client)), ErrorKind::TimedOut);
    assert_eq!(pipe.now, start + USER_TIMEOUT);
}

fn a_half_closed_connection_still_carries_the_answer(tcp: Pair) {
    let mut pipe = Pipe::speaking(tcp, 1);
    let [client, server] = pipe.establish();
    pipe.write(CLIENT, client, b"request").expect("it is open");
    pipe.close(CLIENT, client).expect("it is open");
    assert_eq!(
        kind(pipe.write(CLIENT, client, b"x")),
        ErrorKind::BrokenPipe
    );
    assert_eq!(
        pipe.read_to_end(SERVER, server).expect("it ends by FIN"),
        b"request"
    );
    pipe.run_for(Duration::from_secs(300));
    pipe.write(SERVER, server, &pattern(50_000))
        .expect("our direction is open");
    pipe.close(SERVER, server).expect("our direction is open");
    assert_eq!(
        pipe.read_to_end(CLIENT, client).expect("it ends by FIN"),
        pattern(50_000)
    );
    pipe.release(CLIENT, client);
    pipe.release(SERVER, server);
    pipe.finish();
}

fn a_full_backlog_ignores_further_syns_until_one_is_accepted(tcp: Pair) {
    let mut pipe = Pipe::speaking(tcp, 1);
    let listener = pipe.listen(2);
    let flows: Vec<_> = (0..3).map(|_| pipe.connect()).collect();
    pipe.run_for(Duration::from_millis(500));
    assert_eq!(pipe.drops, [DropReason::SocketFull]);
    assert!(
        pipe.hosts[CLIENT]
            .tcp_poll_connect(flows[2], &context())
            .is_pending()
    );
    pipe.accept(listener);
    pipe.connected(flows[2]).expect("its SYN is sent again");
    assert!(pipe.now.as_nanos() > 1_000_000_000);
    pipe.accept(listener);
    pipe.accept(listener);
}

fn closing_a_listener_resets_what_was_not_accepted(tcp: Pair) {
    let mut pipe = Pipe::speaking(tcp, 1);
    let listener = pipe.listen(8);
    let waiting = pipe.connect();
    pipe.connected(waiting).expect("the server listens");
    pipe.run_for(Duration::from_secs(1));
    let half_open = pipe.connect();
    pipe.run_for(Duration::from_millis(15));
    pipe.with(SERVER, |stack, _| stack.tcp_close_listener(listener));
    assert_eq!(kind(pipe.read(CLIENT, waiting)), ErrorKind::ConnectionReset);
    // Its SYN-ACK was under way already, so it was connected for a moment.
    pipe.connected(half_open).expect("the SYN-ACK came first");
    assert_eq!(
        kind(pipe.read(CLIENT, half_open)),
        ErrorKind::ConnectionReset
    );
    let refused = pipe.connect();
    assert_eq!(kind(pipe.connected(refused)), ErrorKind::ConnectionRefused);
}

fn a_reader_that_stops_closes_the_window_and_opens_it_again(tcp: Pair) {
    let small = TcpBuffers {
        receive: 4_000,
        send: 100_000,
    };
    let mut configs = configs(tcp, 1);
    configs.iter_mut().for_each(|config| config.buffers = small);
    let mut pipe = Pipe::of(configs);
    let [client, server] = pipe.establish();
    pipe.write(CLIENT, client, &pattern(50_000))
        .expect("the buffer has room");
    pipe.close(CLIENT, client).expect("it is open");
    // Far longer than the user timeout: the other end answers every probe.
    pipe.run_for(Duration::from_secs(300));
    assert_eq!(
        pipe.read_to_end(SERVER, server).expect("it ends by FIN"),
        pattern(50_000)
    );
}

fn both_ends_may_close_at_the_same_time(tcp: Pair) {
    let mut pipe = Pipe::speaking(tcp, 1);
    let [client, server] = pipe.establish();
    pipe.close(CLIENT, client).expect("it is open");
    pipe.close(SERVER, server).expect("it is open");
    for (host, flow) in [(CLIENT, client), (SERVER, server)] {
        assert_eq!(pipe.read(host, flow).expect("it ends by FIN"), b"");
        pipe.release(host, flow);
    }
    pipe.run_for(Duration::from_secs(100));
    assert!(!pipe.step(), "a closed connection leaves nothing behind");
    pipe.finish();
}

fn a_port_is_used_again_after_close(tcp: Pair) {
    let mut pipe = Pipe::speaking(tcp, 1);
    let listener = pipe.listen(8);
    let local = Some(addr("10.0.0.1:4000"));
    for client_closes_first in [false, true, true, false] {
        let connect =
            |stack: &mut HostStack, io: &mut Io<'_>| stack.tcp_connect(local, addr(WEB), io.now);
        let client = pipe.with(CLIENT, connect).expect("the tuple is free");
        assert_eq!(kind(pipe.with(CLIENT, connect)), ErrorKind::AddrInUse);
        pipe.connected(client).expect("the server listens");
        let server = pipe.accept(listener);
        let mut ends = [(CLIENT, client), (SERVER, server)];
        if !client_closes_first {
            ends.reverse();
        }
        for (host, flow) in ends {
            pipe.release(host, flow);
            pipe.run_for(Duration::from_millis(50));
        }
        // A second is what a connect waits for a tuple in TIME-WAIT.
        pipe.run_for(Duration::from_secs(1));
    }
    pipe.finish();
}

fn time_wait_answers_a_fin_that_comes_again(tcp: Pair) {
    let mut pipe = Pipe::speaking(tcp, 1);
    let [client, server] = pipe.establish();
    pipe.release(CLIENT, client);
    pipe.run_for(Duration::from_millis(100));
    // The last acknowledgement is lost once.
    let mut lost = false;
    pipe.tap = Box::new(move |from, _| from == CLIENT && !std::mem::replace(&mut lost, true));
    pipe.release(SERVER, server);
    pipe.run_for(Duration::from_millis(100));
    let before = pipe.delivered;
    pipe.run_for(Duration::from_secs(20));
    assert_eq!(
        pipe.delivered - before,
        2,
        "the FIN again and its acknowledgement"
    );
    assert!(pipe.drops.is_empty());
    pipe.finish();
}

fn ports_run_out_by_an_error_and_come_back(tcp: Pair) {
    let mut pipe = Pipe::speaking(tcp, 1);
    pipe.tap = Box::new(|_, _| true);
    let mut flows = Vec::new();
    let error = loop {
        match pipe.connect_to(addr(WEB)) {
            Ok(flow) => flows.push(flow),
            Err(error) => break error,
        }
    };
    assert_eq!(
        (flows.len(), error.kind()),
        (28_232, ErrorKind::AddrNotAvailable)
    );
    pipe.connect_to(addr("10.0.0.2:81")).expect("another tuple");
    pipe.release(CLIENT, flows[100]);
    pipe.connect_to(addr(WEB)).expect("one port is free again");
}

fn a_host_has_no_more_connections_than_its_bound(tcp: Pair) {
    let mut configs = configs(tcp, 1);
    configs[SERVER].flows_max = 2;
    configs[CLIENT].flows_max = 3;
    let mut pipe = Pipe::of(configs);
    let listener = pipe.listen(100);
    let flows: Vec<_> = (0..3).map(|_| pipe.connect()).collect();
    assert_eq!(kind(pipe.connect_to(addr(WEB))), ErrorKind::OutOfMemory);
    pipe.run_for(Duration::from_millis(100));
    assert_eq!(pipe.drops, [DropReason::SocketFull]);
    let server = pipe.accept(listener);
    pipe.abort(SERVER, server);
    pipe.connected(flows[2]).expect("its SYN is sent again");
}

/// The answer says what the delayed acknowledgement was to say, and is lost: its timer finds nothing to do before it is to be
/// sent again.
fn a_timer_that_comes_too_early_costs_no_pass_and_is_set_anew(tcp: Pair) {
    let mut pipe = Pipe::speaking(tcp, 1);
    let [client, server] = pipe.establish();
    pipe.run_for(Duration::from_secs(2));
    pipe.write(CLIENT, client, b"ping").expect("it is open");
    assert_eq!(pipe.read(SERVER, server).expect("it is open"), b"ping");
    let mut lost = false;
    pipe.tap = Box::new(move |from, _| from == SERVER && !std::mem::replace(&mut lost, true));
    pipe.write(SERVER, server, b"pong").expect("it is open");
    let polls = |pipe: &Pipe| pipe.hosts[SERVER].stats().flow_polls;
    let before = polls(&pipe);
    pipe.run_for(Duration::from_millis(150));
    assert_eq!(polls(&pipe), before);
    assert_eq!(pipe.read(CLIENT, client).expect("it is open"), b"pong");
    pipe.finish();
}

fn ten_thousand_connections_cost_no_more_each_than_ten(tcp: Pair) {
    let polls_each = |count: usize| {
        let mut configs = configs(tcp, 1);
        configs.iter_mut().for_each(|config| {
            config.buffers = TcpBuffers {
                receive: 4_096,
                send: 4_096,
            }
        });
        let mut pipe = Pipe::of(configs);
        let listener = pipe.listen(count);
        let clients: Vec<_> = (0..count).map(|_| pipe.connect()).collect();
        let servers: Vec<_> = (0..count).map(|_| pipe.accept(listener)).collect();
        pipe.run_for(Duration::from_secs(2));
        for (client, server) in clients.into_iter().zip(servers) {
            pipe.write(CLIENT, client, b"ping").expect("it is open");
            assert_eq!(pipe.read(SERVER, server).expect("it is open"), b"ping");
            pipe.run_for(Duration::from_millis(100));
        }
        pipe.run_for(Duration::from_secs(2));
        let polls: u64 = pipe.hosts.iter().map(|host| host.stats().flow_polls).sum();
        assert_eq!(polls % count as u64, 0);
        polls / count as u64
    };
    assert_eq!(polls_each(10), polls_each(10_000));
}

fn a_connection_that_begins_anew_in_old_buffers_is_like_a_first_one(tcp: Pair) {
    let segments = |used_before: bool| {
        let mut pipe = Pipe::speaking(tcp, 1);
        let listener = pipe.listen(8);
        if used_before {
            exchange(&mut pipe, listener);
            pipe.run_for(Duration::from_secs(60));
        }
        let before = pipe.delivered;
        exchange(&mut pipe, listener);
        pipe.delivered - before
    };
    assert_eq!(segments(true), segments(false));
}

fn a_crash_is_silent_and_leaves_handles_that_find_nothing(tcp: Pair) {
    let mut pipe = Pipe::speaking(tcp, 1);
    let [client, server] = pipe.establish();
    let mut pool = Pool::new(1);
    pipe.hosts[SERVER].crash(DropReason::HostDown, &mut pool);
    pipe.run_for(Duration::from_millis(100));
    assert_eq!(kind(pipe.read(SERVER, server)), ErrorKind::NotConnected);
    pipe.release(SERVER, server);
    // The machine is up again and knows nothing of the connection.
    pipe.write(CLIENT, client, b"hello?")
        .expect("the buffer has room");
    assert_eq!(kind(pipe.read(CLIENT, client)), ErrorKind::ConnectionReset);
    pipe.listen(1);
}

fn damaged_and_misdirected_segments_are_dropped_by_cause(tcp: Pair) {
    let mut pipe = Pipe::speaking(tcp, 1);
    pipe.listen(1);
    let mut syn = Vec::new();
    let kept = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let tapped = std::sync::Arc::clone(&kept);
    pipe.tap = Box::new(move |_, bytes| {
        tapped.lock().expect("one thread").push(bytes.to_vec());
        true
    });
    pipe.connect();
    syn.extend_from_slice(&kept.lock().expect("one thread")[0]);
    assert_eq!(flags(&syn), wire::tcp::SYN);
    let mut send = |bytes: &[u8]| {
        let packet = pipe
            .pool
            .lend_copy(bytes, Meta::plain(PortId::LOCAL))
            .expect("the pool is large");
        pipe.deliver(SERVER, packet);
        pipe.drops.pop()
    };
    let mut damaged = syn.clone();
    damaged[30] ^= 1;
    assert_eq!(send(&damaged), Some(DropReason::BadChecksum));
    assert_eq!(send(&syn[..30]), Some(DropReason::Malformed));
    let mut elsewhere = syn.clone();
    let parsed = wire::parse(&syn).expect("hosts send sound packets");
    let address = addr("10.9.9.9:1").ip().into();
    wire::rewrite::set_destination(&mut elsewhere, &parsed, address, 80);
    assert_eq!(send(&elsewhere), Some(DropReason::NotForHost));
    assert_eq!(send(&syn), None);
    pipe.finish();
}

/// A vSwitch hands the backend what the load balancer put into the SYN.
fn an_accepted_connection_knows_the_client_that_its_syn_told_of(tcp: Pair) {
    let mut pipe = Pipe::speaking(tcp, 1);
    let told = addr("192.0.2.33:49152");
    pipe.edit = Box::new(move |from, packet| {
        let mut parsed = wire::parse(packet.bytes()).expect("hosts send sound packets");
        if from == CLIENT && parsed.tcp_flags == wire::tcp::SYN {
            let client = (told.ip().into(), told.port());
            let kind = wire::toa::Toa::Kind254;
            assert!(wire::toa::insert(packet, &mut parsed, kind, client));
        }
    });
    let listener = pipe.listen(8);
    let client = pipe.connect();
    pipe.connected(client).expect("the server listens");
    let server = pipe.accept(listener);
    assert_eq!(pipe.hosts[SERVER].tcp_toa(server), Some(told));
    assert_eq!(pipe.hosts[CLIENT].tcp_toa(client), None);
    pipe.edit = Box::new(|_, _| {});
    let client = pipe.connect();
    pipe.connected(client).expect("the server listens");
    let server = pipe.accept(listener);
    assert_eq!(
        pipe.hosts[SERVER].tcp_toa(server),
        None,
        "of this one nothing"
    );
    pipe.finish();
}
