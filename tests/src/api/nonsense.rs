//! Calls with whatever bytes, while others write: each is answered, none changes anything, and nobody is slowed.
//!
//! The bytes begin as messages that make sense and are changed at a few places, cut or drawn freely, so that they get
//! past one check and another. They come from one who may read only, so that none that makes sense by chance is applied.

use core::time::Duration;

use anyedge_ccn::api::client::Client;
use anyedge_ccn::rpc::{Channel, Limits, Role, ServerSecurity};
use anyedge_ccn::table::change::{Change, PutMode};
use anyedge_ccn::table::object::{Key, Kind, Object};
use anyedge_net::host::Host;
use anyedge_net::rng::Rng;
use anyedge_proto::control::v1 as pb;
use anyedge_proto::table::v1 as table;
use bytes::{Buf as _, BufMut as _, Bytes};
use futures_util::future::join;
use http::uri::PathAndQuery;
use prost::Message as _;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Status};

use super::methods::all;
use super::writes::region;
use super::{alone, network, same, says, serve_too};
use crate::conformance::{Finding, Pair};

/// Methods that take one message and give one.
const METHODS: [&str; 12] = [
    "/anyedge.control.v1.Table/Apply",
    "/anyedge.control.v1.Table/Get",
    "/anyedge.control.v1.Table/List",
    "/anyedge.control.v1.Table/Pending",
    "/anyedge.control.v1.Clb/Create",
    "/anyedge.control.v1.Target/Register",
    "/anyedge.control.v1.Target/SetWeight",
    "/anyedge.control.v1.Vip/Bind",
    "/anyedge.control.v1.Ccn/EnableRoutes",
    "/anyedge.control.v1.Ground/Put",
    "/anyedge.control.v1.Members/Change",
    "/anyedge.control.v1.Task/Get",
];
/// Calls in all.
const CALLS: u64 = 400;
/// Writes beside them.
const WRITES: usize = 60;
/// The longest that one write may take: a call that has to be repeated takes longer.
const WRITE_MAX: Duration = Duration::from_secs(3);

/// Bytes as they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Messages that make sense, to one method or another.
fn sensible() -> Vec<Vec<u8>> {
    let changes = network().iter().map(table::Change::from).collect();
    let apply = pb::ApplyRequest {
        options: None,
        changes: Some(table::Changes { changes }),
    };
    let get = pb::GetRequest {
        options: None,
        key: Some((&Key::new(Kind::Vip, "game")).into()),
    };
    let object = network().into_iter().find_map(|change| match change {
        Change::Put(object @ Object::Clb(_), _) => Some(object),
        _ => None,
    });
    let put = pb::PutRequest {
        object: object.as_ref().map(table::Object::from),
        ..pb::PutRequest::default()
    };
    vec![
        apply.encode_to_vec(),
        get.encode_to_vec(),
        put.encode_to_vec(),
    ]
}

/// Whatever bytes.
fn drawn(rng: &mut Rng, sensible: &[Vec<u8>]) -> Bytes {
    let mut bytes = sensible[rng.below(sensible.len() as u64) as usize].clone();
    match rng.below(4) {
        0 => {
            bytes.resize(rng.below(2_000) as usize, 0);
            rng.fill(&mut bytes);
        }
        1 => bytes.truncate(rng.below(1 + bytes.len() as u64) as usize),
        // Larger than a message may be.
        2 if rng.below(8) == 0 => bytes.resize((4 << 20) + 1, 0x0a),
        _ => {
            for _ in 0..1 + rng.below(4) {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.bits() as u8;
            }
        }
    }
    bytes.into()
}

async fn disturb<H: Host>(channel: Channel<H>, mut rng: Rng) -> Finding {
    let sensible = sensible();
    for _ in 0..CALLS {
        let path = METHODS[rng.below(METHODS.len() as u64) as usize];
        let mut grpc = Grpc::new(channel.clone());
        grpc.ready().await.map_err(says)?;
        let request = Request::new(drawn(&mut rng, &sensible));
        let path = PathAndQuery::from_static(path);
        let answer = grpc.unary(request, path.clone(), Raw).await;
        let code = answer.map_or_else(|status| status.code(), |_| Code::Ok);
        // Reads that make sense by chance are answered; nothing else may come of it.
        let expected = [
            Code::Ok,
            Code::Internal,
            Code::InvalidArgument,
            Code::NotFound,
            Code::OutOfRange,
            Code::PermissionDenied,
            Code::Aborted,
        ];
        if !expected.contains(&code) {
            return Err(format!("{path}: {code}"));
        }
    }
    Ok(())
}

async fn write<H: Host>(host: &H, client: &Client<H>) -> Finding {
    for number in 0..WRITES {
        let called = host.now();
        let put = region(&format!("region-{number}"), PutMode::Create);
        let reply = client.apply(&[put]).await.map_err(says)?;
        same("repeated", reply.repeated_request, false)?;
        same("slow", host.now().since(called) > WRITE_MAX, false)?;
    }
    Ok(())
}

pub(super) async fn whatever_comes_is_answered_and_no_write_is_lost<H: Host>(
    pair: Pair<H>,
) -> Finding {
    let (member, client) = alone(&pair).await?;
    let security = ServerSecurity::Plain(Role::ReadOnly);
    let (_server, at) = serve_too(&pair, &member, security, Limits::default())?;
    let guests = super::client(&pair, &[at]);
    let disturbing = disturb(guests.channel(at), pair.a.rng("nonsense"));
    let (wrote, disturbed) = join(write(&pair.a, &client), disturbing).await;
    wrote?;
    disturbed?;
    // The first is the network's.
    let regions = all(&guests, Kind::Region).await?.len();
    same("regions", regions, 1 + WRITES)
}
