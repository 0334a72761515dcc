//! Amendment: the checks that a new version of the routes asks for, where it changes listeners and no names.
//!
//! Only the servers that came, went or are asked for in another way are touched; among 100,000 checks a target is
//! bound at the cost of a few look-ups. It comes to what laying all checks anew comes to, told in the same order.

use std::collections::BTreeMap;

use anyedge_net::id::NodeId;
use anyedge_net::outbox::Outbox;
use anyedge_net::rng::Rng;
use anyedge_net::route_table::HealthCheck;

use super::Checks;
use super::renewal::{Change, places};
use super::roster::{Group, Use};
use super::successor::{Successor, WantedOfServer};
use crate::edits::{Edits, ListenerEdit, Moved};

/// What a listener wants of the checks of one server, from here on.
struct Touch {
    listener: u16,
    /// It had the server before, checked or not.
    was_bound: bool,
    /// It has it, and how it is to be checked.
    wanted: Option<(HealthCheck, Use)>,
}

impl Checks {
    /// Takes over the edits of a new version of the routes. `stream` gives the randomness of a check, named by its
    /// load balancer and its server.
    pub(crate) fn amend(
        &mut self,
        change: &Change<'_>,
        edits: &Edits<'_>,
        stream: impl Fn(&str) -> Rng,
        out: &mut Outbox,
    ) {
        self.check_from(change);
        let Change { new, now, .. } = *change;
        if !new.mechanisms.health {
            return;
        }
        let mut touched: BTreeMap<Group, Vec<Touch>> = BTreeMap::new();
        for edit in &edits.listeners {
            touch(edit, &mut touched);
        }
        let successor = Successor { now, new, stream };
        let mut ended = Vec::new();
        for (group, touches) in touched {
            // Without a VIP of its family no server is checked.
            let Some(vip) = self.vips.get(&(group.0, group.1.family())).copied() else {
                continue;
            };
            let before = self.roster.take(group);
            let mut wanted = WantedOfServer::new();
            for watched in &before {
                let touches = |used: &&Use| touches.iter().any(|it| it.listener == used.listener);
                for used in watched.uses.iter().filter(|used| !touches(used)) {
                    let wanted = wanted.entry(watched.asked.clone()).or_default();
                    wanted.uses.push(*used);
                    wanted.known = true;
                }
            }
            for touch in touches {
                if let Some((asked, used)) = touch.wanted {
                    let wanted = wanted.entry(asked).or_default();
                    wanted.uses.push(used);
                    wanted.known |= touch.was_bound;
                }
            }
            if successor.follow((group, vip), before, wanted, &mut self.roster, out) {
                ended.push(group);
            }
        }
        if !ended.is_empty() {
            successor.tell_of_closed(&ended, out);
        }
    }
}

/// Notes the servers whose checks a listener's edit touches.
fn touch(edit: &ListenerEdit<'_>, touched: &mut BTreeMap<Group, Vec<Touch>>) {
    let group = |moved: &Moved| (edit.clb, moved.target, moved.port);
    let used = |near: u16, host: NodeId| Use {
        listener: edit.place,
        near,
        host,
    };
    let mut note = |group: Group, was_bound: bool, wanted: Option<(HealthCheck, Use)>| {
        let touch = Touch {
            listener: edit.place,
            was_bound,
            wanted,
        };
        touched.entry(group).or_default().push(touch);
    };
    if edit.old.health == edit.new.health {
        let Some(asked) = &edit.new.health else {
            return;
        };
        for gone in edit.gone.iter().filter(|gone| !gone.stays) {
            note(group(gone), true, None);
        }
        for come in &edit.come {
            note(
                group(come),
                come.stays,
                Some((asked.clone(), used(come.place, come.host))),
            );
        }
        return;
    }
    let mut before: Vec<_> = places(&edit.old.targets).collect();
    before.sort_unstable();
    for (near, target) in (0..).zip(&edit.new.targets) {
        let place = (target.address, target.port);
        let was_bound = before.binary_search(&place).is_ok();
        let asked = edit.new.health.clone();
        let wanted = asked.map(|asked| (asked, used(near, target.host)));
        note((edit.clb, place.0, place.1), was_bound, wanted);
    }
    for gone in edit.gone.iter().filter(|gone| !gone.stays) {
        note(group(gone), true, None);
    }
}
