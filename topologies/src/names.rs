//! Names of objects, and what a reference in a file may mean.
//!
//! An object has a typed name, `pop.tokyo`. A bare `tokyo` is accepted where only one object can be meant; a
//! POP and a region may share a city, and then the reference must say which. A name that is not known is
//! answered with the nearest one that is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::diagnostic::Wrong;
use crate::nearest::{edit_distance, is_near, listed};

/// What an object is; the word before the dot of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An anycast address.
    Vip,
    /// A point of presence.
    Pop,
    /// A region: where load balancers and backends are.
    Region,
    /// A backbone link between a POP and a region.
    Link,
    /// A load balancer.
    Clb,
    /// A set of backend servers.
    Targets,
    /// A backend's host.
    Host,
    /// A population of clients.
    Client,
    /// A machine that keeps the route tables.
    Controller,
    /// The router beside a POP, of the POP's name.
    Router,
    /// Rules of who may open flows.
    SecurityGroup,
    /// Servers that join and leave listeners together.
    AutoScaling,
    /// An elastic network interface.
    Eni,
}

impl Kind {
    /// Every kind, in the order in which a file usually has them.
    pub const ALL: [Kind; 13] = [
        Kind::Vip,
        Kind::Pop,
        Kind::Region,
        Kind::Link,
        Kind::Clb,
        Kind::Targets,
        Kind::Host,
        Kind::Client,
        Kind::Controller,
        Kind::Router,
        Kind::SecurityGroup,
        Kind::AutoScaling,
        Kind::Eni,
    ];

    /// The word before the dot.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::Vip => "vip",
            Kind::Pop => "pop",
            Kind::Region => "region",
            Kind::Link => "link",
            Kind::Clb => "clb",
            Kind::Targets => "targets",
            Kind::Host => "host",
            Kind::Client => "client",
            Kind::Controller => "controller",
            Kind::Router => "router",
            Kind::SecurityGroup => "security_group",
            Kind::AutoScaling => "autoscaling",
            Kind::Eni => "eni",
        }
    }

    /// The full name of an object of this kind: `pop.tokyo`.
    #[must_use]
    pub fn object(self, name: &str) -> String {
        format!("{}.{name}", self.word())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Every name that a file defines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    known: BTreeMap<Kind, BTreeSet<String>>,
}

impl Names {
    pub(crate) fn insert(&mut self, kind: Kind, name: &str) {
        self.known.entry(kind).or_default().insert(name.to_owned());
    }

    pub(crate) fn has(&self, kind: Kind, name: &str) -> bool {
        self.known
            .get(&kind)
            .is_some_and(|names| names.contains(name))
    }

    pub(crate) fn of(&self, kind: Kind) -> impl Iterator<Item = &str> + Clone {
        self.known
            .get(&kind)
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    /// Which object of the given kinds `text` means.
    pub(crate) fn resolve(&self, text: &str, kinds: &[Kind]) -> Result<(Kind, String), Wrong> {
        let wanted = kinds
            .iter()
            .map(|kind| kind.word())
            .collect::<Vec<_>>()
            .join(" or ");
        if let Some((word, name)) = text.split_once('.') {
            return match Kind::ALL.into_iter().find(|kind| kind.word() == word) {
                Some(kind) if !kinds.contains(&kind) => Err(Wrong::new(
                    format!("\"{text}\" is no {wanted}"),
                    self.suggest(name, kinds),
                )),
                Some(kind) if self.has(kind, name) => Ok((kind, name.to_owned())),
                Some(kind) => Err(Wrong::new(
                    format!("there is no {text}"),
                    self.suggest(name, &[kind]),
                )),
                None => Err(Wrong::new(
                    format!("there is no {text}"),
                    self.suggest(text, kinds),
                )),
            };
        }
        let meant: Vec<Kind> = kinds
            .iter()
            .copied()
            .filter(|kind| self.has(*kind, text))
            .collect();
        match meant.as_slice() {
            [kind] => Ok((*kind, text.to_owned())),
            [] => Err(Wrong::new(
                format!("there is no {wanted} \"{text}\""),
                self.suggest(text, kinds),
            )),
            many => {
                let full: Vec<String> = many.iter().map(|kind| kind.object(text)).collect();
                Err(Wrong::new(
                    format!("\"{text}\" is ambiguous: it is both {}", full.join(" and ")),
                    format!(
                        "write {}",
                        full.iter()
                            .map(|name| format!("\"{name}\""))
                            .collect::<Vec<_>>()
                            .join(" or ")
                    ),
                ))
            }
        }
    }

    fn suggest(&self, text: &str, kinds: &[Kind]) -> String {
        let candidates: Vec<(String, &str)> = kinds
            .iter()
            .flat_map(|kind| self.of(*kind).map(|name| (kind.object(name), name)))
            .collect();
        let near = candidates
            .iter()
            .map(|(full, name)| (edit_distance(text, name), full))
            .filter(|(distance, full)| {
                is_near(*distance, full.split_once('.').map_or("", |(_, name)| name))
            })
            .min();
        match near {
            Some((_, full)) => format!("did you mean \"{full}\"?"),
            None if candidates.is_empty() => format!("the file has no [{}.NAME]", kinds[0]),
            None => listed(candidates.iter().map(|(full, _)| full.as_str())),
        }
    }
}

/// Checks a name that a file gives to an object.
pub(crate) fn check(name: &str) -> Result<(), Wrong> {
    let inner = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if (1..=40).contains(&name.len()) && inner && !name.starts_with('-') && !name.ends_with('-') {
        return Ok(());
    }
    Err(Wrong::new(
        format!("\"{}\" is not a name", name.escape_debug()),
        "1 to 40 lowercase letters, digits and '-', not at either end",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let mut names = Names::default();
        names.insert(Kind::Pop, "tokyo");
        names.insert(Kind::Pop, "guangzhou");
        names.insert(Kind::Region, "guangzhou");
        names
    }

    #[test]
    fn a_bare_name_is_resolved_where_one_object_matches() {
        let names = names();
        assert_eq!(
            names.resolve("tokyo", &[Kind::Pop, Kind::Region]),
            Ok((Kind::Pop, "tokyo".to_owned()))
        );
        assert_eq!(
            names.resolve("guangzhou", &[Kind::Region]),
            Ok((Kind::Region, "guangzhou".to_owned()))
        );
        let ambiguous = names
            .resolve("guangzhou", &[Kind::Pop, Kind::Region])
            .expect_err("both exist");
        assert_eq!(
            ambiguous.reason,
            "\"guangzhou\" is ambiguous: it is both pop.guangzhou and region.guangzhou"
        );
    }

    #[test]
    fn a_typo_is_answered_with_the_nearest_name() {
        let hint = |text| {
            names()
                .resolve(text, &[Kind::Pop])
                .expect_err("unknown")
                .hint
        };
        assert_eq!(
            hint("tokoy"),
            Some("did you mean \"pop.tokyo\"?".to_owned())
        );
        assert_eq!(
            hint("pop.guangzou"),
            Some("did you mean \"pop.guangzhou\"?".to_owned())
        );
        assert_eq!(
            hint("lima"),
            Some("known: pop.guangzhou, pop.tokyo".to_owned())
        );
    }

    #[test]
    fn names_are_lowercase_letters_digits_and_inner_hyphens() {
        for good in ["a", "hong-kong", "web2"] {
            assert_eq!(check(good), Ok(()));
        }
        for bad in [
            "",
            "-a",
            "a-",
            "Tokyo",
            "são-paulo",
            "a.b",
            "a_b",
            &"x".repeat(41),
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
