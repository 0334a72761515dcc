//! L13: a VIP that one POP announces alone, or that POPs announce which have one line each.
//!
//! With the only POP the VIP is gone. A POP with one line withdraws the VIP when that line fails, and its clients
//! wait for the Internet; over a second line they would be carried on after three probes.

use crate::diagnostic::Wrong;
use crate::names::Kind;

use super::lines::lines;
use super::{Case, Rule, some_of};

pub(super) fn find(case: &Case<'_>, rule: &'static Rule) {
    for vip in case.topology.vips.values() {
        let object = Kind::Vip.object(&vip.name);
        let found = |reason: String, hint: &str| {
            case.found(rule, &object, "publish", Wrong::new(reason, hint));
        };
        if let [pop] = vip.publish.as_slice() {
            let reason =
                format!("pop.{pop} alone announces it: without that POP nobody reaches it");
            found(reason, "a second POP in `publish`");
        }
        let Some(home) = case.topology.clbs.get(&vip.clb) else {
            continue;
        };
        let has_one = |pop: &&String| lines(case.topology, pop, &home.region).count() == 1;
        let single: Vec<&str> = vip
            .publish
            .iter()
            .filter(has_one)
            .map(String::as_str)
            .collect();
        if single.is_empty() {
            continue;
        }
        let all = vip.publish.len();
        let (has, it) = match single.len() {
            1 => ("has", "it"),
            _ => ("have", "they"),
        };
        let reason = format!(
            "{} of {all} POPs {has} one line to region.{}: {}; without that line {it} withdraw{} the VIP",
            single.len(),
            home.region,
            some_of(single.iter().copied()),
            if single.len() == 1 { "s" } else { "" }
        );
        found(
            reason,
            "a second [link.NAME] for each, or one to a region that has a link to the home region",
        );
    }
}
