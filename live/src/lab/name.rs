//! Names of labs, of their nodes, and of the namespaces that hold them: `anyedge-<lab>-<node>`.
//!
//! A lab's name has no dot; a node is `<kind>.<rest>` whose kind is letters only. So the last hyphen before the first
//! dot always parts the two: the nodes of lab `demo` are never mistaken for those of lab `demo-2`, and a lab can be
//! taken down from the names alone when its state file is gone.

use std::fmt;
use std::str::FromStr;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::refused::refuse;

/// What every namespace of every lab starts with.
const NAMESPACE_PREFIX: &str = "anyedge-";
/// The longest name of a lab, in bytes.
const LAB_BYTES_MAX: usize = 32;
/// The longest name of a node, in bytes: a Unix socket's path must still fit.
const NODE_BYTES_MAX: usize = 48;

/// A lab's name: lower-case letters, digits and inner hyphens, 1 to 32 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct LabName(String);

impl LabName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The namespace of a node of this lab.
    pub fn namespace_of(&self, node: &str) -> String {
        format!("{NAMESPACE_PREFIX}{}-{node}", self.0)
    }

    /// The node whose namespace this is, if it is one of this lab's.
    pub fn node_of<'a>(&self, namespace: &'a str) -> Option<&'a str> {
        let (lab, node) = parts(namespace)?;
        (lab == self.0).then_some(node)
    }
}

impl FromStr for LabName {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.len() > LAB_BYTES_MAX || !text.chars().all(allowed) {
            refuse!(
                "`{text}` cannot name a lab: 1 to {LAB_BYTES_MAX} lower-case letters, digits and hyphens"
            );
        }
        if text.starts_with('-') || text.ends_with('-') {
            refuse!("`{text}` cannot name a lab: it starts or ends with a hyphen");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<LabName> for String {
    fn from(name: LabName) -> Self {
        name.0
    }
}

impl TryFrom<String> for LabName {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// Refuses a node's name that could not be told from its lab's, or that no file could carry.
pub fn check_node(node: &str) -> Result<()> {
    let Some((kind, rest)) = node.split_once('.') else {
        refuse!("`{node}` cannot name a node: it needs a kind, as in pop.tokyo");
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if kind.is_empty()
        || !kind.chars().all(|c| c.is_ascii_lowercase())
        || rest.is_empty()
        || !rest.chars().all(allowed)
    {
        refuse!(
            "`{node}` cannot name a node: a kind of lower-case letters, a dot, then letters, digits, `-`, `_` and `.`"
        );
    }
    if node.len() > NODE_BYTES_MAX {
        refuse!(
            "`{node}` is too long for a node: {} bytes, at most {NODE_BYTES_MAX}",
            node.len()
        );
    }
    Ok(())
}

fn parts(namespace: &str) -> Option<(&str, &str)> {
    let name = namespace.strip_prefix(NAMESPACE_PREFIX)?;
    let dot = name.find('.')?;
    let hyphen = name[..dot].rfind('-')?;
    Some((&name[..hyphen], &name[hyphen + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab(name: &str) -> LabName {
        name.parse().expect("a lab's name written in the test")
    }

    #[test]
    fn a_namespace_leads_back_to_its_lab_and_node() {
        for (lab_name, node) in [
            ("demo", "pop.tokyo"),
            ("demo-2", "region.guangzhou.clb-1"),
            ("a", "host.web-1"),
        ] {
            let namespace = lab(lab_name).namespace_of(node);
            assert_eq!(lab(lab_name).node_of(&namespace), Some(node));
        }
    }

    #[test]
    fn a_lab_never_claims_the_nodes_of_one_with_a_longer_name() {
        assert_eq!(lab("demo").node_of("anyedge-demo-2-pop.tokyo"), None);
        assert_eq!(lab("demo-2").node_of("anyedge-demo-pop.tokyo"), None);
        assert_eq!(lab("demo").node_of("anyedge-demo"), None);
        assert_eq!(lab("demo").node_of("other-demo-pop.tokyo"), None);
    }

    #[test]
    fn names_that_could_be_misread_are_refused() {
        for name in ["", "-a", "a-", "a.b", "A", "a/b", "a b", &"x".repeat(33)] {
            assert!(name.parse::<LabName>().is_err(), "{name}");
        }
        for node in [
            "tokyo",
            ".tokyo",
            "po-p.tokyo",
            "pop.",
            "pop.a/b",
            "pop.a b",
            &format!("pop.{}", "x".repeat(60)),
        ] {
            assert!(check_node(node).is_err(), "{node}");
        }
        assert!(check_node("pop.tokyo").is_ok());
    }
}
