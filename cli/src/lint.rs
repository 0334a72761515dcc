//! `anyedge lint`: looks through topology files for what is no mistake and would surprise all the same.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use anyedge_topologies::lint::{self, Finding};
use serde_json::{Value, json};

use crate::args::LintArgs;
use crate::check;
use crate::exit::Exit;
use crate::mistakes;

pub(crate) fn run(args: &LintArgs) -> Exit {
    if let Some(rule) = args.explain {
        mistakes::say(&rule.explanation());
        return Exit::Kept;
    }
    let mut findings = Vec::new();
    let mut all_mistakes = Vec::new();
    for file in &args.files {
        if check::is_of_another_tool(file) {
            continue;
        }
        match lint::load(file, &args.overrides.set) {
            Ok(mut found) => {
                found.retain(|finding| !args.allow.iter().any(|rule| rule.id == finding.rule.id));
                if !args.json {
                    print(file, &found);
                }
                findings.extend(found);
            }
            Err(found) => {
                if !args.json {
                    mistakes::print(file, &found);
                }
                all_mistakes.extend(found);
            }
        }
    }
    if args.json {
        let findings: Vec<Value> = findings.iter().map(as_json).collect();
        let mistakes: Vec<Value> = all_mistakes.iter().map(check::as_json).collect();
        let report = json!({ "schema": 1, "findings": findings, "mistakes": mistakes });
        mistakes::say(&format!("{report:#}\n"));
    }
    if !all_mistakes.is_empty() {
        Exit::BadInput
    } else if findings.is_empty() {
        Exit::Kept
    } else {
        Exit::Broken
    }
}

/// Prints the findings of a file on stdout, each with the line that it is about, and their number.
fn print(file: &Path, found: &[Finding]) {
    let mut stdout = io::stdout().lock();
    for finding in found {
        let text = fs::read_to_string(&finding.at.file).unwrap_or_default();
        let text = finding.at.option.as_deref().unwrap_or(&text);
        let shown = mistakes::shown_as_warning(&finding.headline(), &finding.at, text);
        let _ = write!(stdout, "{shown}");
    }
    let file = file.display();
    let _ = match found {
        [] => writeln!(stdout, "{file}: nothing found"),
        [one] => writeln!(
            stdout,
            "{file}: 1 finding; anyedge lint --explain {} says more",
            one.rule.id
        ),
        [first, ..] => writeln!(
            stdout,
            "{file}: {} findings; anyedge lint --explain {} says more",
            found.len(),
            first.rule.id
        ),
    };
}

fn as_json(finding: &Finding) -> Value {
    let mut value = check::as_json(&finding.at);
    value["rule"] = finding.rule.id.into();
    value["title"] = finding.rule.title.into();
    value["severity"] = "warning".into();
    value
}
