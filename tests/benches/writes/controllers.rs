//! Three controllers as processes, and writes to the one that leads.

use core::net::SocketAddr;
use core::time::Duration;
use std::path::Path;
use std::process::Command;

use anyedge_ccn::api::client::Client;
use anyedge_ccn::controller::bytes_of;
use anyedge_ccn::rpc::{Channel, ClientSecurity};
use anyedge_ccn::table::change::{Change, Command as TableCommand};
use anyedge_live::controller::SERVER_NAME;
use anyedge_live::host::LiveHost;
use anyedge_net::time::Instant;
use anyedge_proto::control::v1::table_client::TableClient;
use anyedge_proto::control::v1::{ApplyRequest, WriteOptions};
use anyedge_proto::table::v1 as pb;
use anyedge_tests::binary::{Profile, path};
use anyedge_tests::large_table::{Size, author_of};

use crate::clients::Group;
use crate::processes::{Files, MEMBERS, Running, ports};

/// What there is to be written to.
const TABLE: Size = Size {
    clbs: 1,
    listeners: 1,
    targets: crate::CLIENTS as u32,
    hosts: 16,
};

/// Starts them with [`TABLE`].
pub(crate) async fn start(
    host: &LiveHost,
    folder: &Path,
    files: &Files,
    security: impl Fn(&str) -> ClientSecurity,
    sync_delay: u64,
) -> Group {
    let ports = ports::<MEMBERS>();
    let addresses = ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let numbered = || (1..).zip(addresses);
    let peers: Vec<String> = numbered().map(|(id, at)| format!("{id}={at}")).collect();
    let [certificate, key, authority] = &files.controller;
    let member = |(id, address): (usize, SocketAddr)| {
        let mut command = Command::new(path(Profile::Release));
        command
            .args(["controller", "--ends-with-stdin", "--id", &id.to_string()])
            .args([
                "--listen",
                &address.to_string(),
                "--peers",
                &peers.join(","),
            ])
            .arg("--data")
            .arg(folder.join(format!("controller-{id}")))
            .arg("--cert")
            .arg(certificate)
            .arg("--key")
            .arg(key)
            .arg("--ca")
            .arg(authority);
        command
    };
    let running = Running::start(numbered().map(member), sync_delay);
    let security = security(SERVER_NAME);
    let client = Client::new(host, addresses.to_vec(), security.clone());
    let client = client.within(Duration::from_secs(30));
    let table = author_of(TABLE, None).content();
    client.apply(&[table]).await.expect("a group that works");
    let members = client.members().await.expect("it is there").members;
    let leader = members.iter().find(|member| member.role == "leader");
    let leader = leader.and_then(|leader| leader.address.parse().ok());
    Group {
        running,
        leader: leader.expect("somebody acknowledged a write"),
        security,
    }
}

/// As it stands in the log.
pub(crate) fn write_bytes() -> usize {
    let change = change(7, 12_345);
    let mut command = TableCommand::new(Instant::from_nanos(1 << 60), change);
    command.request_id = request_id(1, 7, 12_345);
    bytes_of(&command).len()
}

/// One write of a client.
pub(crate) async fn write(channel: Channel<LiveHost>, round: u64, own: usize, number: u64) {
    let change = change(own, number);
    let request = ApplyRequest {
        options: Some(WriteOptions {
            request_id: request_id(round, own, number),
            ..WriteOptions::default()
        }),
        changes: Some(pb::Changes {
            changes: vec![(&change).into()],
        }),
    };
    let written = TableClient::new(channel).apply(request).await;
    written.expect("the write is sound");
}

/// No two are the same, and their lengths are.
pub(crate) fn request_id(round: u64, own: usize, number: u64) -> String {
    format!("{round:02}-{own:02}-{number:08}")
}

/// What is written: the weight of one target of the table.
pub(crate) fn change(own: usize, number: u64) -> Change {
    let weight = 1 + (number % 100) as i32;
    Change::SetTargetWeight(vec![target(own)], weight)
}

/// A target for each client.
pub(crate) fn target(own: usize) -> String {
    format!("clb-0/l-0/11.0.0.{own}:8080")
}
