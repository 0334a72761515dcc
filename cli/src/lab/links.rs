//! `anyedge lab links`: every link of a lab whose wires have the file's, and what became of its packets.

use anyedge_live::lab::fault::links;
use anyedge_live::lab::orders::LinkTold;

use crate::exit::Exit;
use crate::mistakes::{failed, say};
use crate::tables::table;

pub(super) fn run(name: &str, json: bool) -> Exit {
    let listed = name.parse().and_then(|lab| links::list(&lab));
    let text = listed.and_then(|links| {
        Ok(if json {
            serde_json::to_string_pretty(&links)? + "\n"
        } else {
            table_of(&links)
        })
    });
    match text {
        Ok(text) => {
            say(&text);
            Exit::Kept
        }
        Err(error) => failed(&error),
    }
}

fn table_of(links: &[LinkTold]) -> String {
    let mut table = table(&["link", "state", "delivered", "lost"], 2);
    for link in links {
        let state = match (link.up, link.worse) {
            (false, _) => "DOWN",
            (true, true) => "worse",
            (true, false) => "as in the file",
        };
        let lost = link.dropped.iter();
        let lost: Vec<String> = lost
            .map(|(cause, count)| format!("{cause} {count}"))
            .collect();
        table.add_row([
            link.name.clone(),
            state.to_owned(),
            link.delivered.to_string(),
            lost.join(", "),
        ]);
    }
    format!("{table}\n")
}
