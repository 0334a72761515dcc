//! L15: controllers that are lost together.
//!
//! Nothing can be written without a majority of them. An even number is a mistake already.

use crate::defaults::Routes;
use crate::diagnostic::Wrong;
use crate::names::Kind;

use super::{Case, Rule};

const HINT: &str = "controllers at three places, so that a majority outlives any one of them";

pub(super) fn find(case: &Case<'_>, rule: &'static Rule) {
    let topology = case.topology;
    if topology.defaults.routes == Routes::Static {
        return;
    }
    let mut controllers = topology.controllers.values();
    let Some(first) = controllers.next() else {
        return;
    };
    if !controllers.all(|other| other.at == first.at) {
        return;
    }
    let named = case.book.names.of(Kind::Controller).next().is_some();
    if named {
        let reason = match topology.controllers.len() {
            1 => format!(
                "the only controller is at {}: without it nothing can be changed",
                first.at
            ),
            many => format!(
                "all {many} controllers are at {}: without it nothing can be changed",
                first.at
            ),
        };
        case.found(rule, &first.object(), "at", Wrong::new(reason, HINT));
        return;
    }
    // Of a file that says nothing of controllers this is worth a word only where it means to outlive that region.
    let outlives = topology.vips.values().find(|vip| !vip.standby.is_empty());
    if let Some(vip) = outlives {
        let reason = format!(
            "a region stands by for the loss of {}, and all controllers are lost with it: the file names none, so three are there",
            first.at
        );
        let object = Kind::Vip.object(&vip.name);
        case.found(rule, &object, "standby", Wrong::new(reason, HINT));
    }
}
