//! What a sweep runs: every seed under every setting, a setting being one value of each axis.
//!
//! Runs are numbered, seeds fastest, the last axis before the first. A shard has every n-th of them, so that shards have
//! equally much to do whatever an axis costs, and together they are the whole.

use std::ops::RangeInclusive;

use super::axis::{Axis, Cell};

/// More runs would be more files than a folder is good for.
pub(crate) const RUNS_MAX: u64 = 1_000_000;

/// Roots of randomness, ascending, each once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seeds(Vec<u64>);

impl Seeds {
    pub(super) fn one(seed: u64) -> Seeds {
        Seeds(vec![seed])
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn as_slice(&self) -> &[u64] {
        &self.0
    }

    /// Reads `1..1000` or `1..20,99`: ranges with both of their ends.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub(crate) fn parse(text: &str) -> Result<Seeds, String> {
        let mut seeds = Vec::new();
        let mut count = 0;
        for part in text.split(',') {
            let range = range(part.trim())?;
            let more = (range.end() - range.start()).saturating_add(1);
            count = more.saturating_add(count);
            if count > RUNS_MAX {
                return Err(format!(
                    "more than {RUNS_MAX} seeds: hint: sweep them in parts, into several folders"
                ));
            }
            seeds.extend(range);
        }
        seeds.sort_unstable();
        if let Some(pair) = seeds.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("{} is there twice: hint: each seed once", pair[0]));
        }
        Ok(Seeds(seeds))
    }
}

fn range(part: &str) -> Result<RangeInclusive<u64>, String> {
    const EXAMPLE: &str =
        "hint: numbers and ranges with both of their ends, such as 1..1000 or 1..20,99";
    let number = |text: &str| {
        let text = text.trim();
        text.parse::<u64>()
            .map_err(|_| format!("`{text}` is no seed: {EXAMPLE}"))
    };
    let Some((first, last)) = part.split_once("..") else {
        let only = number(part)?;
        return Ok(only..=only);
    };
    let (first, last) = (number(first)?, number(last.trim_start_matches('='))?);
    if first > last {
        return Err(format!("{first} is above {last}: hint: {last}..{first}"));
    }
    Ok(first..=last)
}

/// Which part of the runs is ours: every `of`-th, from the `part`-th on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shard {
    part: u64,
    of: u64,
}

impl Shard {
    /// Reads `3/16`: the third of sixteen.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub(crate) fn parse(text: &str) -> Result<Shard, String> {
        let parts = text.split_once('/').and_then(|(part, of)| {
            Some((
                part.trim().parse::<u64>().ok()?,
                of.trim().parse::<u64>().ok()?,
            ))
        });
        let Some((part, of)) = parts else {
            return Err(format!(
                "`{text}` is no part of a whole: hint: such as 3/16"
            ));
        };
        if part == 0 || part > of {
            return Err(match of {
                0 => "there are no shards: hint: such as 3/16".to_owned(),
                of => format!("there is no shard {part}: hint: 1/{of} to {of}/{of}"),
            });
        }
        Ok(Shard { part, of })
    }

    fn has(self, number: u64) -> bool {
        number % self.of == self.part - 1
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.part, self.of)
    }
}

/// One value of each axis.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// As `--set` of a single run takes them.
    pub(super) overrides: Vec<String>,
    /// As columns.
    pub(super) cells: Vec<Cell>,
}

/// One run of a sweep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Planned {
    pub(super) setting: usize,
    pub(super) seed: u64,
}

/// All combinations of the axes' values.
///
/// # Errors
/// Two axes of one key, or too many runs.
pub(super) fn settings(axes: &[Axis], seeds: usize) -> Result<Vec<Setting>, String> {
    for (place, axis) in axes.iter().enumerate() {
        if axes[..place].iter().any(|other| other.key == axis.key) {
            let key = &axis.key;
            return Err(format!(
                "--set {key} is there twice\n  hint: all of its values in one, --set {key}=A,B"
            ));
        }
    }
    let counts = axes.iter().map(|axis| axis.values.len() as u64);
    let settings = counts.fold(1, u64::saturating_mul);
    let runs = settings.saturating_mul(seeds as u64);
    if runs > RUNS_MAX {
        return Err(format!(
            "{settings} settings with {seeds} seeds each are {runs} runs, more than {RUNS_MAX}\n  hint: sweep them in parts, \
             into several folders"
        ));
    }
    let mut all = vec![Setting {
        overrides: Vec::new(),
        cells: Vec::new(),
    }];
    for axis in axes {
        all = all
            .iter()
            .flat_map(|setting| axis.values.iter().map(|value| setting.with(axis, value)))
            .collect();
    }
    Ok(all)
}

impl Setting {
    fn with(&self, axis: &Axis, (text, cell): &(String, Cell)) -> Setting {
        let mut longer = self.clone();
        longer.overrides.push(format!("{}={text}", axis.key));
        longer.cells.push(cell.clone());
        longer
    }
}

/// The runs of a shard.
pub(super) fn runs(settings: usize, seeds: &Seeds, shard: Shard) -> Vec<Planned> {
    let all = (0..settings).flat_map(|setting| {
        let seeds = seeds.as_slice().iter();
        seeds.map(move |seed| Planned {
            setting,
            seed: *seed,
        })
    });
    let numbered = (0..).zip(all);
    let ours = numbered.filter(|(number, _)| shard.has(*number));
    ours.map(|(_, run)| run).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_ranges_with_both_ends() {
        assert_eq!(Seeds::parse("1..3,9"), Ok(Seeds(vec![1, 2, 3, 9])));
        assert_eq!(Seeds::parse("7..=8"), Ok(Seeds(vec![7, 8])));
        let all = format!("{}..{}", u64::MAX, u64::MAX);
        assert_eq!(Seeds::parse(&all), Ok(Seeds(vec![u64::MAX])));
        for (text, wanted) in [
            ("3..1", "1..3"),
            ("one", "no seed"),
            ("", "no seed"),
            ("1..2,2", "2 is there twice"),
            ("0..18446744073709551615", "more than 1000000"),
            ("-1", "no seed"),
        ] {
            let told = Seeds::parse(text).expect_err(text);
            assert!(told.contains(wanted) && told.contains("hint: "), "{told}");
        }
    }

    #[test]
    fn shards_are_disjoint_and_together_the_whole() {
        let seeds = Seeds::parse("1..7").expect("seeds");
        let whole = runs(3, &seeds, Shard { part: 1, of: 1 });
        assert_eq!(whole.len(), 21);
        let parts = (1..=4).map(|part| runs(3, &seeds, Shard { part, of: 4 }));
        let parts: Vec<Vec<Planned>> = parts.collect();
        assert!(parts.iter().all(|part| (5..=6).contains(&part.len())));
        let all: Vec<&Planned> = parts.iter().flatten().collect();
        assert_eq!(all.len(), whole.len());
        assert!(whole.iter().all(|run| all.contains(&run)));
    }

    #[test]
    fn a_shard_that_is_not_there_is_refused() {
        assert_eq!(Shard::parse("3/16"), Ok(Shard { part: 3, of: 16 }));
        for text in ["0/4", "5/4", "1/0", "1", "a/b", "1/2/3", "-1/2"] {
            let told = Shard::parse(text).expect_err(text);
            assert!(told.contains("hint: "), "{told}");
        }
    }

    #[test]
    fn settings_are_all_combinations() {
        let axes = ["a=1,2", "b=x,y,z"].map(|text| Axis::parse(text).expect("an axis"));
        let all = settings(&axes, 1).expect("few");
        let told: Vec<String> = all.iter().map(|it| it.overrides.join(" ")).collect();
        let wanted = [
            "a=1 b=x", "a=1 b=y", "a=1 b=z", "a=2 b=x", "a=2 b=y", "a=2 b=z",
        ];
        assert_eq!(told, wanted);
        let told = settings(&axes, 200_000).expect_err("1,200,000 runs");
        assert!(told.contains("in parts"), "{told}");
        let twice = ["a=1", "a=2"].map(|text| Axis::parse(text).expect("an axis"));
        let told = settings(&twice, 1).expect_err("one key twice");
        assert!(told.contains("--set a=A,B"), "{told}");
    }
}
