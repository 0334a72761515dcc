//! Loss of each packet by itself and in bursts: how much is lost, and how long bursts are.
//!
//! With the chances `p` of turning bad and `r` of turning good, a share `p / (p + r)` of all packets meets the bad state
//! (Gilbert 1960), and a stay there lasts `1 / r` packets in the mean, geometrically. What one packet meets tells of
//! the next: the correlation from one to the next is `1 - p - r`, so the variance of a share of `n` is that of
//! independent draws times `(2 - p - r) / (p + r)`.

use anyedge_net::link::{GilbertElliott, Loss, Losses};
use anyedge_net::rng::Seed;

use super::theory::{Row, Within};

const PACKETS: u32 = 2_000_000;

/// Packets lost, and runs of lost ones.
fn count(loss: Loss) -> (f64, f64) {
    let mut losses = Losses::new("a>b", Seed(3));
    let (mut lost, mut bursts, mut before) = (0.0, 0.0, false);
    for _ in 0..PACKETS {
        let taken = losses.takes("a>b", loss);
        if taken {
            lost += 1.0;
        }
        if taken && !before {
            bursts += 1.0;
        }
        before = taken;
    }
    (lost, bursts)
}

pub(super) fn rows() -> Vec<Row> {
    let packets = f64::from(PACKETS);
    let mut rows = Vec::new();
    for ppm in [1_000, 50_000] {
        let share = f64::from(ppm) / 1e6;
        rows.push(Row {
            what: format!("each by itself, {} %: share lost, %", share * 100.0),
            theory: share * 100.0,
            found: count(Loss::Share(ppm)).0 / packets * 100.0,
            within: Within::ThreeSigma((share * (1.0 - share) / packets).sqrt() * 100.0),
        });
    }
    // Everything is lost in the bad state and nothing in the good one: a burst is a stay.
    for (good_to_bad_ppm, bad_to_good_ppm) in
        [(10_000, 200_000), (2_000, 50_000), (100_000, 500_000)]
    {
        let (p, r) = (
            f64::from(good_to_bad_ppm) / 1e6,
            f64::from(bad_to_good_ppm) / 1e6,
        );
        let (lost, bursts) = count(Loss::GilbertElliott(GilbertElliott {
            good_to_bad_ppm,
            bad_to_good_ppm,
            loss_bad_ppm: 1_000_000,
            loss_good_ppm: 0,
        }));
        let share = p / (p + r);
        let variance = share * (1.0 - share) / packets * (2.0 - p - r) / (p + r);
        rows.push(Row {
            what: format!("Gilbert-Elliott, p {p}, r {r}: share lost, %"),
            theory: share * 100.0,
            found: lost / packets * 100.0,
            within: Within::ThreeSigma(variance.sqrt() * 100.0),
        });
        rows.push(Row {
            what: format!("Gilbert-Elliott, p {p}, r {r}: packets in a burst"),
            theory: 1.0 / r,
            found: lost / bursts,
            within: Within::ThreeSigma((1.0 - r).sqrt() / r / bursts.sqrt()),
        });
    }
    rows
}
