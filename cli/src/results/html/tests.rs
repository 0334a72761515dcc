//! Pages of reports in which every name is markup.

use std::collections::BTreeMap;
use std::time::Duration;

use anyedge_sim::run::{Options, run};

use super::*;

const EVIL: &str = "</script><script>taken()</script>\"'<b onclick=x>";

/// The shipped file as it is, run for two seconds.
fn played() -> (Topology, Report) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../topologies/two-pops.toml");
    let topology = Topology::load(path).expect("it is shipped");
    let options = Options {
        duration: Some(Duration::from_secs(2)),
        ..Options::default()
    };
    let report = run(&topology, &options, &mut |_| {}).expect("it can be built");
    (topology, report)
}

fn evil(name: &mut String) {
    name.push_str(EVIL);
}

fn evil_keys<T>(map: &mut BTreeMap<String, T>, rename: impl Fn(&mut T)) {
    let all = std::mem::take(map);
    for (mut name, mut object) in all {
        evil(&mut name);
        rename(&mut object);
        map.insert(name, object);
    }
}

/// Gives everything a name that is markup.
fn spoil(topology: &mut Topology, report: &mut Report) {
    evil_keys(&mut topology.pops, |pop| evil(&mut pop.name));
    evil_keys(&mut topology.regions, |region| evil(&mut region.name));
    evil_keys(&mut topology.clients, |client| evil(&mut client.name));
    evil_keys(&mut topology.links, |link| {
        evil(&mut link.name);
        link.assumed = true;
    });
    topology.description = Some(EVIL.to_owned());
    for fault in &mut topology.faults {
        fault.at = Duration::from_secs(1);
        evil(&mut fault.object);
    }
    evil(&mut report.topology);
    report.overrides = vec![EVIL.to_owned()];
    for client in &mut report.clients {
        evil(&mut client.name);
        client.pop = client.pop.take().map(|pop| pop + EVIL);
        evil_keys(&mut client.pops, |_| {});
        client.loads.iter_mut().for_each(|load| evil(&mut load.to));
    }
    evil_keys(&mut report.timeline.pops, |_| {});
    report
        .links
        .iter_mut()
        .for_each(|link| evil(&mut link.name));
    for slo in &mut report.slos {
        for text in [&mut slo.of, &mut slo.expect, &mut slo.measured] {
            evil(text);
        }
    }
    for listener in &mut report.listeners {
        evil(&mut listener.listener);
        listener
            .targets
            .iter_mut()
            .for_each(|target| evil(&mut target.target));
    }
    report.assumed_links = vec![anyedge_sim::report::AssumedLink {
        name: EVIL.to_owned(),
        rtt_ms: 1.0,
        source: Some(EVIL.to_owned()),
    }];
}

#[test]
fn no_name_is_markup_wherever_it_stands() {
    let (mut topology, mut report) = played();
    spoil(&mut topology, &mut report);
    let page = text(&topology, &report);
    assert_eq!(page.matches("<script").count(), 1, "our own");
    assert_eq!(page.matches("</script").count(), 1, "our own");
    assert!(!page.contains("<b onclick"));
    // A quotation mark that ends an attribute would stand before what follows it in the name.
    assert!(!page.contains("\"'&lt;b"), "an attribute ends early");
    assert!(
        page.matches("&lt;script&gt;taken").count() > 60,
        "they are told"
    );
}

#[test]
fn what_a_run_took_is_not_in_a_page() {
    let (topology, report) = played();
    let one = text(&topology, &report);
    let later = Report {
        wall_s: 123.456,
        memory_peak_bytes: 123_456,
        ..report
    };
    assert_eq!(one, text(&topology, &later));
}

#[test]
fn a_topology_without_coordinates_faults_or_levels_has_a_page_too() {
    let (mut topology, mut report) = played();
    for place in topology.pops.values_mut().map(|it| &mut it.place) {
        place.coordinates = None;
    }
    for place in topology.regions.values_mut().map(|it| &mut it.place) {
        place.coordinates = None;
    }
    for place in topology.clients.values_mut().map(|it| &mut it.place) {
        place.coordinates = None;
    }
    topology.faults.clear();
    report.faults.clear();
    report.slos.clear();
    report.clients.clear();
    report.listeners.clear();
    report.drops.clear();
    report.timeline = anyedge_sim::report::TimelineReport::default();
    let page = text(&topology, &report);
    for (id, _) in SECTIONS {
        assert!(page.contains(&format!("<section id=\"{id}\">")), "{id}");
    }
    assert!(page.contains("Nothing has coordinates"));
    assert!(
        !page.contains("NaN") && !page.contains("inf"),
        "a figure of nothing"
    );
}
