//! Figures as people read them: thousands apart, three digits, a unit.

/// `12345678` as `12,345,678`.
pub(super) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three digits, with k, M or G for thousands: `1.25 M`.
pub(super) fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        big if big >= 1e9 => (value / 1e9, " G"),
        big if big >= 1e6 => (value / 1e6, " M"),
        big if big >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    format!("{}{unit}", digits(scaled))
}

/// Three digits at least, no zeros at the end: `0.034`, `8.3`, `246`.
pub(super) fn digits(value: f64) -> String {
    if (1e4..1e15).contains(&value) {
        return count(libm::round(value) as u64);
    }
    let decimals = match value.abs() {
        big if big >= 100.0 => 0,
        big if big >= 10.0 => 1,
        big if big >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A time in seconds: `350 ms`, `3.9 s`.
pub(super) fn seconds(seconds: f64) -> String {
    if seconds != 0.0 && seconds.abs() < 1.0 {
        format!("{} ms", digits(seconds * 1e3))
    } else {
        format!("{} s", digits(seconds))
    }
}

/// A part of a whole in per cent, which is 100 or 0 only if it is all or nothing of it.
pub(super) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    let share = part as f64 * 100.0 / whole as f64;
    let text = format!("{share:.2}");
    match text.as_str() {
        "100.00" if part < whole => "> 99.99 %".to_owned(),
        "0.00" if part > 0 => "< 0.01 %".to_owned(),
        "100.00" => "100 %".to_owned(),
        "0.00" => "0 %".to_owned(),
        _ => format!("{text} %"),
    }
}

/// A coordinate of a drawing, to a tenth.
pub(super) fn at(value: f64) -> String {
    let text = format!("{value:.1}");
    match text.strip_suffix(".0") {
        Some("-0") => "0".to_owned(),
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_lose_no_thousands() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!((count(0), count(999)), ("0".into(), "999".into()));
        assert_eq!(short(1_250_000.0), "1.25 M");
        assert_eq!(short(9_999.0), "9999");
        assert_eq!(digits(0.0341), "0.034");
        assert_eq!(digits(12_345.6), "12,346");
        assert_eq!((digits(200.0), digits(8.30)), ("200".into(), "8.3".into()));
        assert_eq!(seconds(0.35), "350 ms");
        assert_eq!(at(-0.04), "0");
    }

    #[test]
    fn a_share_that_is_not_all_is_not_told_as_all() {
        assert_eq!(percent(999_999, 1_000_000), "> 99.99 %");
        assert_eq!(percent(1, 1_000_000), "< 0.01 %");
        assert_eq!(
            (percent(7, 7), percent(0, 7)),
            ("100 %".into(), "0 %".into())
        );
        assert_eq!(percent(1, 0), "-");
    }
}
