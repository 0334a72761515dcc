//! L18: security groups of a load balancer that are bound and never asked.
//!
//! `eip_bypasses_clb_sg` reproduces a fault of old: the groups of an internal load balancer with an anycast address did not
//! take effect.

use crate::diagnostic::Wrong;
use crate::names::Kind;

use super::{Case, Rule};

pub(super) fn find(case: &Case<'_>, rule: &'static Rule) {
    for clb in case.topology.clbs.values() {
        if !clb.eip_bypasses_clb_sg || clb.security_groups.is_empty() {
            continue;
        }
        let groups = clb.security_groups.join(", ");
        let reason =
            format!("its security groups ({groups}) are not asked: whoever they shut out comes in");
        let hint = "leave it out, unless the old fault is wanted";
        let object = Kind::Clb.object(&clb.name);
        case.found(
            rule,
            &object,
            "eip_bypasses_clb_sg",
            Wrong::new(reason, hint),
        );
    }
}
