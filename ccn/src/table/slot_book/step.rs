//! One slot's way from one revision to the next: who owns it, given who is alive and where it is wanted.
//!
//! - Its primary died: the secondary, which has the flows, becomes primary; a new secondary comes of the wanted
//!   map. With both gone it starts afresh.
//! - Its primary drains, or it has settled and is wanted elsewhere: the wanted primary takes it and the old one,
//!   alive and with the flows, becomes its secondary until the slot settles.
//! - Otherwise it stays. Its secondary is the wanted owner that is not its primary, except that an old primary
//!   keeps that place until the slot settles. So a node that returns may become secondary at once, but primary
//!   only once the slot has settled.
//!
//! Invariant: the primary serves if anybody does, and is not the secondary.

use std::collections::BTreeMap;

use anyedge_net::id::NodeId;
use anyedge_net::slot::Owners;

use super::{Parts, serving};

/// Why a slot moved, and so what its secondary is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moved {
    /// Its owner was lost: the secondary is a new one.
    Bereft,
    /// Away from a node that is alive: the secondary is the one that has its flows.
    Handed,
}

/// Who is alive and who serves.
pub(super) struct Roles {
    serving: BTreeMap<NodeId, bool>,
    history: bool,
}

/// A slot as it was, and where it is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) actual: Owners,
    pub(super) wanted: Owners,
    /// Why it last moved, if it has not settled since.
    pub(super) unsettled: Option<Moved>,
}

impl Roles {
    pub(super) fn new(parts: &Parts, history: bool) -> Roles {
        let alive = parts.iter().filter(|part| part.2.membership.is_alive());
        let mut roles: BTreeMap<NodeId, bool> = alive.map(|part| (part.0, false)).collect();
        roles.extend(serving(parts).map(|part| (part.0, true)));
        Roles {
            serving: roles,
            history,
        }
    }

    fn serves(&self, node: NodeId) -> bool {
        self.serving.get(&node) == Some(&true)
    }

    fn is_alive(&self, node: NodeId) -> bool {
        self.serving.contains_key(&node)
    }
}

impl Slot {
    /// Its owners in the next revision, and why it moves if it does.
    pub(super) fn step(self, roles: &Roles) -> (Owners, Option<Moved>) {
        let Owners { primary, secondary } = self.actual;
        let at_home = primary == self.wanted.primary;
        if roles.serves(primary) && (at_home || self.unsettled.is_some()) {
            (self.stay(roles), None)
        } else if roles.is_alive(primary) {
            self.hand_over(primary, roles)
        } else if roles.serves(secondary) {
            let owners = Owners {
                primary: secondary,
                secondary: self.wanted_beside(secondary),
            };
            (owners, Some(Moved::Bereft))
        } else if roles.is_alive(secondary) {
            self.hand_over(secondary, roles)
        } else {
            // Where nobody was, no flow is disturbed by the next move.
            let was_owned = primary != NodeId::UNKNOWN;
            (self.wanted, was_owned.then_some(Moved::Bereft))
        }
    }

    fn stay(self, roles: &Roles) -> Owners {
        let Owners { primary, secondary } = self.actual;
        let keeps = self.unsettled == Some(Moved::Handed) && roles.history;
        let secondary = if keeps && roles.is_alive(secondary) {
            secondary
        } else {
            self.wanted_beside(primary)
        };
        Owners { primary, secondary }
    }

    /// To the wanted primary, with `holder` at hand, who has the flows.
    fn hand_over(self, holder: NodeId, roles: &Roles) -> (Owners, Option<Moved>) {
        let primary = self.wanted.primary;
        let secondary = if roles.history {
            holder
        } else {
            self.wanted.secondary
        };
        (Owners { primary, secondary }, Some(Moved::Handed))
    }

    /// The wanted owner that is not `primary`.
    fn wanted_beside(self, primary: NodeId) -> NodeId {
        if self.wanted.primary == primary {
            self.wanted.secondary
        } else {
            self.wanted.primary
        }
    }
}
