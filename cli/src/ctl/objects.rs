//! `ctl get`, `drain`, `vip`: objects of any kind, and the verbs that a word on the command line is enough for.

use anyedge_ccn::table::change::Change;
use anyedge_ccn::table::membership::Membership;
use anyedge_ccn::table::object::{Key, Kind};
use anyedge_proto::control::v1::ReadOptions;
use serde_json::{Map, Value, json};

use super::kinds::{self, word};
use super::object_json::value;
use super::session::{Session, read};
use super::show;
use super::trouble::Trouble;
use crate::args::VipCommand;

/// How many of each kind there are.
pub(crate) async fn count(session: &Session, as_json: bool) -> Result<(), Trouble> {
    let (revision, found) = session.objects().await?;
    let mut counts = Map::new();
    for kind in kinds::shown() {
        let count = found.keys().filter(|key| key.kind == kind).count();
        counts.insert(word(kind), json!(count));
    }
    if as_json {
        return show::json(&json!({ "revision": revision, "objects": counts }));
    }
    let rows = counts.iter().filter(|(_, count)| **count != json!(0));
    let rows = rows.map(|(kind, count)| vec![kind.clone(), count.to_string()]);
    show::print(&show::table(&["kind", "objects"], rows))?;
    show::print(&format!("revision {revision}\n"))
}

/// All of a kind.
pub(crate) async fn list(session: &Session, kind: &str, as_json: bool) -> Result<(), Trouble> {
    let kind = kinds::read(kind)?;
    let found = session.list(kind, "").await?;
    if as_json {
        let entry = |(revision, object): &_| shown(kind, *revision, object);
        let entries: Vec<Value> = found.iter().map(entry).collect();
        return show::json(&json!({ "objects": entries }));
    }
    if found.is_empty() {
        return show::print(&format!("there is no {}\n", kind.say()));
    }
    let objects: Vec<Value> = found.iter().map(|(_, object)| value(object)).collect();
    show::print(&show::table_of(&objects))
}

/// One object.
pub(crate) async fn one(
    session: &Session,
    kind: &str,
    name: &str,
    as_json: bool,
) -> Result<(), Trouble> {
    let kind = kinds::read(kind)?;
    let key = Key::new(kind, name);
    let reply = session.client.get(ReadOptions::default(), &key).await?;
    let Some(entry) = reply.entry else {
        return Err(Trouble::refused(
            format_args!("{key} does not exist"),
            &format!("anyedge ctl get {}", word(kind)),
        ));
    };
    let (revision, object) = read(&entry)?;
    if as_json {
        return show::json(&shown(kind, revision, &object));
    }
    show::print(&show::card(&value(&object)))?;
    show::print(&format!("last changed in revision {revision}\n"))
}

fn shown(kind: Kind, revision: u64, object: &anyedge_ccn::table::object::Object) -> Value {
    json!({
        "kind": word(kind), "name": object.name(), "revision": revision, "object": value(object),
    })
}

/// Empties a node or a path, or takes it back.
pub(crate) async fn drain(
    session: &Session,
    name: &str,
    undo: bool,
    as_json: bool,
) -> Result<(), Trouble> {
    let change = if name.starts_with("pop.") {
        Change::SetDraining(Key::new(Kind::Pop, name), !undo)
    } else if name.starts_with("region.") && name.matches('.').count() > 1 {
        let membership = if undo {
            Membership::In
        } else {
            Membership::Drained
        };
        Change::SetMember {
            clb_node: name.to_owned(),
            membership: Some(membership),
            weight: None,
        }
    } else {
        Change::SetDraining(Key::new(Kind::Path, name), !undo)
    };
    let reply = session.change(change).await?;
    let what = if undo { "taken back" } else { "draining" };
    done(reply.revision, &format!("{name} {what}"), as_json)
}

/// Has a VIP announced, or not.
pub(crate) async fn vip(
    session: &Session,
    command: &VipCommand,
    as_json: bool,
) -> Result<(), Trouble> {
    let (vip, published, at) = match command {
        VipCommand::Publish { vip, at } => (vip, true, &at[..]),
        VipCommand::Withdraw { vip } => (vip, false, &[][..]),
    };
    let mut changes = vec![Change::SetPublished {
        vip: vip.clone(),
        published,
    }];
    if !at.is_empty() {
        let full = |pop: &String| match pop.starts_with("pop.") {
            true => pop.clone(),
            false => format!("pop.{pop}"),
        };
        changes.push(Change::SetPublishDomain {
            vip: vip.clone(),
            publish: at.iter().map(full).collect(),
        });
    }
    let reply = session.write(changes, &[]).await?;
    let what = if published { "published" } else { "withdrawn" };
    done(reply.revision, &format!("vip {vip} {what}"), as_json)
}

/// Says what was done.
pub(crate) fn done(revision: u64, what: &str, as_json: bool) -> Result<(), Trouble> {
    if as_json {
        return show::json(&json!({ "revision": revision }));
    }
    show::print(&format!("revision {revision}: {what}\n"))
}
