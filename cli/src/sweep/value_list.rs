//! Values with commas between them: `0,0.1%,1%`. A comma within brackets, braces or quotes belongs to its value.

/// The values, without the spaces around them.
///
/// # Errors
/// Why they cannot be told apart.
pub(super) fn split(text: &str) -> Result<Vec<&str>, &'static str> {
    let mut values = Vec::new();
    let mut start = 0;
    let mut closers = Vec::new();
    let mut quote = None;
    let mut is_escaped = false;
    for (at, letter) in text.char_indices() {
        if let Some(end) = quote {
            let ends = letter == end && !is_escaped;
            is_escaped = letter == '\\' && end == '"' && !is_escaped;
            if ends {
                quote = None;
            }
            continue;
        }
        match letter {
            '"' | '\'' => quote = Some(letter),
            '[' => closers.push(']'),
            '{' => closers.push('}'),
            ']' | '}' if closers.pop() != Some(letter) => return Err("a bracket is not opened"),
            ',' if closers.is_empty() => {
                values.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed");
    }
    if !closers.is_empty() {
        return Err("a bracket is not closed");
    }
    values.push(text[start..].trim());
    if values.contains(&"") {
        return Err("an empty value");
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_inside_of_a_value_do_not_part_it() {
        assert_eq!(split("0, 0.1%,1%"), Ok(vec!["0", "0.1%", "1%"]));
        assert_eq!(
            split(r#"["a","b"],[],{x=1,y=2}"#),
            Ok(vec![r#"["a","b"]"#, "[]", "{x=1,y=2}"])
        );
        assert_eq!(split(r#""a,\"b",c"#), Ok(vec![r#""a,\"b""#, "c"]));
        assert_eq!(split("'a,b'"), Ok(vec!["'a,b'"]));
        for broken in ["", "a,", "[a", "a]", "\"a", "[a}"] {
            assert!(split(broken).is_err(), "{broken}");
        }
    }
}
