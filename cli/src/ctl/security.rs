//! `ctl security-group`: rules of who may open flows, and who has them.

use anyedge_ccn::table::change::{Change, PutMode};
use anyedge_ccn::table::object::{Key, Kind, Kinded as _, SecurityGroup, SecurityRule};
use anyedge_net::security_group::{Direction, Rule};

use super::objects::done;
use super::session::Session;
use super::trouble::Trouble;
use crate::args::SecurityGroupCommand;

/// Does what `command` says.
pub(crate) async fn change(
    session: &Session,
    command: &SecurityGroupCommand,
    as_json: bool,
) -> Result<(), Trouble> {
    let (change, what) = match command {
        SecurityGroupCommand::Set {
            group,
            ingress,
            egress,
        } => {
            let mut rules = read(Direction::Ingress, ingress)?;
            rules.extend(read(Direction::Egress, egress)?);
            let what = format!("security group {group} has {} rules", rules.len());
            let name = group.clone();
            let group = SecurityGroup { name, rules };
            (Change::Put(group.into_object(), PutMode::Ensure), what)
        }
        SecurityGroupCommand::Remove { group } => {
            let key = Key::new(Kind::SecurityGroup, group);
            (
                Change::Remove(key),
                format!("security group {group} removed"),
            )
        }
        SecurityGroupCommand::Bind { object, groups } => {
            let change = Change::SetSecurityGroups {
                key: owner(object)?,
                groups: groups.clone(),
            };
            let names = match groups.is_empty() {
                true => "none".to_owned(),
                false => groups.join(", "),
            };
            (change, format!("security groups of {object}: {names}"))
        }
    };
    let reply = session.change(change).await?;
    done(reply.revision, &what, as_json)
}

fn read(direction: Direction, texts: &[String]) -> Result<Vec<SecurityRule>, Trouble> {
    let rule = |text: &String| {
        let rule = Rule::parse(direction, text);
        let wrong = |error: anyedge_net::security_group::RuleError| {
            Trouble::refused(format_args!("\"{text}\": {error}"), error.hint())
        };
        rule.map(|rule| SecurityRule::from(&rule)).map_err(wrong)
    };
    texts.iter().map(rule).collect()
}

/// Who is to have groups.
fn owner(object: &str) -> Result<Key, Trouble> {
    match object.split_once('.') {
        Some(("clb", name)) => Ok(Key::new(Kind::Clb, name)),
        Some(("host", _)) => Ok(Key::new(Kind::Host, object)),
        _ => Err(Trouble::refused(
            format_args!("`{object}` is no load balancer and no host"),
            "clb.NAME or host.NAME, such as clb.gz-main",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_and_rules_are_read_or_said_to_be_wrong() {
        assert_eq!(owner("clb.gz-main"), Ok(Key::new(Kind::Clb, "gz-main")));
        assert_eq!(owner("host.web-1"), Ok(Key::new(Kind::Host, "host.web-1")));
        assert!(owner("gz-main").is_err() && owner("pop.tokyo").is_err());
        let rules = [
            "203.0.113.0/24+8080 allow".to_owned(),
            "any drop".to_owned(),
        ];
        assert_eq!(
            read(Direction::Ingress, &rules).map(|rules| rules.len()),
            Ok(2)
        );
        let trouble = read(Direction::Ingress, &["203.0.113.7/24 allow".to_owned()]);
        assert!(trouble.is_err_and(|trouble| trouble.hint.is_some()));
    }
}
