//! One talk with the controllers: the client, and the few things that every command needs of it.

use std::time::Duration;

use anyedge_ccn::api::client::Client;
use anyedge_ccn::table::change::{Change, Condition};
use anyedge_ccn::table::object::{Kind, Object};
use anyedge_ccn::table::refusal::Refusal;
use anyedge_live::foreground::Foreground;
use anyedge_live::host::LiveHost;
use anyedge_proto::control::v1::{ListRequest, WriteOptions, WriteReply};
use anyedge_proto::table::v1 as pb;

use super::kinds;
use super::place::Place;
use super::plan::Found;
use super::trouble::Trouble;

/// Who asks, and whom.
pub(crate) struct Session {
    pub(crate) client: Client<LiveHost>,
}

impl Session {
    /// A session with the controllers at `place`.
    pub(crate) fn new(
        host: &LiveHost,
        place: &Place,
        patience: Duration,
    ) -> Result<Session, Trouble> {
        let loaded = place.security.load(host);
        let loaded =
            loaded.map_err(|error| Trouble::refused(format_args!("{error:#}"), "PEM files"))?;
        let client = Client::new(host, place.servers.clone(), loaded.client);
        Ok(Session {
            client: client.within(patience),
        })
    }

    /// Has all of `changes` applied, or none, on conditions.
    pub(crate) async fn write(
        &self,
        changes: Vec<Change>,
        conditions: &[Condition],
    ) -> Result<WriteReply, Trouble> {
        let options = WriteOptions {
            conditions: conditions.iter().map(condition).collect(),
            ..WriteOptions::default()
        };
        let changes = changes.iter().map(pb::Change::from).collect();
        let reply = self.client.apply_with(options, changes).await?;
        match troubles(&reply)?.into_iter().next() {
            Some(trouble) => Err(trouble),
            None => Ok(reply),
        }
    }

    /// Has a change of that many items applied, of which some may be refused and others not.
    pub(crate) async fn batch(&self, change: Change, items: usize) -> Result<WriteReply, Trouble> {
        let changes = vec![pb::Change::from(&change)];
        let options = WriteOptions::default();
        let reply = self.client.apply_with(options, changes).await?;
        let troubles = troubles(&reply)?;
        let Some(first) = troubles.first() else {
            return Ok(reply);
        };
        if items == 1 {
            return Err(first.clone());
        }
        let told: Vec<&str> = troubles.iter().map(|it| it.message.as_str()).collect();
        let refused = troubles.len();
        let message = format!(
            "{refused} of {items} were refused, the others are done in revision {}:\n  {}",
            reply.revision,
            told.join("\n  ")
        );
        Err(Trouble {
            message,
            ..first.clone()
        })
    }

    /// Has one change applied.
    pub(crate) async fn change(&self, change: Change) -> Result<WriteReply, Trouble> {
        self.write(vec![change], &[]).await
    }

    /// Objects of a kind with the revisions of their last changes.
    pub(crate) async fn list(
        &self,
        kind: Kind,
        prefix: &str,
    ) -> Result<Vec<(u64, Object)>, Trouble> {
        let entries = self.client.list_all(kind, prefix).await?;
        entries.iter().map(read).collect()
    }

    /// All objects but secrets, and the revision that was at the beginning.
    pub(crate) async fn objects(&self) -> Result<(u64, Found), Trouble> {
        let revision = self.revision().await?;
        let mut found = Found::new();
        for kind in kinds::shown() {
            for (revision, object) in self.list(kind, "").await? {
                found.insert(object.key(), (revision, object));
            }
        }
        Ok((revision, found))
    }

    /// The table's revision.
    pub(crate) async fn revision(&self) -> Result<u64, Trouble> {
        let one = ListRequest {
            limit: 1,
            ..ListRequest::default()
        };
        Ok(self.client.list(Kind::Region, one).await?.revision)
    }

    /// A key for flows that nobody knows.
    pub(crate) fn new_hash_key(&self) -> Result<[u8; 16], Trouble> {
        Foreground::secret().map_err(|error| Trouble::failed(format_args!("{error:#}")))
    }
}

fn condition(condition: &Condition) -> pb::Condition {
    pb::Condition {
        key: Some((&condition.key).into()),
        revision: condition.revision,
    }
}

/// An object that a controller told.
pub(crate) fn read(entry: &pb::Entry) -> Result<(u64, Object), Trouble> {
    let object = entry.object.as_ref();
    let object = object.ok_or_else(|| Trouble::failed("an entry without an object"))?;
    Ok((entry.revision, Object::try_from(object)?))
}

/// What was refused of a command that was done.
fn troubles(reply: &WriteReply) -> Result<Vec<Trouble>, Trouble> {
    let refusals = reply.failures.iter().filter_map(|it| it.refusal.as_ref());
    let troubles = refusals.map(|refusal| Ok(Refusal::try_from(refusal)?.into()));
    troubles.collect()
}
