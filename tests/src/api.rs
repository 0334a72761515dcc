//! What the control API promises, written once and run in each world.
//!
//! A case has one controller on the second machine, or one on each, and clients on the first. The table begins with a
//! small network: two POPs, region guangzhou with two CLB nodes, load balancer `main` and VIP `game`.

mod guests;
mod methods;
mod nonsense;
mod reads;
mod refusals;
mod whole;
mod writes;

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeMap;
use std::fmt::Debug;

use anyedge_ccn::api::client::Client;
use anyedge_ccn::api::{Api, refusal_of};
use anyedge_ccn::controller::{Config, Controller};
use anyedge_ccn::keeper::{Keeper, Patience};
use anyedge_ccn::rpc::{ClientSecurity, Limits, Role, Server, ServerSecurity};
use anyedge_ccn::table::Table;
use anyedge_ccn::table::change::{Change, PutMode};
use anyedge_ccn::table::object::Object;
use anyedge_net::flow::HashKey;
use anyedge_net::host::{Host, TcpListener as _};
use anyedge_net::time::Instant;
use anyedge_topologies::Topology;
use tonic::{Code, Status};

use crate::conformance::{Case, Finding, Pair, case_list};
use crate::ground::ground;

/// Followers wait this long for a leader, or up to twice as long.
const ELECTION: Duration = Duration::from_millis(150);
const BACKLOG: usize = 64;

const DEFAULTS: &str = "\
schema = 1
name = \"api\"

[defaults]
probe = false
routes = \"static\"
";

/// Every case, in the order of the files.
pub fn cases<H: Host>() -> Vec<Case<H>> {
    case_list! {
        methods:
            load_balancers_come_change_and_go,
            targets_are_done_in_batches,
            vips_are_bound_and_published,
            ports_are_leased_and_routes_turned_on,
            security_groups_come_are_bound_and_go,
            servers_of_a_group_come_and_go,
            the_ground_is_put_drained_and_removed,
            everything_is_described_and_healthy;
        writes:
            a_repeated_request_applies_once,
            of_two_that_compare_one_sets,
            a_stage_waits_until_it_is_applied,
            what_became_of_a_request_is_told;
        reads:
            lists_come_in_pages,
            a_revision_is_waited_for;
        refusals:
            every_refusal_has_its_code_and_reason,
            roles_allow_what_is_theirs;
        nonsense:
            whatever_comes_is_answered_and_no_write_is_lost;
        guests:
            bytes_that_are_none_hurt_nobody,
            a_watcher_that_never_reads_hurts_nobody,
            certificates_say_who_may;
        whole:
            watchers_see_all_but_secrets,
            a_backup_is_restored,
            a_backup_larger_than_an_entry_is_refused;
    }
}

/// Those with a member on each machine, where a machine reaches itself.
pub fn cases_of_two<H: Host>() -> Vec<Case<H>> {
    case_list! {
        writes:
            a_repeated_request_applies_once_also_through_another_leader;
        reads:
            a_member_that_does_not_lead_says_who_does,
            members_are_listed_and_led_by_another;
    }
}

/// A member and what it serves.
struct Member<H: Host> {
    api: Api<H>,
    at: SocketAddr,
    _server: Server,
}

/// A member on the second machine, and a client of it on the first; the network is in its table.
async fn alone<H: Host>(pair: &Pair<H>) -> Result<(Member<H>, Client<H>), String> {
    let listener = listen(&pair.b, pair.b_address)?;
    let peers = BTreeMap::from([(1, listener.local_addr())]);
    let member = start(&pair.b, 1, &peers, listener).await?;
    let client = client(pair, &[member.at]);
    client.apply(&network()).await.map_err(says)?;
    Ok((member, client))
}

/// A member on each machine, and a client that knows both.
async fn both<H: Host>(pair: &Pair<H>) -> Result<([Member<H>; 2], Client<H>), String> {
    let near = listen(&pair.a, pair.a_address)?;
    let far = listen(&pair.b, pair.b_address)?;
    let peers = BTreeMap::from([(1, near.local_addr()), (2, far.local_addr())]);
    let members = [
        start(&pair.a, 1, &peers, near).await?,
        start(&pair.b, 2, &peers, far).await?,
    ];
    let client = client(pair, &[members[0].at, members[1].at]);
    client.apply(&network()).await.map_err(says)?;
    Ok((members, client))
}

async fn start<H: Host>(
    host: &H,
    id: u64,
    peers: &BTreeMap<u64, SocketAddr>,
    listener: H::Listener,
) -> Result<Member<H>, String> {
    let config = Config::new(id, peers.clone(), ELECTION);
    start_with(host, config, listener).await
}

async fn start_with<H: Host>(
    host: &H,
    config: Config,
    listener: H::Listener,
) -> Result<Member<H>, String> {
    let controller = Controller::start(host, config, Table::new()).await;
    let controller = controller.map_err(|error| error.to_string())?;
    let keeper = Keeper::start(host, &controller, Patience::default());
    let api = Api::new(host, controller, keeper);
    let at = listener.local_addr();
    let security = ServerSecurity::Plain(Role::Operator);
    let server = Server::serve(host, listener, api.routes(), security, Limits::default());
    Ok(Member {
        api,
        at,
        _server: server,
    })
}

fn listen<H: Host>(host: &H, address: IpAddr) -> Result<H::Listener, String> {
    let listener = host.tcp_listen(SocketAddr::new(address, 0), BACKLOG);
    listener.map_err(|error| error.to_string())
}

/// The same services of a member on the second machine, at a port of their own.
fn serve_too<H: Host>(
    pair: &Pair<H>,
    member: &Member<H>,
    security: ServerSecurity,
    limits: Limits,
) -> Result<(Server, SocketAddr), String> {
    let listener = listen(&pair.b, pair.b_address)?;
    let at = listener.local_addr();
    let routes = member.api.routes();
    let server = Server::serve(&pair.b, listener, routes, security, limits);
    Ok((server, at))
}

fn client<H: Host>(pair: &Pair<H>, servers: &[SocketAddr]) -> Client<H> {
    Client::new(&pair.a, servers.to_vec(), ClientSecurity::Plain)
}

/// The network's objects.
fn network() -> Vec<Change> {
    let text = format!("{DEFAULTS}{}", ground(["52ms", "55ms"], 2, 2));
    let topology = Topology::parse("api.toml", &text).expect("the network makes sense");
    let author = anyedge_topologies::author(&topology, HashKey::new([7; 16]));
    let mut author = author.expect("the network makes sense");
    let published = author.publish(Instant::ZERO);
    published.expect("the network makes sense");
    let objects = author.table().restorable();
    let put = |object: Object| Change::Put(object, PutMode::Ensure);
    objects.into_iter().map(put).collect()
}

/// Nothing, when both are the same.
fn same<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Finding {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: {found:?}, expected {expected:?}"))
}

/// Nothing, when it was refused so.
fn refused<T>(what: &str, outcome: Result<T, Status>, code: Code, reason: &str) -> Finding {
    let Err(status) = outcome else {
        return Err(format!("{what}: done, expected {code:?}"));
    };
    let refusal = refusal_of(&status);
    let found = refusal.map_or("none", |refusal| refusal.reason.name());
    if (status.code(), found) == (code, reason) {
        return Ok(());
    }
    Err(format!("{what}: {status:?}, expected {code:?} {reason}"))
}

fn says(status: Status) -> String {
    format!("{status:?}")
}
