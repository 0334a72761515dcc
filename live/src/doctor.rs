//! The doctor: what of this machine would keep a node from working, each with what to type against it.
//!
//! It changes nothing. What is only slower, or only wrong for some tables, is a warning; what a node cannot work with is
//! bad. Checks of addresses, ports and MTUs want to know which node this machine shall be, those of the clock's skew
//! whom to ask.

mod clocks;
mod machine;
mod ways;

use std::fmt;

use anyedge_topologies::Topology;
use serde::Serialize;

pub use clocks::compare_clocks;
pub use ways::Patient;

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Gravity {
    /// As it should be.
    Well,
    /// Works, but worse than it could, or not for every table.
    Warning,
    /// A node does not work like this.
    Bad,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How it is.
    pub gravity: Gravity,
    /// In words.
    pub says: String,
    /// What to type, or to do.
    pub fix: Option<String>,
}

impl Finding {
    fn well(check: &'static str, says: impl Into<String>) -> Finding {
        Finding {
            check,
            gravity: Gravity::Well,
            says: says.into(),
            fix: None,
        }
    }

    fn warning(check: &'static str, says: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding {
            gravity: Gravity::Warning,
            fix: Some(fix.into()),
            ..Finding::well(check, says)
        }
    }

    fn bad(check: &'static str, says: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding {
            gravity: Gravity::Bad,
            ..Finding::warning(check, says, fix)
        }
    }
}

/// One line, and a second one with what helps.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.gravity {
            Gravity::Well => "ok  ",
            Gravity::Warning => "WARN",
            Gravity::Bad => "BAD ",
        };
        write!(f, "{word}  {:<12}  {}", self.check, self.says)?;
        match &self.fix {
            Some(fix) => write!(f, "\n      {:<12}  fix: {fix}", ""),
            None => Ok(()),
        }
    }
}

/// Looks at this machine; with a topology and the name of a node, also at what that node needs of it.
///
/// # Errors
/// When the topology has no such node.
pub fn examine(of: Option<(&Topology, &str)>) -> anyhow::Result<Vec<Finding>> {
    let patient = of
        .map(|(topology, name)| Patient::find(topology, name))
        .transpose()?;
    let mut findings = machine::examine(patient.as_ref());
    if let Some(patient) = &patient {
        findings.extend(ways::examine(patient));
    }
    Ok(findings)
}

/// Whether a node would work here.
pub fn is_fit(findings: &[Finding]) -> bool {
    findings
        .iter()
        .all(|finding| finding.gravity != Gravity::Bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_keeps_nobody_from_working_and_each_has_its_fix() {
        let warning = Finding::warning("nofile", "1024 files", "ulimit -n 65536");
        let bad = Finding::bad("tun", "no /dev/net/tun", "modprobe tun");
        assert!(is_fit(&[Finding::well("clock", "fine"), warning.clone()]));
        assert!(!is_fit(&[warning, bad.clone()]));
        let shown = bad.to_string();
        assert!(shown.starts_with("BAD   tun "), "{shown}");
        assert!(shown.ends_with("fix: modprobe tun"), "{shown}");
    }

    #[test]
    fn a_node_that_the_file_does_not_have_is_refused_by_name() {
        let text = include_str!("../../topologies/two-pops.toml");
        let topology = Topology::parse("two-pops.toml", text).expect("it is shipped");
        let refusal = examine(Some((&topology, "pop.tokio"))).expect_err("no such node");
        assert!(refusal.to_string().contains("pop.tokyo"), "{refusal}");
        let found = examine(Some((&topology, "pop.tokyo"))).expect("a node of the file");
        let checks: Vec<&str> = found.iter().map(|finding| finding.check).collect();
        for wanted in ["capabilities", "tun", "forwarding", "address", "nofile"] {
            assert!(checks.contains(&wanted), "{checks:?}");
        }
    }
}
