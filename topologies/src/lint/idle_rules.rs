//! L01 and L04: rules of a security group that never decide, since rules before them match all that they match.
//!
//! What stands before them may be one rule or several between them, in the order in which they are asked: by priority
//! first, and in profile `qingcloud` those that drop before others of their priority. A text that names a population
//! or a VIP becomes several rules, and is idle when all of them are. Groups are looked at one by one: in which order an
//! object binds them is another matter.

use anyedge_ccn::table::object::Quotas;
use anyedge_net::security_group::{self, Action, Precedence, Rule as GroupRule};

use crate::diagnostic::Wrong;
use crate::names::Kind;
use crate::security_group::Written;

use super::{Case, Rule};

/// L01: an idle rule, but for those of L04.
pub(super) fn shadowed(case: &Case<'_>, rule: &'static Rule) {
    each(case, |group, texts, idle| {
        if is_blacklist(texts, idle) {
            return;
        }
        let text = &texts[idle.text];
        let wrong = match before(texts, idle) {
            Some(by) => {
                let reason = format!(
                    "\"{}\" never decides: \"{}\" is asked before it and matches all of it",
                    text.text, by.text
                );
                let same = action(by) == action(text);
                let hint = if same {
                    "take it out: it changes nothing".to_owned()
                } else {
                    format!(
                        "{} it would decide; else take it out",
                        sooner(case, text, by)
                    )
                };
                Wrong::new(reason, hint)
            }
            None => Wrong::new(
                format!(
                    "\"{}\" never decides: the rules before it match all of it between them",
                    text.text
                ),
                "take it out, or move it above them",
            ),
        };
        case.found(rule, &Kind::SecurityGroup.object(group), &text.path, wrong);
    });
}

/// L04: an idle rule that drops, behind one that accepts everybody.
pub(super) fn blacklist(case: &Case<'_>, rule: &'static Rule) {
    each(case, |group, texts, idle| {
        if !is_blacklist(texts, idle) {
            return;
        }
        let text = &texts[idle.text];
        let Some(by) = idle.accepting(texts) else {
            return;
        };
        let reason = format!(
            "\"{}\" shuts nobody out: \"{}\" is asked before it and accepts everybody",
            text.text, by.text
        );
        let where_to = sooner(case, text, by);
        let hint = format!("{where_to}: the first rule that matches decides");
        let object = Kind::SecurityGroup.object(group);
        case.found(rule, &object, &text.path, Wrong::new(reason, hint));
    });
}

/// A text none of whose rules decides.
struct Idle {
    /// Its place among the texts of its group.
    text: usize,
    /// Its rules, each with those of the group that are asked before it.
    rules: Vec<(GroupRule, Vec<(usize, GroupRule)>)>,
}

impl Idle {
    /// The first text that accepts from everybody what an idle one drops.
    fn accepting<'w, 'a>(&self, texts: &'w [Written<'a>]) -> Option<&'w Written<'a>> {
        let (rule, before) = self.rules.first()?;
        let mut covering = before.iter();
        let (of, _) = covering.find(|(_, earlier)| earlier.covers(rule))?;
        texts.get(*of)
    }
}

/// Where an idle text would be asked before another.
fn sooner(case: &Case<'_>, text: &Written<'_>, by: &Written<'_>) -> String {
    let priority = |text: &Written<'_>| text.rules.first().map(|rule| rule.priority);
    let by_place = case.topology.precedence() == Precedence::First;
    if by_place && priority(text) == priority(by) {
        format!("above \"{}\"", by.text)
    } else {
        format!("with a smaller priority than \"{}\"", by.text)
    }
}

/// Shows every idle text of every group, with all texts of its group.
fn each(case: &Case<'_>, mut show: impl FnMut(&str, &[Written<'_>], &Idle)) {
    let precedence = case.topology.precedence();
    for group in case.topology.security_groups.keys() {
        let texts = case.written(group);
        let of = |(place, text): (usize, &Written<'_>)| {
            let rules = text.rules.clone().into_iter();
            rules.map(move |rule| (place, rule)).collect::<Vec<_>>()
        };
        let owned: Vec<(usize, GroupRule)> = texts.iter().enumerate().flat_map(of).collect();
        let rules: Vec<GroupRule> = owned.iter().map(|(_, rule)| *rule).collect();
        // A table refuses more, and the time to look through them grows with their number squared.
        if rules.len() > Quotas::RULES_PER_SECURITY_GROUP as usize {
            continue;
        }
        let decides = security_group::deciding(&rules, precedence);
        let order = security_group::order(&rules, precedence);
        for text in 0..texts.len() {
            let own = |asked: &usize| owned[order[*asked]].0 == text;
            let own: Vec<usize> = (0..order.len()).filter(own).collect();
            if own.is_empty() || own.iter().any(|asked| decides[order[*asked]]) {
                continue;
            }
            let with_those_before = |asked: usize| {
                let before = order[..asked].iter().map(|place| owned[*place]);
                (rules[order[asked]], before.collect())
            };
            let rules = own.into_iter().map(with_those_before).collect();
            show(group, &texts, &Idle { text, rules });
        }
    }
}

/// The text that matches by itself all that an idle one matches.
fn before<'w, 'a>(texts: &'w [Written<'a>], idle: &Idle) -> Option<&'w Written<'a>> {
    let (_, first) = idle.rules.first()?;
    let covers_all = |text: usize| {
        let mut rules = idle.rules.iter();
        rules.all(|(rule, before)| {
            let mut own = before.iter().filter(|(of, _)| *of == text);
            own.any(|(_, earlier)| earlier.covers(rule))
        })
    };
    let mut candidates = first.iter().map(|(of, _)| *of);
    let found = candidates.find(|of| *of != idle.text && covers_all(*of))?;
    texts.get(found)
}

/// Whether an idle text drops what was accepted from everybody before.
fn is_blacklist(texts: &[Written<'_>], idle: &Idle) -> bool {
    if action(&texts[idle.text]) != Some(Action::Drop) {
        return false;
    }
    idle.rules.iter().all(|(rule, before)| {
        let mut covering = before.iter().map(|(_, earlier)| earlier);
        let covering = covering.find(|earlier| earlier.covers(rule));
        covering.is_some_and(|earlier| earlier.action == Action::Accept && is_everybody(earlier))
    })
}

fn is_everybody(rule: &GroupRule) -> bool {
    rule.peer.is_none_or(|peer| peer.prefix_len() == 0)
}

/// All rules of a text have one.
fn action(text: &Written<'_>) -> Option<Action> {
    text.rules.first().map(|rule| rule.action)
}
