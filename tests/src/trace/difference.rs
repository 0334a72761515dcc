//! Where two transcripts of one trace part: the first place, with all that is needed to look into it.

use std::fmt::Write as _;

use anyedge_sim::replay::{Arrival, Departure};

use super::{Input, Trace, Transcript};

/// The first difference in words; `None` when there is none.
pub fn first(trace: &Trace, [a, b]: [(&str, &Transcript); 2]) -> Option<String> {
    let ((a_name, a), (b_name, b)) = (a, b);
    for (index, entry) in trace.entries.iter().enumerate() {
        let (left, right) = (a.outputs.get(index), b.outputs.get(index));
        if left != right {
            let at = entry.at.as_nanos();
            return Some(format!(
                "{}: entry {index} at {at} ns\n input: {}\n {a_name}: {}\n {b_name}: {}",
                trace.node,
                input(&entry.input),
                outputs(left),
                outputs(right),
            ));
        }
    }
    if let Some(index) = (0..a.events.len().max(b.events.len()))
        .find(|index| a.events.get(*index) != b.events.get(*index))
    {
        let (left, right) = (a.events.get(index), b.events.get(index));
        return Some(format!(
            "{}: event {index}\n {a_name}: {left:?}\n {b_name}: {right:?}",
            trace.node
        ));
    }
    (a.drops != b.drops).then(|| {
        let list = |transcript: &Transcript| transcript.drops.iter().collect::<Vec<_>>();
        format!(
            "{}: drops\n {a_name}: {:?}\n {b_name}: {:?}",
            trace.node,
            list(a),
            list(b)
        )
    })
}

fn input(input: &Input) -> String {
    match input {
        Input::Apply(table) => format!("table {table}"),
        Input::Silence => "silence".to_owned(),
        Input::Packet(Arrival::Bare(bytes)) => format!("bare {}", hex(bytes)),
        Input::Packet(Arrival::Tunnel { from, tos, bytes }) => {
            format!("tunnel from {from} tos {tos:#04x} {}", hex(bytes))
        }
    }
}

fn outputs(departures: Option<&Vec<Departure>>) -> String {
    let Some(departures) = departures else {
        return "the transcript ends before".to_owned();
    };
    let list = departures.iter().map(|departure| {
        let Departure {
            at,
            port,
            peer,
            tos,
            bytes,
        } = departure;
        let at = at.as_nanos();
        format!(
            "at {at} ns by {port:?} to {peer:?} tos {tos:#04x} {}",
            hex(bytes)
        )
    });
    let list: Vec<String> = list.collect();
    format!("[{}]", list.join(",\n  "))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}
