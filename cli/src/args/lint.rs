//! The command line of `anyedge lint`.

use std::path::PathBuf;

use anyedge_topologies::lint::{RULES, Rule};
use clap::Args;

use super::Overrides;

/// `anyedge lint`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  anyedge lint topologies/*.toml
  anyedge lint topologies/two-pops.toml --allow L13
  anyedge lint topologies/security-group-3.toml --set defaults.sg_egress_port=listener
  anyedge lint --explain L03
  anyedge lint topologies/global-14.toml --json | jq '.findings[].rule'

A finding is a warning about a file without a mistake; mistakes are shown as `anyedge check` shows them.

Exit codes: 0 nothing found, 1 something found, 2 bad input, 3 internal error.")]
pub(crate) struct LintArgs {
    /// The topology files
    #[arg(required_unless_present = "explain")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    /// A rule whose findings are left out; may be given several times
    #[arg(long, value_name = "RULE", value_parser = rule)]
    pub(crate) allow: Vec<&'static Rule>,
    /// Says what a rule looks for, why, and what mends it
    #[arg(long, value_name = "RULE", value_parser = rule, conflicts_with = "files")]
    pub(crate) explain: Option<&'static Rule>,
    /// Findings and mistakes as JSON on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

fn rule(text: &str) -> Result<&'static Rule, String> {
    Rule::named(text).ok_or_else(|| {
        let known: Vec<&str> = RULES.iter().map(|rule| rule.id).collect();
        format!("there is no such rule; known: {}", known.join(", "))
    })
}
