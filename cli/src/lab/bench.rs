//! `anyedge lab bench`: what a running lab carries, as a table or as JSON, with progress on stderr.

use std::io::{self, Write as _};

use anyedge_live::lab::bench::{self, BenchPlan, Measured, What};
use anyedge_live::load::Progress;

use crate::exit::Exit;
use crate::mistakes::{failed, say};
use crate::tables::table;

pub(super) fn run(name: &str, plan: &BenchPlan, json: bool, quiet: bool) -> Exit {
    let tell = |what, progress: &Progress| {
        if !quiet {
            show(what, progress);
        }
    };
    let measured = name.parse().and_then(|lab| bench::bench(&lab, plan, tell));
    let published = measured.and_then(|all| {
        let text = if json {
            serde_json::to_string_pretty(&all)? + "\n"
        } else {
            table_of(&all)
        };
        say(&text);
        Ok(all)
    });
    match published {
        Ok(all) if all.iter().all(|one| one.answered > 0) => Exit::Kept,
        Ok(_) => Exit::Broken,
        Err(error) => failed(&error),
    }
}

const fn word(what: What) -> &'static str {
    match what {
        What::Requests => "TCP requests, 50/s",
        What::Connections => "TCP connections, 64 at a time",
        What::Bulk => "downloads, 4 at a time",
        What::Ticks => "UDP ticks, 500/s",
        What::Packets => "UDP ticks, 256 at a time",
    }
}

fn show(what: What, progress: &Progress) {
    let line = format!(
        "{}: {:.0} s, {} answered",
        word(what),
        progress.elapsed.as_secs_f64(),
        progress.ok
    );
    let _ = writeln!(io::stderr().lock(), "{line}");
}

fn table_of(all: &[Measured]) -> String {
    let header = [
        "load",
        "to",
        "answered",
        "failed",
        "per second",
        "Mbit/s",
        "p50 ms",
        "p99 ms",
    ];
    let mut table = table(&header, 2);
    for one in all {
        let is_light = matches!(one.what, What::Requests | What::Ticks);
        table.add_row([
            word(one.what).to_owned(),
            one.to.to_string(),
            one.answered.to_string(),
            // Of a load that offers too much, what found no room says nothing.
            if is_light {
                one.failed.to_string()
            } else {
                String::new()
            },
            format!("{:.0}", one.per_second),
            one.goodput_mbps
                .map_or_else(String::new, |mbps| format!("{mbps:.0}")),
            format!("{:.3}", one.p50_ms),
            format!("{:.3}", one.p99_ms),
        ]);
    }
    format!("{table}\n")
}
