//! The nearest known word to a mistyped one.
//!
//! A hint names one word if it is near enough to be a typo, else the words that are known. Distance is the
//! optimal string alignment distance: insertions, deletions, substitutions, swaps of neighbours.

/// The nearest of `known` to a mistyped word, else the list of them.
#[must_use]
pub fn did_you_mean<'k>(word: &str, known: impl Iterator<Item = &'k str> + Clone) -> String {
    let near = known
        .clone()
        .map(|name| (edit_distance(word, name), name))
        .filter(|(distance, name)| is_near(*distance, name))
        .min();
    match near {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None => listed(known),
    }
}

/// The first of many words, for a hint.
pub(crate) fn listed<'k>(known: impl Iterator<Item = &'k str>) -> String {
    const SHOWN_MAX: usize = 12;
    let all: Vec<&str> = known.collect();
    let shown = all
        .iter()
        .take(SHOWN_MAX)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    match all.len().saturating_sub(SHOWN_MAX) {
        0 => format!("known: {shown}"),
        more => format!("known: {shown} and {more} more"),
    }
}

/// Whether a word at that distance may be a typo of the name.
pub(crate) fn is_near(distance: usize, name: &str) -> bool {
    distance <= (name.len() / 3).max(1)
}

/// Insertions, deletions, substitutions and swaps of neighbours that turn one word into the other
/// (optimal string alignment).
pub(crate) fn edit_distance(a: &str, b: &str) -> usize {
    const LENGTH_MAX: usize = 64;
    let a: Vec<char> = a.chars().take(LENGTH_MAX).collect();
    let b: Vec<char> = b.chars().take(LENGTH_MAX).collect();
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    rows[0] = (0..=b.len()).collect();
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let substituted = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = substituted.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swapped_neighbours_count_once() {
        assert_eq!(edit_distance("tokoy", "tokyo"), 1);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
    }
}
