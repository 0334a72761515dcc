//! The comparison as tables: what changed, and how much did not.

use std::fmt::Write as _;

use super::findings::{Findings, Slo};
use super::is_other;
use crate::tables::table;

/// The whole comparison.
pub(super) fn text(findings: &Findings) -> String {
    let mut text = String::new();
    let [before, after] = &findings.runs;
    let _ = writeln!(
        text,
        "{} ({}) and {} ({}), seed {}",
        before.topology, before.topology_hash, after.topology, after.topology_hash, findings.seed
    );
    for set in &after.overrides {
        let _ = writeln!(text, "the second with {set}");
    }
    text.push('\n');
    if before.digest == after.digest {
        text.push_str("The two runs are the same to the packet.\n");
        return text;
    }
    catchments(&mut text, findings);
    loads(&mut text, findings);
    targets(&mut text, findings);
    losses(&mut text, findings);
    slos(&mut text, findings);
    text.truncate(text.trim_end().len());
    text
}

fn shown<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn catchments(text: &mut String, findings: &Findings) {
    let (moved, stay): (Vec<_>, Vec<_>) = findings
        .clients
        .iter()
        .partition(|client| client.pop[0] != client.pop[1]);
    if moved.is_empty() {
        let _ = writeln!(
            text,
            "Catchments: all {} populations enter where they did.\n",
            stay.len()
        );
        return;
    }
    let mut rows = table(&["client", "entered by", "enters by"], 3);
    for client in &moved {
        let [before, after] = client.pop.each_ref().map(|pop| shown(pop.as_ref()));
        rows.add_row([client.name.clone(), before, after]);
    }
    let _ = writeln!(
        text,
        "{rows}\nPopulations that enter where they did: {}.\n",
        stay.len()
    );
}

fn loads(text: &mut String, findings: &Findings) {
    let header = [
        "client", "load", "p50 ms", "now", "p99 ms", "now", "answered", "now", "broken", "now",
        "gap s", "now",
    ];
    let mut rows = table(&header, 2);
    let mut same = 0;
    for client in &findings.clients {
        for load in &client.loads {
            let pairs = [load.p50_ms, load.p99_ms, load.answered, load.gap_s];
            let is_same = pairs
                .iter()
                .all(|[before, after]| !is_other(*before, *after));
            if is_same && load.broken_flows[0] == load.broken_flows[1] {
                same += 1;
                continue;
            }
            let ms = |time: Option<f64>| shown(time.map(|ms| format!("{ms:.1}")));
            let share = |share: Option<f64>| shown(share.map(|of| format!("{:.2}%", of * 100.0)));
            let mut row = vec![client.name.clone(), load.to.clone()];
            row.extend(load.p50_ms.map(ms));
            row.extend(load.p99_ms.map(ms));
            row.extend(load.answered.map(share));
            row.extend(load.broken_flows.map(shown));
            row.extend(load.gap_s.map(|gap| shown(gap.map(|s| format!("{s:.2}")))));
            rows.add_row(row);
        }
    }
    if rows.row_count() > 0 {
        let _ = writeln!(text, "{rows}");
    }
    let _ = writeln!(text, "{same} loads are served as they were.\n");
}

fn targets(text: &mut String, findings: &Findings) {
    let mut rows = table(&["listener", "target", "of new flows", "now"], 2);
    for target in &findings.targets {
        let [before, after] = target.share;
        let far = match (before, after) {
            (Some(before), Some(after)) => (after - before).abs() >= 0.005,
            (None, None) => false,
            (Some(_), None) | (None, Some(_)) => true,
        };
        if far {
            let share = |share: Option<f64>| shown(share.map(|of| format!("{:.1}%", of * 100.0)));
            let [before, after] = target.share.map(share);
            rows.add_row([
                target.listener.clone(),
                target.target.clone(),
                before,
                after,
            ]);
        }
    }
    if rows.row_count() > 0 {
        let _ = writeln!(text, "{rows}\n");
    }
}

fn losses(text: &mut String, findings: &Findings) {
    let [before, after] = findings.broken_flows;
    let _ = writeln!(text, "Flows that broke: {before}, now {after}.");
    let mut rows = table(&["packets lost", "", "now"], 1);
    for (cause, [before, after]) in &findings.drops {
        if before != after {
            rows.add_row([(*cause).to_owned(), before.to_string(), after.to_string()]);
        }
    }
    if rows.row_count() > 0 {
        let _ = writeln!(text, "{rows}");
    }
    text.push('\n');
}

fn slos(text: &mut String, findings: &Findings) {
    let word = |kept: Option<bool>| match kept {
        Some(true) => "kept",
        Some(false) => "BROKEN",
        None => "-",
    };
    let mut rows = table(&["service level", "", "measured", "now", "was", "is"], 2);
    let is_told = |slo: &&Slo| slo.kept[0] != slo.kept[1] || slo.kept[1] == Some(false);
    let told: Vec<&Slo> = findings.slos.iter().filter(is_told).collect();
    for slo in &told {
        let [measured, now] = slo.measured.each_ref().map(|it| shown(it.as_ref()));
        let [was, is] = slo.kept.map(word);
        rows.add_row([&slo.of, &slo.expect, &measured, &now, was, is]);
    }
    if !told.is_empty() {
        let _ = writeln!(text, "{rows}");
    }
    let kept = findings.slos.len() - told.len();
    let _ = writeln!(text, "{kept} service levels are kept as they were.");
}
