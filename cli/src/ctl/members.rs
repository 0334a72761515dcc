//! `ctl members` and `ctl leader`: the controllers themselves.

use anyedge_proto::control::v1::{Member, MembersReply};
use serde_json::{Value, json};

use super::session::Session;
use super::show;
use super::trouble::Trouble;
use crate::args::{LeaderCommand, MembersCommand};

const WHO_IS_THERE: &str = "`anyedge ctl members` lists who is there, and who leads";

/// Lists them, after a change if one is wanted.
pub(crate) async fn members(
    session: &Session,
    command: Option<&MembersCommand>,
    as_json: bool,
) -> Result<(), Trouble> {
    let reply = match command {
        None => session.client.members().await,
        Some(MembersCommand::Add { member }) => {
            let added = Member {
                id: member.0,
                address: member.1.to_string(),
                ..Member::default()
            };
            session.client.change_members(vec![added], vec![]).await
        }
        Some(MembersCommand::Remove { id }) => {
            session.client.change_members(vec![], vec![*id]).await
        }
    };
    let reply = reply.map_err(|status| Trouble::from(status).or_hint(WHO_IS_THERE))?;
    list(&reply, as_json)
}

/// Hands leadership over.
pub(crate) async fn leader(
    session: &Session,
    command: &LeaderCommand,
    as_json: bool,
) -> Result<(), Trouble> {
    let LeaderCommand::Transfer { id } = command;
    let asked = session.client.transfer_leader(*id).await;
    let reply = asked.map_err(|status| Trouble::from(status).or_hint(WHO_IS_THERE))?;
    list(&reply, as_json)
}

fn list(reply: &MembersReply, as_json: bool) -> Result<(), Trouble> {
    let member = |member: &Member| json!({ "id": member.id, "address": member.address, "role": member.role });
    let members: Vec<Value> = reply.members.iter().map(member).collect();
    if as_json {
        return show::json(&json!({ "members": members }));
    }
    show::print(&show::table_of(&members))?;
    match reply.leader {
        0 => show::print("nobody leads\n"),
        leader => show::print(&format!("member {leader} leads term {}\n", reply.term)),
    }
}
