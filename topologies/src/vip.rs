//! `[vip.NAME]`: an anycast address, where it is announced and which load balancer answers it.

use crate::addresses::AddressPair;
use crate::diagnostic::Wrong;
use crate::names::Kind;
use crate::reader::Reader;

/// An anycast address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    /// Name without its kind: `game`.
    pub name: String,
    /// The addresses, one at least.
    pub address: AddressPair,
    /// The publish domain: names of the POPs that announce it, sorted, one at least.
    pub publish: Vec<String>,
    /// Name of the CLB behind it.
    pub clb: String,
}

impl Vip {
    pub(crate) fn read(name: String, mut reader: Reader<'_>) -> Self {
        let address = AddressPair::need(
            &mut reader,
            "address",
            "[\"203.0.113.10\", \"2001:db8:113::10\"]",
        );
        let publish = publish(&mut reader);
        let book = reader.book;
        let clb = reader.need("clb", "\"gz-main\"", |text| {
            book.names.resolve(text, &[Kind::Clb])
        });
        reader.finish();
        Self {
            name,
            address,
            publish,
            clb: clb.map(|(_, name)| name).unwrap_or_default(),
        }
    }
}

fn publish(reader: &mut Reader<'_>) -> Vec<String> {
    let example = "[\"tokyo\", \"frankfurt\"]";
    let names = &reader.book.names;
    let Some(fields) = reader.list("publish", example) else {
        return names.of(Kind::Pop).map(str::to_owned).collect();
    };
    let mut pops: Vec<String> = Vec::new();
    for field in &fields {
        let resolve = |text: &str| names.resolve(text, &[Kind::Pop]);
        let Some((_, pop)) = reader.parse_field(field, example, resolve) else {
            continue;
        };
        if pops.contains(&pop) {
            reader.wrong_at(
                field,
                Wrong::new(
                    format!("{} is named twice", Kind::Pop.object(&pop)),
                    "each POP once",
                ),
            );
        }
        pops.push(pop);
    }
    if fields.is_empty()
        && let Some(field) = reader.field("publish")
    {
        let hint = "name one POP at least, or leave `publish` out for all POPs";
        reader.wrong_at(&field, Wrong::new("nobody announces this VIP", hint));
    }
    pops.sort();
    pops
}
