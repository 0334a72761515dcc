//! How a link loses packets: each by itself with one chance, or in bursts.
//!
//! Bursts are those of Gilbert (Bell System Technical Journal 39, 1960) and Elliott (42, 1963): a link is in a good
//! or a bad state, changes between them from packet to packet, and loses with the chance of the state it is in.

use anyedge_net::link::{GilbertElliott, Loss};
use toml::de::DeValue;

use crate::diagnostic::Wrong;
use crate::reader::Reader;
use crate::units;

/// Reads a percentage or a table.
pub(crate) fn read(reader: &mut Reader<'_>, key: &'static str, example: &str) -> Option<Loss> {
    let field = reader.field(key)?;
    if !matches!(field.value, DeValue::Table(_)) {
        let share = reader.parse_field(&field, example, units::parts_per_million);
        return share.map(Loss::Share);
    }
    let mut table = reader.reader_of(&field, example)?;
    let model = table.need("model", "\"gilbert-elliott\"", |text| match text {
        "gilbert-elliott" => Ok(()),
        _ => Err(Wrong::new(
            format!("there is no loss model \"{text}\""),
            "\"gilbert-elliott\", or a percentage in place of the table",
        )),
    });
    let good_to_bad = table.need("good_to_bad", "\"1%\"", units::parts_per_million);
    let bad_to_good = table.need("bad_to_good", "\"10%\"", units::parts_per_million);
    let loss_bad = table.parse("loss_bad", "\"50%\"", units::parts_per_million);
    let loss_good = table.parse("loss_good", "\"0%\"", units::parts_per_million);
    table.finish();
    model?;
    Some(Loss::GilbertElliott(GilbertElliott {
        good_to_bad_ppm: good_to_bad?,
        bad_to_good_ppm: bad_to_good?,
        loss_bad_ppm: loss_bad.unwrap_or(units::PPM_WHOLE),
        loss_good_ppm: loss_good.unwrap_or(0),
    }))
}
