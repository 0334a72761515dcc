//! Figures with units: exact where they are accepted, refused where they are not.

use super::*;

#[test]
fn durations_are_exact_nanoseconds() {
    for (text, ns) in [
        ("9ms", 9_000_000),
        ("1.5s", 1_500_000_000),
        ("250us", 250_000),
        ("2m", 120_000_000_000),
        ("0s", 0),
        ("0.000001ms", 1),
        ("107.520ms", 107_520_000),
    ] {
        assert_eq!(duration(text), Ok(Duration::from_nanos(ns)), "{text}");
    }
    for text in [
        "",
        "9",
        "ms",
        "9 ms",
        ".5s",
        "5.s",
        "1.2.3s",
        "-1s",
        "0.5ns",
        "25h",
        "1e3s",
        "9MS",
        "99999999999999999999s",
    ] {
        assert!(duration(text).is_err(), "{text}");
    }
    assert!(duration_above_zero("0ms").is_err());
}

#[test]
fn rates_sizes_and_losses_are_integers() {
    assert_eq!(bits_per_second("10Gbps"), Ok(10_000_000_000));
    assert_eq!(bits_per_second("2.5Gbps"), Ok(2_500_000_000));
    assert_eq!(bits_per_second("unlimited"), Ok(0));
    assert!(bits_per_second("0bps").is_err() && bits_per_second("1Pbps").is_err());
    assert_eq!(
        (bytes("10KiB"), bytes("1KB"), bytes("1000B")),
        (Ok(10_240), Ok(1_000), Ok(1_000))
    );
    assert!(bytes("0.5B").is_err());
    assert_eq!(
        (parts_per_million("0.001%"), parts_per_million("100%")),
        (Ok(10), Ok(1_000_000))
    );
    assert!(parts_per_million("0.00001%").is_err() && parts_per_million("101%").is_err());
}

#[test]
fn a_frequency_is_an_exact_ratio() {
    let of = |count, secs| {
        Ok(Frequency {
            count,
            per: Duration::from_secs(secs),
        })
    };
    assert_eq!(frequency("200/s"), of(200, 1));
    assert_eq!(frequency("2.5/s"), of(5, 2));
    assert_eq!(frequency("1/m"), of(1, 60));
    for text in ["0/s", "200", "/s", "200/d", "0.0001/s", "10000001/s"] {
        assert!(frequency(text).is_err(), "{text}");
    }
}

#[test]
fn angles_keep_six_decimals_and_their_sign() {
    assert_eq!(microdegrees("-0.5", 90), Ok(-500_000));
    assert_eq!(microdegrees("180", 180), Ok(180_000_000));
    assert!(microdegrees("90.000001", 90).is_err());
    assert!(microdegrees("1e1", 90).is_err());
}
