//! L17: VIPs of one /24 or /48 that different POPs announce.
//!
//! The Internet carries no prefix that is longer, so such VIPs can only be announced together. Prefixes that overlap
//! are a mistake already; left are those that a file made longer to keep them apart.

use crate::diagnostic::Wrong;
use crate::names::Kind;
use crate::vip::{Vip, VipPrefix};

use super::{Case, Rule};

pub(super) fn find(case: &Case<'_>, rule: &'static Rule) {
    for vip in case.topology.vips.values() {
        let vips = case.topology.vips.values();
        let before = vips.take_while(|other| other.name < vip.name);
        let mut others = before.filter(|other| other.publish != vip.publish);
        let clash = others.find_map(|other| Some((other, shared(vip, other)?)));
        let Some((other, (own, whole))) = clash else {
            continue;
        };
        let reason = format!(
            "vip.{} is in {whole} too, and other POPs announce it: networks take no route as narrow as {own}",
            other.name
        );
        let hint = "the same `publish`, or an address of another /24 or /48";
        let wrong = Wrong::new(reason, hint);
        case.found(rule, &Kind::Vip.object(&vip.name), "prefix", wrong);
    }
}

/// The first prefix of `vip` whose /24 or /48 has an address of `other` too, and that /24 or /48.
fn shared(vip: &Vip, other: &Vip) -> Option<(VipPrefix, VipPrefix)> {
    let theirs: Vec<VipPrefix> = other.address.iter().map(VipPrefix::around).collect();
    let own = vip.prefixes.iter().copied();
    let mut own = own.zip(vip.address.iter().map(VipPrefix::around));
    own.find(|(_, whole)| theirs.contains(whole))
}
