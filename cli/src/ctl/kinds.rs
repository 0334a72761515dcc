//! The kinds of objects, as people write them: `clb-node`, `CLB nodes`, `clbnode` are one.

use anyedge_ccn::table::object::Kind;

use super::trouble::Trouble;

/// `ClbNode` as `clb-node`: how names of kinds and of choices are written outside the code.
pub(crate) fn kebab(name: &str) -> String {
    let mut word = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !word.is_empty() {
            word.push('-');
        }
        word.push(letter.to_ascii_lowercase());
    }
    word
}

/// The kind's word.
pub(crate) fn word(kind: Kind) -> String {
    kebab(&format!("{kind:?}"))
}

/// All but secrets, which are not shown.
pub(crate) fn shown() -> impl Iterator<Item = Kind> {
    Kind::ALL
        .iter()
        .copied()
        .filter(|kind| *kind != Kind::Secret)
}

/// The kind that is written so.
pub(crate) fn read(text: &str) -> Result<Kind, Trouble> {
    let plain = |text: &str| -> String {
        let letters = text.chars().filter(char::is_ascii_alphanumeric);
        letters.map(|letter| letter.to_ascii_lowercase()).collect()
    };
    let wanted = plain(text);
    let found = shown().find(|kind| {
        let own = plain(&word(*kind));
        own == wanted || wanted.strip_suffix('s') == Some(&own)
    });
    found.ok_or_else(|| {
        let all: Vec<String> = shown().map(word).collect();
        Trouble::refused(
            format_args!("there is no kind `{text}`"),
            &format!("one of {}", all.join(", ")),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_read_however_people_write_it() {
        for text in ["clb-node", "clb_nodes", "ClbNode", "CLBNODES"] {
            assert_eq!(read(text), Ok(Kind::ClbNode), "{text}");
        }
        for kind in shown() {
            assert_eq!(read(&word(kind)), Ok(kind));
        }
        let wrong = read("nodes").expect_err("there is none");
        assert!(
            wrong
                .hint
                .expect("it lists them")
                .contains("clb-node, host")
        );
        assert!(read("secret").is_err(), "secrets are not shown");
    }
}
