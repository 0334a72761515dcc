//! Objects of any kind and changes as messages.

use anyedge_proto::table::v1 as pb;

use super::super::change::{Change, PutMode, Stage};
use super::super::membership::Membership;
use super::super::object::{Ccn, Key, Kind, Object, Prefix, Region, Secret, Target};
use super::super::refusal::{Reason, Refusal};
use super::autoscaling::{scale_from, scale_to};
use super::{
    choice, format, key_from, membership_from, membership_to, network_from, network_to, object_from,
};

impl From<&Object> for pb::Object {
    fn from(object: &Object) -> pb::Object {
        use pb::object::Object as Kind;
        let object = match object {
            Object::Settings(it) => Kind::Settings(it.into()),
            Object::Secret(Secret { name, value }) => Kind::Secret(pb::Secret {
                name: name.clone(),
                value: value.clone(),
            }),
            Object::Region(Region { name }) => Kind::Region(pb::Region { name: name.clone() }),
            Object::Pop(it) => Kind::Pop(it.into()),
            Object::ClbNode(it) => Kind::ClbNode(it.into()),
            Object::Host(it) => Kind::Host(it.into()),
            Object::Eni(it) => Kind::Eni(it.into()),
            Object::Path(it) => Kind::Path(it.into()),
            Object::Prefix(Prefix { name, network }) => Kind::Prefix(pb::Prefix {
                name: name.clone(),
                network: network_to(*network),
            }),
            Object::Clb(it) => Kind::Clb(it.into()),
            Object::Listener(it) => Kind::Listener(it.into()),
            Object::Rule(it) => Kind::Rule(it.into()),
            Object::Target(it) => Kind::Target(it.into()),
            Object::Vip(it) => Kind::Vip(it.into()),
            Object::SnatIp(it) => Kind::SnatIp(it.into()),
            Object::SnatBlock(it) => Kind::SnatBlock(it.into()),
            Object::Ccn(Ccn { name }) => Kind::Ccn(pb::Ccn { name: name.clone() }),
            Object::Attachment(it) => Kind::Attachment(it.into()),
            Object::CcnRoute(it) => Kind::CcnRoute(it.into()),
            Object::Stage(it) => Kind::Stage(it.into()),
            Object::SecurityGroup(it) => Kind::SecurityGroup(it.into()),
            Object::AutoScalingGroup(it) => Kind::AutoScalingGroup(it.into()),
        };
        pb::Object {
            object: Some(object),
        }
    }
}

impl TryFrom<&pb::Object> for Object {
    type Error = Refusal;

    fn try_from(object: &pb::Object) -> Result<Object, Refusal> {
        use pb::object::Object as Kind;
        let object = object.object.as_ref();
        Ok(
            match object.ok_or_else(|| Reason::Missing.because("an object"))? {
                Kind::Settings(it) => Object::Settings(it.try_into()?),
                Kind::Secret(it) => Object::Secret(Secret {
                    name: it.name.clone(),
                    value: it.value.clone(),
                }),
                Kind::Region(it) => Object::Region(Region {
                    name: it.name.clone(),
                }),
                Kind::Pop(it) => Object::Pop(it.try_into()?),
                Kind::ClbNode(it) => Object::ClbNode(it.try_into()?),
                Kind::Host(it) => Object::Host(it.try_into()?),
                Kind::Eni(it) => Object::Eni(it.try_into()?),
                Kind::Path(it) => Object::Path(it.try_into()?),
                Kind::Prefix(it) => Object::Prefix(Prefix {
                    name: it.name.clone(),
                    network: network_from(it.network.as_ref())?,
                }),
                Kind::Clb(it) => Object::Clb(it.try_into()?),
                Kind::Listener(it) => Object::Listener(it.try_into()?),
                Kind::Rule(it) => Object::Rule(it.try_into()?),
                Kind::Target(it) => Object::Target(it.try_into()?),
                Kind::Vip(it) => Object::Vip(it.try_into()?),
                Kind::SnatIp(it) => Object::SnatIp(it.try_into()?),
                Kind::SnatBlock(it) => Object::SnatBlock(it.try_into()?),
                Kind::Ccn(it) => Object::Ccn(Ccn {
                    name: it.name.clone(),
                }),
                Kind::Attachment(it) => Object::Attachment(it.try_into()?),
                Kind::CcnRoute(it) => Object::CcnRoute(it.try_into()?),
                Kind::Stage(it) => Object::Stage(it.try_into()?),
                Kind::SecurityGroup(it) => Object::SecurityGroup(it.try_into()?),
                Kind::AutoScalingGroup(it) => Object::AutoScalingGroup(it.try_into()?),
            },
        )
    }
}

impl From<&Stage> for pb::Stage {
    fn from(stage: &Stage) -> pb::Stage {
        pb::Stage {
            name: stage.name.clone(),
            changes: stage.changes.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<&pb::Stage> for Stage {
    type Error = Refusal;

    fn try_from(stage: &pb::Stage) -> Result<Stage, Refusal> {
        let changes = stage.changes.iter().map(Change::try_from);
        Ok(Stage {
            name: stage.name.clone(),
            changes: changes.collect::<Result<_, Refusal>>()?,
        })
    }
}

fn keys_to(kind: Kind, names: &[String]) -> Vec<pb::Key> {
    let key = |name: &String| pb::Key {
        kind: kind as i32,
        name: name.clone(),
    };
    names.iter().map(key).collect()
}

fn names_from(kind: Kind, keys: &[pb::Key]) -> Result<Vec<String>, Refusal> {
    let name = |key: &pb::Key| {
        if key.kind != kind as i32 {
            return Err(format(format_args!("`{}` is no {}", key.name, kind.say())));
        }
        Ok(key.name.clone())
    };
    keys.iter().map(name).collect()
}

impl From<&Change> for pb::Change {
    fn from(change: &Change) -> pb::Change {
        use super::super::object::Kind as Of;
        use pb::change as wire;
        use pb::change::Change as Kind;
        let change = match change.clone() {
            Change::All(changes) => Kind::All(pb::Changes {
                changes: changes.iter().map(Into::into).collect(),
            }),
            Change::Put(object, mode) => Kind::Put(wire::Put {
                object: Some((&object).into()),
                mode: mode_to(mode).into(),
            }),
            Change::Remove(key) => Kind::Remove((&key).into()),
            Change::RegisterTargets(targets) => Kind::RegisterTargets(wire::Targets {
                targets: targets.iter().map(Into::into).collect(),
            }),
            Change::DeregisterTargets(names) => Kind::DeregisterTargets(wire::Keys {
                keys: keys_to(Of::Target, &names),
            }),
            Change::SetTargetWeight(names, weight) => Kind::TargetWeight(wire::TargetWeight {
                targets: keys_to(Of::Target, &names),
                weight: Some(weight),
            }),
            Change::SetTargetPort(names, port) => Kind::TargetPort(wire::TargetPort {
                targets: keys_to(Of::Target, &names),
                port,
            }),
            Change::SetDraining(key, draining) => Kind::Draining(wire::Draining {
                key: Some((&key).into()),
                draining,
            }),
            Change::SetMember {
                clb_node,
                membership,
                weight,
            } => member_to(clb_node, membership, weight),
            Change::BindVip { vip, clb } => Kind::BindVip(wire::BindVip { vip, clb }),
            Change::SetPublishDomain { vip, publish } => {
                Kind::PublishDomain(wire::PublishDomain { vip, publish })
            }
            Change::SetPublished { vip, published } => {
                Kind::Published(wire::Published { vip, published })
            }
            Change::LeaseSnat { clb, node, blocks } => {
                Kind::LeaseSnat(wire::LeaseSnat { clb, node, blocks })
            }
            Change::ReleaseSnat(names) => Kind::ReleaseSnat(wire::Keys {
                keys: keys_to(Of::SnatBlock, &names),
            }),
            Change::MoveEni { eni, host } => Kind::EniMove(wire::EniMove { eni, host }),
            Change::EnableRoutes(names, enabled) => Kind::Routes(wire::Routes {
                routes: keys_to(Of::CcnRoute, &names),
                enabled,
            }),
            Change::Stage(stage) => Kind::Stage((&stage).into()),
            Change::ApplyStage(name) => Kind::ApplyStage(wire::StageName { name }),
            Change::DiscardStage(name) => Kind::DiscardStage(wire::StageName { name }),
            Change::SetSecurityGroups { key, groups } => groups_to(&key, groups),
            Change::Scale {
                group,
                joins,
                leaves,
            } => scale_to(group, &joins, &leaves),
            Change::Settle => Kind::Settle(wire::Settle {}),
            Change::Restore(objects) => restore_to(&objects),
        };
        pb::Change {
            change: Some(change),
        }
    }
}

fn groups_to(key: &Key, groups: Vec<String>) -> pb::change::Change {
    let key = Some(key.into());
    pb::change::Change::SecurityGroups(pb::change::SecurityGroups { key, groups })
}

fn groups_from(it: pb::change::SecurityGroups) -> Result<Change, Refusal> {
    let key = key_from(it.key.as_ref())?;
    let groups = it.groups;
    Ok(Change::SetSecurityGroups { key, groups })
}

fn member_to(
    clb_node: String,
    membership: Option<Membership>,
    weight: Option<i32>,
) -> pb::change::Change {
    pb::change::Change::Member(pb::change::Member {
        clb_node,
        membership: membership.map(|membership| membership_to(membership).into()),
        weight,
    })
}

fn restore_from(it: &pb::change::Restore) -> Result<Change, Refusal> {
    let objects = it.objects.iter().map(Object::try_from);
    Ok(Change::Restore(objects.collect::<Result<_, Refusal>>()?))
}

fn restore_to(objects: &[Object]) -> pb::change::Change {
    let objects = objects.iter().map(Into::into).collect();
    pb::change::Change::Restore(pb::change::Restore { objects })
}

const fn mode_to(mode: PutMode) -> pb::PutMode {
    match mode {
        PutMode::Create => pb::PutMode::Create,
        PutMode::Update => pb::PutMode::Update,
        PutMode::Ensure => pb::PutMode::Ensure,
    }
}

fn put_from(put: &pb::change::Put) -> Result<Change, Refusal> {
    let mode = match choice(put.mode, "way to put an object")? {
        pb::PutMode::Create => PutMode::Create,
        pb::PutMode::Update => PutMode::Update,
        pb::PutMode::Ensure => PutMode::Ensure,
    };
    Ok(Change::Put(object_from(put.object.as_ref())?, mode))
}

impl TryFrom<&pb::Change> for Change {
    type Error = Refusal;

    fn try_from(change: &pb::Change) -> Result<Change, Refusal> {
        use super::super::object::Kind as Of;
        use pb::change::Change as Kind;
        let change = change.change.clone();
        Ok(
            match change.ok_or_else(|| Reason::Missing.because("a change"))? {
                Kind::All(all) => {
                    let changes = all.changes.iter().map(Change::try_from);
                    Change::All(changes.collect::<Result<_, Refusal>>()?)
                }
                Kind::Put(put) => put_from(&put)?,
                Kind::Remove(key) => Change::Remove((&key).try_into()?),
                Kind::RegisterTargets(it) => {
                    let targets = it.targets.iter().map(Target::try_from);
                    Change::RegisterTargets(targets.collect::<Result<_, Refusal>>()?)
                }
                Kind::DeregisterTargets(it) => {
                    Change::DeregisterTargets(names_from(Of::Target, &it.keys)?)
                }
                Kind::TargetWeight(it) => Change::SetTargetWeight(
                    names_from(Of::Target, &it.targets)?,
                    it.weight
                        .ok_or_else(|| Reason::Missing.because("a weight"))?,
                ),
                Kind::TargetPort(it) => {
                    Change::SetTargetPort(names_from(Of::Target, &it.targets)?, it.port)
                }
                Kind::Draining(it) => Change::SetDraining(key_from(it.key.as_ref())?, it.draining),
                Kind::Member(it) => Change::SetMember {
                    clb_node: it.clb_node,
                    membership: it.membership.map(membership_from).transpose()?,
                    weight: it.weight,
                },
                Kind::BindVip(it) => Change::BindVip {
                    vip: it.vip,
                    clb: it.clb,
                },
                Kind::PublishDomain(it) => Change::SetPublishDomain {
                    vip: it.vip,
                    publish: it.publish,
                },
                Kind::Published(it) => Change::SetPublished {
                    vip: it.vip,
                    published: it.published,
                },
                Kind::LeaseSnat(it) => Change::LeaseSnat {
                    clb: it.clb,
                    node: it.node,
                    blocks: it.blocks,
                },
                Kind::ReleaseSnat(it) => Change::ReleaseSnat(names_from(Of::SnatBlock, &it.keys)?),
                Kind::EniMove(it) => Change::MoveEni {
                    eni: it.eni,
                    host: it.host,
                },
                Kind::Routes(it) => {
                    Change::EnableRoutes(names_from(Of::CcnRoute, &it.routes)?, it.enabled)
                }
                Kind::Stage(it) => Change::Stage((&it).try_into()?),
                Kind::ApplyStage(it) => Change::ApplyStage(it.name),
                Kind::DiscardStage(it) => Change::DiscardStage(it.name),
                Kind::SecurityGroups(it) => groups_from(it)?,
                Kind::Scale(it) => scale_from(it)?,
                Kind::Settle(_) => Change::Settle,
                Kind::Restore(it) => restore_from(&it)?,
            },
        )
    }
}
