//! A comparison as text.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::failover::{FaultPair, PART_PERCENT_MAX, SLACK_S};
use super::loads::{P50_PERCENT_MAX, P99_PERCENT_MAX};
use super::{Comparison, Entrance};
use crate::tables::table;

const fn word(near: Option<bool>) -> &'static str {
    match near {
        Some(true) => "near",
        Some(false) => "FAR",
        None => "told",
    }
}

/// The whole of it.
pub(super) fn told(comparison: &Comparison) -> String {
    let mut text = String::new();
    loads(&mut text, comparison);
    entrances(&mut text, &comparison.entrances);
    for fault in &comparison.faults {
        failover(&mut text, fault);
    }
    if !comparison.faults.is_empty() {
        say(
            &mut text,
            format_args!(
                "Near: within {PART_PERCENT_MAX} % of the simulator's median, or {SLACK_S} s; as many flows kept. \
                 Gaps of TCP and the ends of faults are told.\n"
            ),
        );
    }
    for fault in &comparison.not_played {
        say(
            &mut text,
            format_args!("Not played in either world: {fault}\n"),
        );
    }
    let verdict = if comparison.near {
        "The worlds are near.\n"
    } else {
        "The worlds are FAR.\n"
    };
    text.push_str(verdict);
    text
}

fn say(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("text takes text");
}

fn loads(text: &mut String, comparison: &Comparison) {
    let mut table = table(
        &[
            "client",
            "to",
            "kind",
            "answered",
            "in the lab",
            "failed",
            "p50 ms",
            "in the lab",
            "longer",
            "p99 ms",
            "in the lab",
            "longer",
            "KS",
            "",
        ],
        3,
    );
    for pair in &comparison.loads {
        let millis = |value: f64| format!("{value:.2}");
        let percent = |value: f64| format!("{value:+.1}%");
        table.add_row([
            pair.client.clone(),
            pair.to.clone(),
            pair.kind.to_owned(),
            pair.sim_answered.to_string(),
            pair.lab_answered.to_string(),
            pair.lab_failed.to_string(),
            millis(pair.sim_ms[0]),
            millis(pair.lab_ms[0]),
            percent(pair.longer_percent[0]),
            millis(pair.sim_ms[1]),
            millis(pair.lab_ms[1]),
            percent(pair.longer_percent[1]),
            format!("{:.3}", pair.distance),
            word(pair.near).to_owned(),
        ]);
    }
    let [sim, lab] = &comparison.tcp_stacks;
    let [_, p99, p999, most] = comparison.machine_late_ms;
    say(
        text,
        format_args!(
            "{table}\n{} s in both worlds. Near: within {P50_PERCENT_MAX} % at p50 and {P99_PERCENT_MAX} % at p99; KS: the \
             distance of Kolmogorov and Smirnov.\nTold: it begins with a handshake of another TCP (simulator: {sim}; lab: \
             {lab}).\nThis machine woke a sleeper up to {p99:.2} ms late at p99, {p999:.2} ms at p99.9, {most:.1} ms at most: a \
             packet of the lab wakes somebody at every hop.\n\n",
            comparison.calm_s
        ),
    );
}

fn entrances(text: &mut String, entrances: &[Entrance]) {
    let mut table = table(
        &[
            "client",
            "enters by",
            "in the lab",
            "with faults by",
            "in the lab",
            "",
        ],
        6,
    );
    let list = |pops: &BTreeSet<String>| {
        let pops: Vec<&str> = pops.iter().map(String::as_str).collect();
        pops.join(", ")
    };
    for entrance in entrances {
        table.add_row([
            entrance.client.clone(),
            list(&entrance.calm[0]),
            list(&entrance.calm[1]),
            list(&entrance.storm[0]),
            list(&entrance.storm[1]),
            word(Some(entrance.near)).to_owned(),
        ]);
    }
    say(text, format_args!("{table}\n\n"));
}

fn failover(text: &mut String, fault: &FaultPair) {
    let seconds = |time: Option<f64>| time.map_or("-".to_owned(), |time| format!("{time:.3}"));
    say(text, format_args!("{} at {} s\n", fault.what, fault.at_s));
    let mut parts = table(&["  part", "s", "of all runs", "in the lab", ""], 1);
    for part in &fault.parts {
        let range = part.sim_range_s;
        parts.add_row([
            format!("  {}", part.name),
            seconds(part.sim_s),
            range.map_or("-".to_owned(), |[least, most]| {
                format!("{least:.3} to {most:.3}")
            }),
            seconds(part.lab_s),
            word(part.near).to_owned(),
        ]);
    }
    let mut flows = table(
        &[
            "  flows of",
            "to",
            "kind",
            "met",
            "in the lab",
            "kept",
            "in the lab",
            "longest gap s",
            "in the lab",
            "",
        ],
        3,
    );
    for pair in &fault.flows {
        flows.add_row([
            format!("  {}", pair.client),
            pair.to.clone(),
            pair.kind.to_owned(),
            pair.established[0].to_string(),
            pair.established[1].to_string(),
            pair.kept[0].to_string(),
            pair.kept[1].to_string(),
            format!("{:.3}", pair.gap_s[0]),
            format!("{:.3}", pair.gap_s[1]),
            word(pair.near).to_owned(),
        ]);
    }
    say(text, format_args!("{parts}\n{flows}\n\n"));
}
