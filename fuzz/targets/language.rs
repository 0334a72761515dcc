//! The small languages inside a topology and on the command line: figures with units, expectations, rules of security
//! groups, keys that are set otherwise. None panics, and what is read can be written and read again.

use core::time::Duration;

use anyedge_net::security_group::{Direction, Rule};
use anyedge_topologies::{Expectation, Metric, Topology, units};

use crate::input::Input;

/// As small as one can be and still be accepted.
const TOPOLOGY: &str = include_str!("../../topologies/two-pops.toml");

pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let choice = input.byte();
    let Ok(text) = core::str::from_utf8(input.rest()) else {
        return;
    };
    match choice % 4 {
        0 => figures(text),
        1 => expectation(text),
        2 => rule(text),
        _ => overridden(text),
    }
}

fn figures(text: &str) {
    if let Ok(time) = units::duration(text) {
        let written = format!("{}ns", time.as_nanos());
        assert_eq!(units::duration(&written), Ok(time));
        assert_eq!(
            units::duration_above_zero(text).is_ok(),
            time > Duration::ZERO
        );
    }
    if let Ok(rate) = units::bits_per_second(text) {
        assert_eq!(
            units::bits_per_second(&format!("{rate}bps")).ok(),
            Some(rate).filter(|rate| *rate > 0)
        );
    }
    if let Ok(size) = units::bytes(text) {
        assert_eq!(units::bytes(&format!("{size}B")), Ok(size));
    }
    if let Ok(size) = units::bytes_per_second(text) {
        assert_eq!(units::bytes_per_second(&format!("{size}B/s")), Ok(size));
    }
    if let Ok(ppm) = units::parts_per_million(text) {
        let written = format!("{}.{:04}%", ppm / 10_000, ppm % 10_000);
        assert_eq!(units::parts_per_million(&written), Ok(ppm));
    }
    if let Ok(ppm) = units::drift(text) {
        assert_eq!(units::drift(&format!("{ppm}ppm")), Ok(ppm));
    }
    if let Ok(often) = units::frequency(text) {
        assert!(often.count > 0 && often.per > Duration::ZERO);
        let per_s = often.count / often.per.as_secs().max(1);
        assert!(per_s <= 10_000_000, "{often:?}");
    }
}

fn expectation(text: &str) {
    let Ok(read) = Expectation::parse(text) else {
        return;
    };
    assert_eq!(read.text, text);
    if let Metric::Share(target) = read.metric {
        let written = format!("share {target} >= 1%");
        let again = Expectation::parse(&written);
        assert_eq!(again.map(|it| it.metric), Ok(read.metric), "{written}");
    }
}

fn rule(text: &str) {
    for direction in [Direction::Ingress, Direction::Egress] {
        if let Ok(rule) = Rule::parse(direction, text) {
            let written = rule.to_string();
            assert_eq!(Rule::parse(direction, &written), Ok(rule), "{written}");
            assert!(rule.covers(&rule));
        }
    }
}

/// A mistake in a key that is set otherwise stands in what was given, and what is accepted is remembered.
fn overridden(text: &str) {
    let overrides = [text.to_owned()];
    match Topology::parse_with("no-such-folder/fuzzed.toml", TOPOLOGY, &overrides) {
        Ok(topology) => assert_eq!(topology.overrides, overrides),
        Err(mistakes) => {
            assert!(!mistakes.is_empty());
            for mistake in &mistakes {
                assert!(!mistake.reason.is_empty(), "{mistake:?}");
                let within = match &mistake.option {
                    Some(option) => option,
                    None => TOPOLOGY,
                };
                let span = &mistake.span;
                assert!(
                    span.start <= span.end && span.end <= within.len(),
                    "{mistake:?}"
                );
                assert!(mistake.line >= 1 && mistake.column >= 1, "{mistake:?}");
            }
        }
    }
}
