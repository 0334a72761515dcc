//! How a link loses packets: each by itself with one chance, or in bursts.
//!
//! Bursts are those of Gilbert (Bell System Technical Journal 39, 1960) and Elliott (42, 1963): a link is in a good
//! or a bad state, changes between them from packet to packet, and loses with the chance of the state it is in.

use toml::de::DeValue;

use crate::diagnostic::Wrong;
use crate::reader::Reader;
use crate::units;

/// How a link loses packets; all chances in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Every packet by itself with this chance.
    Share(u32),
    /// In bursts.
    GilbertElliott(GilbertElliott),
}

/// The chances of a link with a good and a bad state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GilbertElliott {
    /// That the state turns bad with the next packet.
    pub good_to_bad_ppm: u32,
    /// That the state turns good with the next packet.
    pub bad_to_good_ppm: u32,
    /// That a packet is lost in the bad state.
    pub loss_bad_ppm: u32,
    /// That a packet is lost in the good state.
    pub loss_good_ppm: u32,
}

impl Loss {
    /// Nothing is lost.
    pub const NONE: Self = Self::Share(0);

    /// Reads a percentage or a table.
    pub(crate) fn read(reader: &mut Reader<'_>, key: &'static str, example: &str) -> Option<Self> {
        let field = reader.field(key)?;
        if !matches!(field.value, DeValue::Table(_)) {
            let share = reader.parse_field(&field, example, units::parts_per_million);
            return share.map(Self::Share);
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
        Some(Self::GilbertElliott(GilbertElliott {
            good_to_bad_ppm: good_to_bad?,
            bad_to_good_ppm: bad_to_good?,
            loss_bad_ppm: loss_bad.unwrap_or(units::PPM_WHOLE),
            loss_good_ppm: loss_good.unwrap_or(0),
        }))
    }
}
