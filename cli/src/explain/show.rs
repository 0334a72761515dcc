//! An explanation as text: what each did, and below it what they went by.

use core::fmt::Write as _;

use anyedge_sim::explain::Explanation;
use anyedge_sim::watch::{Candidate, Handled, TargetState, Why};
use anyedge_topologies::Topology;

/// The whole explanation.
pub(super) fn text(topology: &Topology, told: &Explanation) -> String {
    let mut text = format!(
        "{} to {} at {} s of {}\n{}\n\n",
        told.from, told.to, told.at_s, topology.name, told.flow
    );
    for step in &told.steps {
        let mark = if step.answer { "<" } else { ">" };
        let _ = writeln!(text, "{:>14.9} s {mark} {step}", step.at_s);
        for line in step.why.iter().flat_map(|why| reasons(step, why)) {
            let _ = writeln!(text, "                   {line}");
        }
    }
    text.push('\n');
    text.push_str(&summary(told));
    text
}

fn summary(told: &Explanation) -> String {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "nowhere".to_owned());
    let target = told.target.map(|target| target.to_string());
    let mut text = format!(
        "Entered at {}, CLB node {}, target {}{}, answer left by {}.\n",
        or_none(&told.entered),
        or_none(&told.clb_node),
        or_none(&target),
        told.host
            .as_ref()
            .map_or_else(String::new, |host| format!(" on {host}")),
        or_none(&told.left_by),
    );
    text.push_str(&match told.answered_after_s {
        Some(after) if told.refused => format!("Refused after {:.3} ms.", after * 1e3),
        Some(after) => format!("Answered after {:.3} ms.", after * 1e3),
        None => "No answer.".to_owned(),
    });
    if !told.dropped.is_empty() {
        let lost = told.dropped.chunk_by(|one, next| one == next);
        let lost = lost.map(|same| match same.len() {
            1 => same[0].clone(),
            times => format!("{} {times} times", same[0]),
        });
        let lost: Vec<String> = lost.collect();
        let _ = write!(text, " Lost on the way: {}.", lost.join(", "));
    }
    text
}

fn reasons(step: &Handled, why: &Why) -> Vec<String> {
    match why {
        Why::Catchment {
            candidates,
            chosen,
            pinned,
        } => catchment(candidates, chosen.as_deref(), *pinned),
        Why::Slot {
            revision,
            primary,
            secondary,
            links,
        } => {
            let name = |node: &Option<String>| node.clone().unwrap_or_else(|| "nobody".to_owned());
            let mut lines = vec![format!(
                "by revision {revision} of the table: the slot is {}'s, then {}'s",
                name(primary),
                name(secondary)
            )];
            lines.extend(links.iter().map(|link| {
                let state = if link.live { "live" } else { "dead" };
                format!(
                    "link {} to {}: {state}, {:.3} ms",
                    link.path, link.peer, link.rtt_ms
                )
            }));
            lines
        }
        Why::WayBack {
            revision,
            entered_by,
        } => vec![match entered_by {
            Some(pop) => format!(
                "by revision {revision} of the table: the flow entered by {pop} last; while no path there is \
                 alive, by another POP"
            ),
            None => format!("by revision {revision} of the table: as the packet came"),
        }],
        Why::Listener { .. } => listener(step, why),
    }
}

/// By which comparison the first of the candidates is the best.
fn catchment(candidates: &[Candidate], chosen: Option<&str>, pinned: bool) -> Vec<String> {
    let decided = match candidates {
        _ if pinned => "it is the direct path: one place, whatever is announced",
        _ if chosen.is_none() => "nobody that it has heard of announces the VIP",
        [best, next, ..] if best.standing != next.standing => "by standing: the others are worse",
        [best, next, ..] if best.networks != next.networks => "by fewest networks on the way",
        [best, next, ..] if best.rtt_ms < next.rtt_ms => {
            "by the lowest round trip, with as many networks on the way"
        }
        [_, _, ..] => "by order of names, with all else alike",
        _ => "it is the only one that announces",
    };
    let chosen = chosen.unwrap_or("nowhere");
    let mut lines = vec![format!("enters at {chosen}: {decided}")];
    lines.extend(candidates.iter().map(|own| {
        let Candidate {
            site,
            standing,
            networks,
            rtt_ms,
        } = own;
        let plural = if *networks == 1 { "" } else { "s" };
        format!("{site}: {standing}, {networks} network{plural}, {rtt_ms:.3} ms")
    }));
    lines
}

fn listener(step: &Handled, why: &Why) -> Vec<String> {
    let Why::Listener {
        revision,
        listener,
        scheduler,
        stays_with,
        known,
        replica,
        targets,
    } = why
    else {
        return Vec::new();
    };
    let Some(listener) = listener else {
        return vec![format!(
            "by revision {revision} of the table: no listener here has this protocol and port"
        )];
    };
    let rule = match scheduler.unwrap_or_default() {
        "wrr" => "weighted round robin: whose turn it is",
        "wlc" => "the fewest flows for its weight",
        "ip-hash" => "the hash of the client's address",
        _ => "the hash of the flow, by Maglev",
    };
    let rule = match (known, stays_with) {
        (Some(target), _) if *replica => format!("the flow is a replica, at {target}"),
        (Some(target), _) => format!("the flow is known, at {target}"),
        (None, Some(target)) => format!("its client stays with {target}"),
        (None, None) => rule.to_owned(),
    };
    let mut lines = vec![format!(
        "by revision {revision} of the table: listener {listener}, {rule}"
    )];
    let chose = |own: &TargetState| {
        let did = step.did.iter();
        let mut opened = did.filter_map(|did| match did {
            anyedge_sim::watch::Did::Opened { target } => Some(target),
            _ => None,
        });
        opened.any(|target| *target == own.target)
    };
    lines.extend(targets.iter().map(|own| {
        let health = match (own.healthy, own.open) {
            (true, _) => "healthy",
            (false, true) => "abnormal, and open since all are",
            (false, false) => "abnormal",
        };
        let load = own.load.map(|load| format!(", {load} flows"));
        let mark = if chose(own) { " <- chosen" } else { "" };
        let load = load.unwrap_or_default();
        format!(
            "{}: weight {}, {health}{load}{mark}",
            own.target, own.weight
        )
    }));
    lines
}
