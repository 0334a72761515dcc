//! Three members of etcd as processes, and writes to the one that leads.

use core::net::SocketAddr;
use core::time::Duration;
use std::path::Path;
use std::process::Command;

use anyedge_ccn::rpc::{Channel, ClientSecurity, Limits};
use anyedge_live::host::LiveHost;
use anyedge_net::host::Host as _;
use anyedge_proto::table::v1 as pb;
use http::uri::PathAndQuery;
use prost::Message;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::clients::Group;
use crate::controllers::{change, request_id, target};
use crate::processes::{Files, LOCAL, MEMBERS, Running, ports};

const START_MAX: Duration = Duration::from_secs(30);

/// `etcdserverpb.PutRequest`, as far as it is used.
#[derive(Clone, PartialEq, Message)]
struct Put {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `etcdserverpb.ResponseHeader`
#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(uint64, tag = "2")]
    member_id: u64,
}

/// `etcdserverpb.PutResponse`
#[derive(Clone, PartialEq, Message)]
struct PutReply {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
}

/// `etcdserverpb.StatusResponse`
#[derive(Clone, PartialEq, Message)]
struct StatusReply {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

/// Starts them; none when the machine has no etcd.
pub(crate) async fn start(
    host: &LiveHost,
    folder: &Path,
    files: &Files,
    security: impl Fn(&str) -> ClientSecurity,
    sync_delay: u64,
) -> Option<Group> {
    Command::new("etcd").arg("--version").output().ok()?;
    let (clients, peers) = (ports::<MEMBERS>(), ports::<MEMBERS>());
    let cluster: Vec<String> = peers
        .iter()
        .map(|port| format!("m{port}=https://{LOCAL}:{port}"))
        .collect();
    let member = |(client, peer): (&u16, &u16)| {
        let mut command = Command::new("etcd");
        command
            .args([
                "--name",
                &format!("m{peer}"),
                "--logger",
                "zap",
                "--log-level",
                "error",
            ])
            .args([
                "--initial-cluster",
                &cluster.join(","),
                "--initial-cluster-state",
                "new",
            ])
            .args([
                "--listen-client-urls",
                &format!("https://127.0.0.1:{client}"),
            ])
            .args([
                "--advertise-client-urls",
                &format!("https://{LOCAL}:{client}"),
            ])
            .args(["--listen-peer-urls", &format!("https://127.0.0.1:{peer}")])
            .args([
                "--initial-advertise-peer-urls",
                &format!("https://{LOCAL}:{peer}"),
            ])
            .args(["--client-cert-auth", "--peer-client-cert-auth"])
            .arg("--data-dir")
            .arg(folder.join(format!("etcd-{peer}")));
        for prefix in ["--", "--peer-"] {
            for (name, file) in ["cert-file", "key-file", "trusted-ca-file"]
                .iter()
                .zip(&files.local)
            {
                command.arg(format!("{prefix}{name}")).arg(file);
            }
        }
        command
    };
    let running = Running::start(clients.iter().zip(&peers).map(member), sync_delay);
    let security = security(LOCAL);
    let addresses = clients.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let leader = leader(host, &addresses, &security).await;
    Some(Group {
        running,
        leader: leader.expect("a group that works"),
        security,
    })
}

/// Who leads, once somebody does.
async fn leader(
    host: &LiveHost,
    addresses: &[SocketAddr],
    security: &ClientSecurity,
) -> Option<SocketAddr> {
    let over = host.now() + START_MAX;
    while host.now() < over {
        for address in addresses {
            let channel = Channel::new(host, *address, security.clone(), Limits::default());
            let asked =
                call::<_, StatusReply>(channel, "/etcdserverpb.Maintenance/Status", Put::default());
            if let Ok(StatusReply {
                header: Some(header),
                leader,
            }) = asked.await
                && leader == header.member_id
            {
                return Some(*address);
            }
        }
        host.sleep_until(host.now() + Duration::from_millis(100))
            .await;
    }
    None
}

/// One write of a client.
pub(crate) async fn write(channel: Channel<LiveHost>, round: u64, own: usize, number: u64) {
    let change = pb::Change::from(&change(own, number)).encode_to_vec();
    let put = Put {
        key: target(own).into_bytes(),
        // As much as a command of the table is, which says who asked.
        value: [change, request_id(round, own, number).into_bytes()].concat(),
    };
    let reply: Result<PutReply, Status> = call(channel, "/etcdserverpb.KV/Put", put).await;
    reply.expect("the write is sound");
}

async fn call<Q, A>(
    channel: Channel<LiveHost>,
    method: &'static str,
    request: Q,
) -> Result<A, Status>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await?;
    let codec = ProstCodec::<Q, A>::default();
    let reply = client.unary(
        Request::new(request),
        PathAndQuery::from_static(method),
        codec,
    );
    Ok(reply.await?.into_inner())
}
