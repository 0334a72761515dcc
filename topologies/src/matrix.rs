//! `[rtt]`: round trips between cities, measured by somebody and kept in a CSV file beside the topology.
//!
//! Two shapes. Square: the first column names one end, the header the others. Long: a row for each pair, whose
//! columns `from`, `to` and `rtt` name. A figure is in milliseconds unless it has a unit; an empty one was not
//! measured. A pair that is missing one way round is looked up the other way round. Cities are compared without
//! their case, and a blank is a hyphen: `Hong Kong` is `hong-kong`.
//!
//! A column of standard deviations, such as the mdev of ping(8), becomes jitter of the same mean and deviation: an
//! even spread up to J in each direction adds J to the mean of a round trip and J/sqrt(6) to its deviation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use csv::StringRecord;
use xxhash_rust::xxh3;

use crate::book::bytes;
use crate::diagnostic::Wrong;
use crate::nearest::did_you_mean;
use crate::reader::{Field, Reader};
use crate::units;

/// Pairs in a file.
const PAIRS_MAX: usize = 1_000_000;
const EXAMPLE: &str = "\"rtt.csv\", a file beside this one";

/// Round trips by the names of both ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matrix {
    pairs: BTreeMap<(String, String), RoundTrip>,
    /// What objects are called in the file, by their own names.
    places: BTreeMap<String, String>,
    /// Where the figures are from, by the topology or by the file's name.
    pub(crate) source: String,
    /// The file.
    pub(crate) path: PathBuf,
    /// XXH3 of its bytes.
    pub(crate) hash: u64,
}

/// A way there and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RoundTrip {
    /// Without jitter.
    pub(crate) rtt: Duration,
    /// The most extra delay in each direction, drawn evenly.
    pub(crate) jitter: Duration,
}

/// The columns of a long table, by their headers.
struct Columns {
    from: String,
    to: String,
    rtt: String,
    jitter: Option<String>,
}

impl Matrix {
    /// Reads `[rtt]`. `None` without the table, and when it has a mistake.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Matrix> {
        let mut table = reader.table("rtt", "[rtt]")?.renamed("rtt");
        let field = table.field("matrix");
        if field.is_none() {
            table.missing("matrix", EXAMPLE);
        }
        let named = table.text("matrix");
        let columns = columns(&mut table);
        let source = table.text("source");
        let places = places(&mut table);
        let read = field
            .zip(named)
            .zip(columns)
            .map(|((field, named), columns)| Self::of(&table, &field, named, columns));
        table.finish();
        let matrix = read??;
        Some(Matrix {
            places,
            source: source.unwrap_or(matrix.source),
            ..matrix
        })
    }

    /// What the file of that name has, beside the topology's.
    fn of(
        table: &Reader<'_>,
        field: &Field<'_>,
        named: String,
        columns: Option<Columns>,
    ) -> Option<Matrix> {
        let path = table.book.path_beside(&field.span, &named);
        let read = bytes(&path).and_then(|bytes| {
            let pairs = pairs(&path, &bytes, columns.as_ref())?;
            Ok((pairs, xxh3::xxh3_64(&bytes)))
        });
        match read {
            Ok((pairs, hash)) => Some(Matrix {
                pairs,
                hash,
                places: BTreeMap::new(),
                source: named,
                path,
            }),
            Err(wrong) => {
                table.wrong_at(field, wrong);
                None
            }
        }
    }

    /// The way between two objects, each by its own name and the city that it is in.
    pub(crate) fn between(&self, from: [&str; 2], to: [&str; 2]) -> Option<RoundTrip> {
        let (from, to) = (self.names(from), self.names(to));
        let pairs = from
            .iter()
            .flat_map(|from| to.iter().map(move |to| (from, to)));
        let mut found = pairs.map(|(from, to)| {
            let there = self.pairs.get(&(from.clone(), to.clone()));
            there.or_else(|| self.pairs.get(&(to.clone(), from.clone())))
        });
        found.find_map(Option::<&RoundTrip>::copied)
    }

    /// What an object may be called in the file: as `places` has it alone, else by its name or its city.
    fn names(&self, [own, city]: [&str; 2]) -> Vec<String> {
        match self.places.get(own) {
            Some(place) => vec![place.clone()],
            None => vec![plain(own), plain(city)],
        }
    }
}

/// `from`, `to` and `rtt`, all three or none; `Some(None)` for a square table.
fn columns(table: &mut Reader<'_>) -> Option<Option<Columns>> {
    let [from, to, rtt] = ["from", "to", "rtt"].map(|key| table.text(key));
    let jitter = table.text("jitter");
    let given = [&from, &to, &rtt];
    if given.iter().all(|key| key.is_none()) {
        if let Some(field) = table.field("jitter") {
            let hint = "from, to and rtt as well, the columns of a table with a row for each pair";
            table.wrong_at(&field, Wrong::new("a square table has no columns", hint));
            return None;
        }
        return Some(None);
    }
    for (key, example) in [
        ("from", "\"src\""),
        ("to", "\"dst\""),
        ("rtt", "\"avg_ms\""),
    ] {
        if table.field(key).is_none() {
            table.missing(key, example);
        }
    }
    let (from, to, rtt) = (from?, to?, rtt?);
    Some(Some(Columns {
        from,
        to,
        rtt,
        jitter,
    }))
}

/// `places = { beijing = "Zhangjiakou" }`.
fn places(table: &mut Reader<'_>) -> BTreeMap<String, String> {
    let entries = table.entries("places", "places = { beijing = \"Zhangjiakou\" }");
    let read = |(own, _, field): (&str, _, Field<'_>)| {
        let place = table.text_of(&field, "\"Zhangjiakou\"")?;
        Some((own.to_owned(), plain(place)))
    };
    entries.into_iter().filter_map(read).collect()
}

/// A name as it is compared.
fn plain(name: &str) -> String {
    let words = name.split([' ', '_']).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_lowercase()
}

type Pairs = BTreeMap<(String, String), RoundTrip>;

fn pairs(path: &Path, bytes: &[u8], columns: Option<&Columns>) -> Result<Pairs, Wrong> {
    let shown = path.display();
    let mut csv = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(bytes);
    let misread = |error: csv::Error| Wrong::bare(format!("{shown}: {error}"));
    let headers = csv.headers().map_err(misread)?.clone();
    let cells =
        Cells::of(&headers, columns).map_err(|wrong| wrong.within(format!("{shown}:1: ")))?;
    let mut pairs = Pairs::new();
    for row in csv.records() {
        let row = row.map_err(misread)?;
        let line = row.position().map_or(0, csv::Position::line);
        cells
            .read(&row, &mut pairs)
            .map_err(|wrong| wrong.within(format!("{shown}:{line}: ")))?;
        if pairs.len() > PAIRS_MAX {
            let reason = format!("{shown} has more than {PAIRS_MAX} pairs");
            return Err(Wrong::new(reason, "those that are needed"));
        }
    }
    Ok(pairs)
}

/// Where in a row what is.
enum Cells {
    /// The other end of each column but the first.
    Square(Vec<String>),
    Long {
        from: usize,
        to: usize,
        rtt: usize,
        jitter: Option<usize>,
    },
}

impl Cells {
    fn of(headers: &StringRecord, columns: Option<&Columns>) -> Result<Cells, Wrong> {
        let Some(columns) = columns else {
            return Ok(Cells::Square(headers.iter().skip(1).map(plain).collect()));
        };
        let place = |name: &str| {
            let found = headers.iter().position(|header| header == name);
            found.ok_or_else(|| {
                let hint = did_you_mean(name, headers.iter());
                Wrong::new(format!("there is no column `{name}`"), hint)
            })
        };
        Ok(Cells::Long {
            from: place(&columns.from)?,
            to: place(&columns.to)?,
            rtt: place(&columns.rtt)?,
            jitter: columns.jitter.as_deref().map(place).transpose()?,
        })
    }

    fn read(&self, row: &StringRecord, pairs: &mut Pairs) -> Result<(), Wrong> {
        let at = |index: usize| row.get(index).unwrap_or_default();
        match self {
            Cells::Square(ends) => {
                let from = plain(at(0));
                for (to, text) in ends.iter().zip(row.iter().skip(1)) {
                    add(pairs, (from.clone(), to.clone()), text, "")?;
                }
                Ok(())
            }
            Cells::Long {
                from,
                to,
                rtt,
                jitter,
            } => {
                let ends = (plain(at(*from)), plain(at(*to)));
                add(pairs, ends, at(*rtt), jitter.map_or("", at))
            }
        }
    }
}

/// Adds a pair, unless it was not measured or leads nowhere.
fn add(pairs: &mut Pairs, ends: (String, String), rtt: &str, spread: &str) -> Result<(), Wrong> {
    if rtt.is_empty() || ends.0 == ends.1 {
        return Ok(());
    }
    let measured = figure(rtt)?;
    if measured.is_zero() {
        let reason = format!("\"{rtt}\" from {} to {}", ends.0, ends.1);
        return Err(Wrong::new(reason, "a time above zero, or nothing"));
    }
    let spread = match spread {
        "" => Duration::ZERO,
        text => figure(text)?,
    };
    let trip = RoundTrip::of(measured, spread);
    if pairs
        .insert(ends.clone(), trip)
        .is_some_and(|was| was != trip)
    {
        let reason = format!("a second round trip from {} to {}", ends.0, ends.1);
        return Err(Wrong::new(reason, "each pair once"));
    }
    Ok(())
}

/// A time, in milliseconds unless it says otherwise.
fn figure(text: &str) -> Result<Duration, Wrong> {
    if text.ends_with(|last: char| last.is_ascii_alphabetic()) {
        units::duration(text)
    } else {
        units::duration(&format!("{text}ms"))
    }
}

impl RoundTrip {
    /// The way whose round trips have this mean and standard deviation; at most half of the mean is jitter.
    fn of(mean: Duration, deviation: Duration) -> RoundTrip {
        let nanos = |time: Duration| time.as_nanos() as f64;
        let wanted = libm::round(nanos(deviation) * libm::sqrt(6.0));
        let jitter = Duration::from_nanos(wanted as u64).min(mean / 2);
        RoundTrip {
            rtt: mean - jitter,
            jitter,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn read(text: &str, columns: Option<&Columns>) -> Result<Pairs, Wrong> {
        pairs(Path::new("rtt.csv"), text.as_bytes(), columns)
    }

    fn matrix(pairs: Pairs) -> Matrix {
        Matrix {
            pairs,
            places: [("beijing".to_owned(), "zhangjiakou".to_owned())].into(),
            ..Matrix::default()
        }
    }

    fn rtt(matrix: &Matrix, from: &str, to: &str) -> Option<Duration> {
        matrix.between([from, from], [to, to]).map(|trip| trip.rtt)
    }

    #[test]
    fn a_square_table_is_read_both_ways_round_and_its_gaps_are_gaps() {
        let text =
            "from\\to,Zhangjiakou,Hong Kong,Tokyo\nZhangjiakou,0,,219.46\nHong Kong,41.5,0,\n";
        let found = matrix(read(text, None).expect("it is sound"));
        assert_eq!(rtt(&found, "beijing", "tokyo"), Some(MS * 21_946 / 100));
        assert_eq!(rtt(&found, "tokyo", "beijing"), Some(MS * 21_946 / 100));
        assert_eq!(rtt(&found, "beijing", "hong-kong"), Some(MS * 415 / 10));
        assert_eq!(rtt(&found, "hong-kong", "tokyo"), None);
        assert_eq!(rtt(&found, "zhangjiakou", "zhangjiakou"), None);
        let by_city = found.between(["asia-1", "Hong Kong"], ["beijing", "beijing"]);
        assert_eq!(by_city.map(|trip| trip.rtt), Some(MS * 415 / 10));
    }

    #[test]
    fn a_long_table_has_columns_and_its_deviation_becomes_jitter_of_the_same_mean() {
        let columns = Columns {
            from: "src".to_owned(),
            to: "dst".to_owned(),
            rtt: "avg".to_owned(),
            jitter: Some("mdev".to_owned()),
        };
        let text = "src,dst,avg,mdev\nOsaka,Tokyo,10,1\nOsaka,Seoul,10ms,40\nOsaka,Pune,10,\n";
        let found = read(text, Some(&columns)).expect("it is sound");
        let of = |to: &str| found[&("osaka".to_owned(), to.to_owned())];
        let tokyo = of("tokyo");
        assert_eq!(tokyo.rtt + tokyo.jitter, MS * 10);
        assert_eq!(tokyo.jitter.as_micros(), 2_449);
        assert_eq!(of("seoul").jitter, MS * 5, "half of it at most");
        assert_eq!(of("pune"), RoundTrip::of(MS * 10, Duration::ZERO));
        let other = Columns {
            rtt: "agv".to_owned(),
            ..columns
        };
        let wrong = read(text, Some(&other)).expect_err("no such column");
        assert!(
            wrong.reason.ends_with(":1: there is no column `agv`"),
            "{wrong:?}"
        );
        assert_eq!(wrong.hint.as_deref(), Some("did you mean `avg`?"));
    }

    #[test]
    fn what_is_no_table_of_times_is_refused_with_its_line() {
        for (text, wanted) in [
            ("a,b\nc,fast\n", ":2: \"fast"),
            ("a,b\nc,1\nd,-3\n", ":3: \"-3"),
            ("a,b\nc,0\n", ":2: \"0\" from c to b"),
            ("a,b\nc,1,2\n", "record 1"),
            ("a,b\nc,1\nc,2\n", ":3: a second round trip from c to b"),
        ] {
            let wrong = read(text, None).expect_err("it is not sound");
            assert!(wrong.reason.contains(wanted), "{text:?}: {wrong:?}");
        }
        let wrong = bytes(Path::new("no/such.csv")).expect_err("there is no file");
        assert!(
            wrong.reason.contains("no/such.csv cannot be read"),
            "{wrong:?}"
        );
    }
}
