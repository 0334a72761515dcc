//! Between the table's own values and protobuf messages, both ways.
//!
//! Reading refuses what has no shape: an address of 5 bytes, an unknown kind, an object that is not there. Whether
//! a value is in its range is not asked here but where a command is applied.

mod autoscaling;
mod balancer;
mod changes;
mod ground;
mod security;
mod settings;

use core::time::Duration;
use std::sync::Arc;

use anyedge_net::flow::{Address, HashKey};
use anyedge_net::time::Instant;
use anyedge_proto::table::v1 as pb;
use prost::Message as _;

use super::Entry;
use super::change::{Change, Command, Condition};
use super::delta::{Delta, Failure, Outcome};
use super::membership::Membership;
use super::object::{Key, Kind, Network, Object};
use super::refusal::{Code, Reason, Refusal};

/// The key of fingerprints: they tell accidents apart, not attacks.
const FINGERPRINT_KEY: HashKey = HashKey::new(*b"a change's print");

pub(super) fn format(what: impl core::fmt::Display) -> Refusal {
    Reason::Format.because(what)
}

/// A hash of a change.
pub(super) fn fingerprint(change: &Change) -> u64 {
    FINGERPRINT_KEY.hash_bytes(&pb::Change::from(change).encode_to_vec())
}

pub(super) fn address_from(bytes: &[u8]) -> Result<Address, Refusal> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(Address::v4(v4));
    }
    let v6 = <[u8; 16]>::try_from(bytes);
    let v6 = v6.map_err(|_| format(format_args!("an address of {} bytes", bytes.len())))?;
    Ok(Address::v6(v6))
}

pub(super) fn addresses_from(all: &[Vec<u8>]) -> Result<Vec<Address>, Refusal> {
    all.iter().map(|bytes| address_from(bytes)).collect()
}

pub(super) fn address_to(address: &Address) -> Vec<u8> {
    address.octets().to_vec()
}

pub(super) fn addresses_to(addresses: &[Address]) -> Vec<Vec<u8>> {
    addresses.iter().map(address_to).collect()
}

pub(super) fn network_from(network: Option<&pb::Network>) -> Result<Network, Refusal> {
    let network = network.ok_or_else(|| Reason::Missing.because("a network"))?;
    Ok(Network {
        address: address_from(&network.address)?,
        length: network.length,
    })
}

pub(super) fn network_to(network: Network) -> Option<pb::Network> {
    Some(pb::Network {
        address: address_to(&network.address),
        length: network.length,
    })
}

pub(super) fn nanos_to(duration: Duration) -> u64 {
    anyedge_net::time::nanos(duration)
}

pub(super) const fn membership_to(membership: Membership) -> pb::Membership {
    match membership {
        Membership::In => pb::Membership::In,
        Membership::Drained => pb::Membership::Drained,
        Membership::Lost => pb::Membership::Lost,
        Membership::Absent => pb::Membership::Absent,
    }
}

pub(super) fn membership_from(number: i32) -> Result<Membership, Refusal> {
    Ok(match choice::<pb::Membership>(number, "membership")? {
        pb::Membership::In => Membership::In,
        pb::Membership::Drained => Membership::Drained,
        pb::Membership::Lost => Membership::Lost,
        pb::Membership::Absent => Membership::Absent,
    })
}

/// The value of an enumeration with that number.
pub(super) fn choice<T: TryFrom<i32>>(number: i32, what: &str) -> Result<T, Refusal> {
    T::try_from(number).map_err(|_| format(format_args!("{number} is no {what}")))
}

impl From<&Key> for pb::Key {
    fn from(key: &Key) -> pb::Key {
        pb::Key {
            kind: key.kind as i32,
            name: key.name.clone(),
        }
    }
}

pub(super) fn kind_from(number: i32) -> Result<Kind, Refusal> {
    let found = Kind::ALL.iter().find(|kind| **kind as i32 == number);
    let found = found.ok_or_else(|| format(format_args!("{number} is no kind")))?;
    Ok(*found)
}

impl TryFrom<&pb::Key> for Key {
    type Error = Refusal;

    fn try_from(key: &pb::Key) -> Result<Key, Refusal> {
        Ok(Key::new(kind_from(key.kind)?, key.name.as_str()))
    }
}

pub(super) fn key_from(key: Option<&pb::Key>) -> Result<Key, Refusal> {
    key.ok_or_else(|| Reason::Missing.because("a key"))?
        .try_into()
}

impl From<&Entry> for pb::Entry {
    fn from(entry: &Entry) -> pb::Entry {
        pb::Entry {
            revision: entry.revision,
            object: Some((&*entry.object).into()),
        }
    }
}

pub(super) fn object_from(object: Option<&pb::Object>) -> Result<Object, Refusal> {
    object
        .ok_or_else(|| Reason::Missing.because("an object"))?
        .try_into()
}

impl From<&Command> for pb::Command {
    fn from(command: &Command) -> pb::Command {
        let conditions = command.conditions.iter();
        let condition = |condition: &Condition| pb::Condition {
            key: Some((&condition.key).into()),
            revision: condition.revision,
        };
        pb::Command {
            request_id: command.request_id.clone(),
            at: command.at.as_nanos(),
            conditions: conditions.map(condition).collect(),
            change: Some((&command.change).into()),
        }
    }
}

impl TryFrom<&pb::Command> for Command {
    type Error = Refusal;

    fn try_from(command: &pb::Command) -> Result<Command, Refusal> {
        let change = command.change.as_ref();
        let change = change.ok_or_else(|| Reason::Missing.because("a change"))?;
        let conditions = command.conditions.iter().map(Condition::try_from);
        Ok(Command {
            request_id: command.request_id.clone(),
            at: Instant::from_nanos(command.at),
            conditions: conditions.collect::<Result<_, Refusal>>()?,
            change: change.try_into()?,
        })
    }
}

impl TryFrom<&pb::Condition> for Condition {
    type Error = Refusal;

    fn try_from(condition: &pb::Condition) -> Result<Condition, Refusal> {
        Ok(Condition {
            key: key_from(condition.key.as_ref())?,
            revision: condition.revision,
        })
    }
}

impl From<&Refusal> for pb::Refusal {
    fn from(refusal: &Refusal) -> pb::Refusal {
        pb::Refusal {
            code: refusal.code as i32,
            reason: refusal.reason.name().to_owned(),
            message: refusal.message.clone(),
        }
    }
}

impl TryFrom<&pb::Refusal> for Refusal {
    type Error = Refusal;

    fn try_from(refusal: &pb::Refusal) -> Result<Refusal, Refusal> {
        let reason = Reason::named(&refusal.reason);
        let reason = reason.ok_or_else(|| format("a reason that nobody knows"))?;
        let found = reason.because(&refusal.message);
        let is_its: fn(Code, i32) -> bool = |code, number| code as i32 == number;
        if !is_its(found.code, refusal.code) {
            return Err(format("a code that is not its reason's"));
        }
        Ok(found)
    }
}

impl From<&Outcome> for pb::Outcome {
    fn from(outcome: &Outcome) -> pb::Outcome {
        let failure = |failure: &Failure| pb::Failure {
            item: failure.item,
            refusal: Some((&failure.refusal).into()),
        };
        pb::Outcome {
            request_id: outcome.request_id.clone(),
            fingerprint: outcome.fingerprint,
            revision: outcome.revision,
            failures: outcome.failures.iter().map(failure).collect(),
            created: outcome.created.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<&pb::Outcome> for Outcome {
    type Error = Refusal;

    fn try_from(outcome: &pb::Outcome) -> Result<Outcome, Refusal> {
        let failure = |failure: &pb::Failure| {
            let refusal = failure.refusal.as_ref();
            let refusal = refusal.ok_or_else(|| Reason::Missing.because("a refusal"))?;
            Ok(Failure {
                item: failure.item,
                refusal: refusal.try_into()?,
            })
        };
        let failures = outcome.failures.iter().map(failure);
        let created = outcome.created.iter().map(Key::try_from);
        Ok(Outcome {
            request_id: outcome.request_id.clone(),
            fingerprint: outcome.fingerprint,
            revision: outcome.revision,
            failures: failures.collect::<Result<_, Refusal>>()?,
            created: created.collect::<Result<_, Refusal>>()?,
        })
    }
}

impl From<&Delta> for pb::Delta {
    fn from(delta: &Delta) -> pb::Delta {
        let changed = |(key, object): &(Key, Option<Arc<Object>>)| pb::Changed {
            key: Some(key.into()),
            object: object.as_ref().map(|object| (&**object).into()),
        };
        pb::Delta {
            revision: delta.revision,
            at: delta.at.as_nanos(),
            changes: delta.changes.iter().map(changed).collect(),
            outcome: Some((&delta.outcome).into()),
        }
    }
}

impl TryFrom<&pb::Delta> for Delta {
    type Error = Refusal;

    fn try_from(delta: &pb::Delta) -> Result<Delta, Refusal> {
        let changed = |changed: &pb::Changed| {
            let key = key_from(changed.key.as_ref())?;
            let object = changed.object.as_ref().map(Object::try_from).transpose()?;
            if object.as_ref().is_some_and(|object| object.key() != key) {
                return Err(format(format_args!("an object that is not {key}")));
            }
            Ok((key, object.map(Arc::new)))
        };
        let changes = delta.changes.iter().map(changed);
        let outcome = delta.outcome.as_ref();
        let outcome = outcome.ok_or_else(|| Reason::Missing.because("an outcome"))?;
        Ok(Delta {
            revision: delta.revision,
            at: Instant::from_nanos(delta.at),
            changes: changes.collect::<Result<_, Refusal>>()?,
            outcome: outcome.try_into()?,
            repeated: false,
        })
    }
}
