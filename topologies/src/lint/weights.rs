//! L12: targets that all have weight 0.

use crate::diagnostic::Wrong;
use crate::names::Kind;

use super::{Case, Rule};

pub(super) fn find(case: &Case<'_>, rule: &'static Rule) {
    for targets in case.topology.targets.values() {
        if targets.servers.iter().any(|server| server.weight > 0) {
            continue;
        }
        let reason = "no server has a weight above 0: new flows are refused";
        let hint = "a weight above 0 for one of them at least";
        let object = Kind::Targets.object(&targets.name);
        let wrong = Wrong::new(reason, hint);
        case.found(rule, &object, "servers[0].weight", wrong);
    }
}
