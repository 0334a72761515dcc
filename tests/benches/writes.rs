//! Acknowledged writes a second of 64 concurrent clients: three controllers, three members of etcd, and a loop of one
//! synced append of the same size, in turns on the same disk.
//!
//! Clients are the same for both: a connection each with mutual TLS 1.3 to the member that leads, one write at a time, by
//! this project's gRPC channel. A write is an object of the table and its key; etcd is given the same bytes. Both sync
//! before they answer. Without etcd on the machine its part is left out, loudly.
//!
//! `ANYEDGE_ROUNDS` and `ANYEDGE_SECONDS` set how often and how long each is asked. `ANYEDGE_SYNC_DELAY`, in microseconds,
//! makes every sync of all three so much slower, by strace: a machine's disk may be so fast that it decides nothing.

#![expect(clippy::print_stdout, reason = "a bench tells what it found")]

#[path = "writes/append.rs"]
mod append;
#[path = "writes/clients.rs"]
mod clients;
#[path = "writes/controllers.rs"]
mod controllers;
#[path = "writes/etcd.rs"]
mod etcd;
#[path = "writes/processes.rs"]
mod processes;

use core::time::Duration;

use anyedge_ccn::rpc::{Authority, ClientSecurity, Role, Tls};
use anyedge_live::dataplane::clock::MonotonicClock;
use anyedge_live::host::LiveHost;
use anyedge_net::rng::Seed;
use anyedge_tests::two_machines::Scratch;
use tokio::runtime::Handle;

use clients::Round;
use processes::Files;

const CLIENTS: usize = 64;

fn setting(name: &str, default: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn main() {
    let mut args = std::env::args().skip(1);
    if args.next().is_some_and(|first| first == append::FLAG) {
        return append::run(args);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let folder = Scratch::new();
    std::fs::create_dir_all(folder.path()).expect("a folder");
    runtime.block_on(run(&folder));
    runtime.shutdown_background();
}

async fn run(folder: &Scratch) {
    let (rounds, seconds) = (setting("ANYEDGE_ROUNDS", 5), setting("ANYEDGE_SECONDS", 5));
    let sync_delay = setting("ANYEDGE_SYNC_DELAY", 0);
    let length = Duration::from_secs(seconds);
    let host = LiveHost::new(
        "clients",
        MonotonicClock::start(),
        Seed(7),
        Handle::current(),
    );
    let mut authority = Authority::new(&host).expect("the machine has randomness");
    let files = Files::write(folder.path(), &mut authority);
    let own = authority.issue("operator", Role::Operator);
    let own = own
        .and_then(|issued| issued.identity())
        .expect("it was just issued");
    let tls = Tls::new(&host, &own).expect("it is sound");
    let security = |server: &str| ClientSecurity::Tls {
        tls: tls.clone(),
        server: server.to_owned(),
    };
    let own = controllers::start(&host, folder.path(), &files, security, sync_delay).await;
    let other = etcd::start(&host, folder.path(), &files, security, sync_delay).await;
    if other.is_none() {
        println!("NOT COMPARED: there is no etcd on this machine (Debian: etcd-server)");
    }
    let mut told: [Vec<Round>; 2] = Default::default();
    let mut appends = Vec::new();
    for round in 0..rounds {
        appends.push(append::median(
            folder.path(),
            controllers::write_bytes(),
            sync_delay,
        ));
        let write =
            move |channel, client, number| controllers::write(channel, round, client, number);
        told[0].push(own.load(&host, length, write).await);
        if let Some(other) = &other {
            let write = move |channel, client, number| etcd::write(channel, round, client, number);
            told[1].push(other.load(&host, length, write).await);
        }
    }
    println!(
        "{CLIENTS} clients, {rounds} rounds of {length:?} each; a write is {} bytes",
        controllers::write_bytes()
    );
    appends.sort_unstable();
    let append = appends[appends.len() / 2];
    println!(
        "one synced append: {append:?}, {:.0} a second",
        1.0 / append.as_secs_f64()
    );
    for (name, rounds) in ["controllers", "etcd"].into_iter().zip(&told) {
        if let Some(median) = Round::median(rounds) {
            let a_sync = median.a_second * append.as_secs_f64();
            println!("{name}: {median}, {a_sync:.1} writes in the time of one synced append");
        }
    }
    let ratios = told[0].iter().zip(&told[1]);
    let mut ratios: Vec<f64> = ratios
        .map(|(own, other)| own.a_second / other.a_second)
        .collect();
    ratios.sort_by(f64::total_cmp);
    if let Some(median) = ratios.get(ratios.len() / 2) {
        println!("controllers to etcd, round by round: median {median:.2}, {ratios:.2?}");
    }
}
