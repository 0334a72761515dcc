//! `ctl apply`: a topology file becomes one command, all of it or nothing.

use std::path::Path;

use anyedge_ccn::table::Table;
use anyedge_ccn::table::change::{Change, PutMode};
use anyedge_ccn::table::object::{Kind, Object, Secret};
use anyedge_ccn::table::refusal::Reason;
use anyedge_net::flow::HashKey;
use anyedge_net::time::Instant;
use anyedge_topologies::{Topology, author};
use serde_json::{Value, json};

use super::kinds::{self, word};
use super::object_json::{differences, value};
use super::plan::{Plan, Step};
use super::session::Session;
use super::trouble::Trouble;
use crate::mistakes;

/// Times that somebody else may have changed the same at the same moment.
const ATTEMPTS_MAX: usize = 5;

/// What `apply` is asked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) prune: bool,
    pub(crate) dry_run: bool,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) plan: Plan,
    /// Of the table after it.
    pub(crate) revision: u64,
}

/// Reads a file; its mistakes are shown at once.
pub(crate) fn load(file: &Path) -> Result<Topology, Trouble> {
    Topology::load(file).map_err(|found| {
        mistakes::print(file, &found);
        Trouble::refused(
            format_args!("{} makes no table", file.display()),
            "the mistakes are above; `anyedge check` shows them too",
        )
    })
}

/// Applies `topology`.
pub(crate) async fn apply(
    session: &Session,
    topology: &Topology,
    wish: Wish,
) -> Result<Outcome, Trouble> {
    let key = session.new_hash_key()?;
    let mut author = author(topology, HashKey::new(key))?;
    author.publish(Instant::ZERO)?;
    let wanted = author.table();
    let mut left = ATTEMPTS_MAX;
    loop {
        left -= 1;
        let tried = attempt(session, wanted, key, wish).await;
        match tried {
            Err(trouble) if trouble.reason == Some(Reason::Revision) && left > 0 => {}
            tried => return tried,
        }
    }
}

async fn attempt(
    session: &Session,
    wanted: &Table,
    key: [u8; 16],
    wish: Wish,
) -> Result<Outcome, Trouble> {
    let (mut revision, found) = session.objects().await?;
    let plan = Plan::new(wanted, &found, wish.prune);
    if wish.dry_run || plan.steps.is_empty() {
        return Ok(Outcome { plan, revision });
    }
    let changes = plan.changes();
    let is_first = found.keys().all(|key| key.kind != Kind::Region);
    let mut reply = Err(Trouble::failed("nothing was sent"));
    if is_first {
        // Flows need a key that nobody knows; who comes later finds one.
        let secret = Object::Secret(Secret {
            name: Secret::SLOT_HASH_KEY.to_owned(),
            value: key.to_vec(),
        });
        let secret = Change::Put(secret, PutMode::Create);
        let all = [&[secret], &changes[..]].concat();
        reply = session.write(all, &plan.conditions).await;
    }
    let is_taken = |trouble: &Trouble| trouble.reason == Some(Reason::Duplicate);
    if !is_first || reply.as_ref().is_err_and(is_taken) {
        reply = session.write(changes, &plan.conditions).await;
    }
    revision = revision.max(reply?.revision);
    Ok(Outcome { plan, revision })
}

impl Outcome {
    /// For people: a line for each object, and a sum.
    pub(crate) fn lines(&self, wish: Wish) -> String {
        let mut text = String::new();
        for step in &self.plan.steps {
            text += &line(step);
            text.push('\n');
        }
        let count = |wanted: (bool, bool)| {
            let steps = self.plan.steps.iter();
            steps
                .filter(|step| (step.before.is_some(), step.after.is_some()) == wanted)
                .count()
        };
        let (added, changed, removed) = (
            count((false, true)),
            count((true, true)),
            count((true, false)),
        );
        text += &match (self.plan.steps.is_empty(), wish.dry_run) {
            (true, _) => format!(
                "no change: revision {} is what the file says\n",
                self.revision
            ),
            (false, true) => {
                format!("would add {added}, change {changed}, remove {removed}; nothing was done\n")
            }
            (false, false) => format!(
                "revision {}: {added} added, {changed} changed, {removed} removed\n",
                self.revision
            ),
        };
        if !self.plan.strays.is_empty() {
            let names: Vec<String> = self
                .plan
                .strays
                .iter()
                .take(5)
                .map(ToString::to_string)
                .collect();
            let more = self.plan.strays.len().saturating_sub(names.len());
            let more = if more == 0 {
                String::new()
            } else {
                format!(" and {more} more")
            };
            text += &format!(
                "not in the file, and left: {}{more} (--prune removes what the file does not have)\n",
                names.join(", ")
            );
        }
        text
    }

    /// For programs.
    pub(crate) fn json(&self, wish: Wish) -> Value {
        let side = |object: &Option<Object>| object.as_ref().map_or(Value::Null, value);
        let step = |step: &Step| {
            json!({
                "kind": word(step.key.kind), "name": step.key.name,
                "before": side(&step.before), "after": side(&step.after),
            })
        };
        let steps: Vec<Value> = self.plan.steps.iter().map(step).collect();
        let strays: Vec<String> = self.plan.strays.iter().map(ToString::to_string).collect();
        json!({
            "revision": self.revision, "applied": !wish.dry_run, "changes": steps, "left": strays,
        })
    }
}

/// `~ target gz-main/web/10.0.0.12:8080: weight 20 -> 30`.
fn line(step: &Step) -> String {
    let what = format!("{} {}", kinds::word(step.key.kind), step.key.name);
    match (&step.before, &step.after) {
        (Some(before), Some(after)) => {
            let fields = differences(&value(before), &value(after));
            format!("~ {what}: {}", fields.join(", "))
        }
        (None, _) => format!("+ {what}"),
        (Some(_), None) => format!("- {what}"),
    }
}
