//! An axis of a sweep: a key of the file and the values that it is set to, as a typed column of the results.
//!
//! All values of an axis have one kind, the narrowest that fits: whole numbers, numbers, figures with a unit in one base unit
//! (seconds, per cent, bit/s, bytes, times a second), else text. A `0` among figures with a unit is none of that unit.

use std::fmt;

use anyedge_topologies::units;
use serde::{Deserialize, Serialize};

use super::value_list;

/// What the values of a column are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// `true` or `false`
    Truth,
    /// Whole numbers
    Integer,
    /// Numbers
    Number,
    /// Times, in seconds
    Seconds,
    /// Shares, in per cent
    Percent,
    /// Rates of links
    BitsPerSecond,
    /// Sizes
    Bytes,
    /// Rates of bytes
    BytesPerSecond,
    /// How often
    PerSecond,
    /// Anything else, as it was given
    Text,
}

impl Kind {
    /// The narrowest first.
    const ALL: [Kind; 10] = [
        Kind::Truth,
        Kind::Integer,
        Kind::Number,
        Kind::Seconds,
        Kind::Percent,
        Kind::BitsPerSecond,
        Kind::Bytes,
        Kind::BytesPerSecond,
        Kind::PerSecond,
        Kind::Text,
    ];

    /// The unit of the column's figures.
    pub(crate) fn unit(self) -> Option<&'static str> {
        match self {
            Self::Seconds => Some("s"),
            Self::Percent => Some("%"),
            Self::BitsPerSecond => Some("bit/s"),
            Self::Bytes => Some("bytes"),
            Self::BytesPerSecond => Some("bytes/s"),
            Self::PerSecond => Some("1/s"),
            Self::Truth | Self::Integer | Self::Number | Self::Text => None,
        }
    }

    /// How a file writes none at all of that kind, where `0` would have no unit.
    fn zero(self) -> Option<&'static str> {
        match self {
            Self::Seconds => Some("0s"),
            Self::Percent => Some("0%"),
            Self::Bytes => Some("0B"),
            _ => None,
        }
    }

    fn cell(self, text: &str) -> Option<Cell> {
        if text == "0" && self.zero().is_some() {
            return Some(Cell::Number(0.0));
        }
        let number = match self {
            Self::Truth => return text.parse().ok().map(Cell::Truth),
            Self::Integer => return text.parse().ok().map(Cell::Integer),
            Self::Text => return Some(Cell::Text(text.to_owned())),
            Self::Number => text.parse().ok().filter(|number: &f64| number.is_finite()),
            Self::Seconds => units::duration(text).ok().map(|time| time.as_secs_f64()),
            Self::Percent => units::parts_per_million(text)
                .ok()
                .map(|ppm| f64::from(ppm) / 1e4),
            Self::BitsPerSecond => units::bits_per_second(text)
                .ok()
                .filter(|rate| *rate > 0)
                .map(|rate| rate as f64),
            Self::Bytes => units::bytes(text).ok().map(|size| size as f64),
            Self::BytesPerSecond => units::bytes_per_second(text).ok().map(|rate| rate as f64),
            Self::PerSecond => units::frequency(text)
                .ok()
                .map(|often| often.count as f64 / often.per.as_secs_f64()),
        };
        number.map(Cell::Number)
    }
}

/// A value in a column.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Cell {
    Truth(bool),
    Integer(i64),
    Number(f64),
    Text(String),
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truth(truth) => truth.fmt(f),
            Self::Integer(integer) => integer.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// A key and its values.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    pub(crate) key: String,
    pub(crate) kind: Kind,
    /// As a topology reads them, and as a column has them.
    pub(crate) values: Vec<(String, Cell)>,
}

impl Axis {
    /// Reads `key=value,value,..`.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub(crate) fn parse(text: &str) -> Result<Axis, String> {
        let wrong =
            |reason: &str, hint: &str| Err(format!("--set {text}: {reason}\n  hint: {hint}"));
        const EXAMPLE: &str = "such as link.tokyo-guangzhou.loss=0,0.1%,1%";
        let Some((key, list)) = text.split_once('=') else {
            return wrong("neither a key nor values: there is no `=`", EXAMPLE);
        };
        let key = key.trim();
        if key == "seed" {
            return wrong("the seed is no key to set here", "--seeds 1..1000");
        }
        if super::row_set::is_reserved(key) {
            let hint = "keys are paths of dots, such as link.tokyo-guangzhou.loss";
            return wrong("the results have a column of that name", hint);
        }
        let values = match value_list::split(list) {
            Ok(values) => values,
            Err(reason) => return wrong(reason, EXAMPLE),
        };
        let unquoted = |text: &'_ str| unquote(text).to_owned();
        let plain: Vec<String> = values.iter().map(|text| unquoted(text)).collect();
        let fits = |kind: &Kind| plain.iter().all(|text| kind.cell(text).is_some());
        let kind = Kind::ALL.into_iter().find(fits).unwrap_or(Kind::Text);
        let as_read = |text: &str| match kind.zero() {
            Some(zero) if text == "0" => zero.to_owned(),
            _ => text.to_owned(),
        };
        let cells = plain.iter().filter_map(|text| kind.cell(text));
        let values: Vec<(String, Cell)> =
            values.iter().map(|text| as_read(text)).zip(cells).collect();
        for (place, (again, cell)) in values.iter().enumerate() {
            if values[..place].iter().any(|(_, other)| other == cell) {
                let reason = format!("`{again}` is there twice");
                return wrong(&reason, "each value once");
            }
        }
        let key = key.to_owned();
        Ok(Axis { key, kind, values })
    }
}

/// A string of TOML without its quotes, where it is one without escapes.
fn unquote(text: &str) -> &str {
    for quote in ['"', '\''] {
        let inner = text
            .strip_prefix(quote)
            .and_then(|text| text.strip_suffix(quote));
        if let Some(inner) = inner.filter(|inner| !inner.contains([quote, '\\'])) {
            return inner;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(text: &str) -> (Kind, Vec<String>) {
        let axis = Axis::parse(text).expect("an axis");
        let cells = axis.values.iter().map(|(_, cell)| cell.to_string());
        (axis.kind, cells.collect())
    }

    #[test]
    fn values_have_the_narrowest_kind_that_fits_all_of_them() {
        let cases = [
            ("a=1,2", Kind::Integer, ["1", "2"]),
            ("a=1,2.5", Kind::Number, ["1", "2.5"]),
            ("a=true,false", Kind::Truth, ["true", "false"]),
            ("a=0,0.1%", Kind::Percent, ["0", "0.1"]),
            ("a=0,250ms", Kind::Seconds, ["0", "0.25"]),
            ("a=1m,\"90s\"", Kind::Seconds, ["60", "90"]),
            (
                "a=10Gbps,2.5Gbps",
                Kind::BitsPerSecond,
                ["10000000000", "2500000000"],
            ),
            ("a=unlimited,1Gbps", Kind::Text, ["unlimited", "1Gbps"]),
            ("a=1KiB,0", Kind::Bytes, ["1024", "0"]),
            ("a=30/m,200/s", Kind::PerSecond, ["0.5", "200"]),
            (
                "a=1MB/s,2MB/s",
                Kind::BytesPerSecond,
                ["1000000", "2000000"],
            ),
            ("a=gre,gre-udp", Kind::Text, ["gre", "gre-udp"]),
            ("a=[\"x\", \"y\"],[]", Kind::Text, ["[\"x\", \"y\"]", "[]"]),
        ];
        for (text, kind, cells) in cases {
            assert_eq!(
                kind_of(text),
                (kind, cells.map(str::to_owned).to_vec()),
                "{text}"
            );
        }
    }

    #[test]
    fn a_bare_zero_among_shares_is_given_to_the_file_with_its_unit() {
        let axis = Axis::parse("link.x.loss=0,1%").expect("an axis");
        let texts: Vec<&str> = axis.values.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, ["0%", "1%"]);
    }

    #[test]
    fn what_is_no_axis_is_refused_with_a_hint() {
        for (text, wanted) in [
            ("loss", "there is no `=`"),
            ("a=1,,2", "an empty value"),
            ("a=1%,1.0%", "`1.0%` is there twice"),
            ("a=[1,2", "is not closed"),
            ("seed=1,2", "--seeds"),
            ("metric=1", "column of that name"),
        ] {
            let told = Axis::parse(text).expect_err(text);
            assert!(told.contains(wanted) && told.contains("hint: "), "{told}");
        }
    }
}
