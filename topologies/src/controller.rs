//! `[controller.NAME]`: one of the machines that keep the route tables among them.
//!
//! There are 1, 3, 5 or 7 of them, at POPs, in regions or in cities of their own. A file that names none has three,
//! `controller.a`, `.b` and `.c`, in the home region of its first VIP. `controller.leader` stands for whoever leads
//! at the time, and is nobody's own name.

use std::collections::BTreeMap;

use crate::addresses::AddressPair;
use crate::book::{Book, FILE};
use crate::cities;
use crate::diagnostic::Wrong;
use crate::management::Spot;
use crate::names::{Kind, Names};
use crate::nearest::did_you_mean;
use crate::reader::Reader;
use crate::topology::Topology;

/// What stands for whoever leads.
pub const LEADER: &str = "leader";
/// Controllers of a file that names none.
pub(crate) const USUAL: [&str; 3] = ["a", "b", "c"];
/// How many there may be: a further one of an even number would be no help to any majority.
const COUNTS: [usize; 4] = [1, 3, 5, 7];
const COUNTS_TEXT: &str = "1, 3, 5 or 7 of them";

/// A machine that keeps the route tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    /// Name without its kind: `a`.
    pub name: String,
    /// Where it is.
    pub at: Spot,
    /// Its addresses on the management network. Both families are always there.
    pub management: AddressPair,
}

impl Controller {
    /// Reads one; `None` when where it is cannot be read.
    pub(crate) fn read(name: String, mut reader: Reader<'_>) -> Option<Self> {
        if name == LEADER {
            reader.wrong(Wrong::new(
                "\"leader\" stands for whoever leads",
                "another name, such as [controller.a]",
            ));
        }
        let names = &reader.book.names;
        let at = reader.need("at", "\"tokyo\"", |text| spot(text, names));
        reader.finish();
        Some(Self {
            name,
            at: at?,
            management: AddressPair::default(),
        })
    }

    /// Its full name: `controller.a`.
    #[must_use]
    pub fn object(&self) -> String {
        Kind::Controller.object(&self.name)
    }
}

/// A POP, a region, or a city that is known.
fn spot(text: &str, names: &Names) -> Result<Spot, Wrong> {
    let resolved = names.resolve(text, &[Kind::Pop, Kind::Region]);
    let bare = !text.contains('.');
    let is_both = names.has(Kind::Pop, text) && names.has(Kind::Region, text);
    match resolved {
        Ok((Kind::Pop, name)) => Ok(Spot::Pop(name)),
        Ok((_, name)) => Ok(Spot::Region(name)),
        Err(wrong) if !bare || is_both => Err(wrong),
        Err(_) if cities::coordinates(text).is_some() => Ok(Spot::City(text.to_owned())),
        Err(wrong) => {
            let near = wrong.hint.filter(|hint| hint.starts_with("did you mean"));
            let hint = near.unwrap_or_else(|| did_you_mean(text, cities::names()));
            Err(Wrong::new(
                format!("there is no pop, region or known city \"{text}\""),
                hint,
            ))
        }
    }
}

/// The three that a file has which names none.
pub(crate) fn usual(home: &str) -> BTreeMap<String, Controller> {
    let controller = |name: &str| Controller {
        name: name.to_owned(),
        at: Spot::Region(home.to_owned()),
        management: AddressPair::default(),
    };
    USUAL
        .iter()
        .map(|name| ((*name).to_owned(), controller(name)))
        .collect()
}

/// Whether there are as many controllers as a majority wants.
pub(crate) fn check_count(book: &Book<'_>, topology: &Topology) {
    let named = book.names.of(Kind::Controller).count();
    let count = topology.controllers.len();
    if named == 0 || named != count || COUNTS.contains(&count) {
        return;
    }
    let reason = match count {
        even if even % 2 == 0 => format!(
            "{even} controllers bear the loss of no more of them than {} would",
            even - 1
        ),
        many => format!("{many} controllers are more than there may be"),
    };
    book.report(
        FILE,
        Kind::Controller.word(),
        Wrong::new(reason, COUNTS_TEXT),
    );
}
