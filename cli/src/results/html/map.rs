//! The world: POPs, regions and clients where they are, the backbone, and who enters where.
//!
//! The map shows the part of the world in which they are. Whoever has no coordinates is named below it.

use anyedge_sim::report::{ClientReport, Report};
use anyedge_topologies::{Coordinates, Kind, Link, Topology};
use maud::{Markup, html};

use super::figures::{at, count, digits, percent};
use super::globe::{self, EDGE, Flat};
use super::labels::{self, Wanted};
use super::palette::Palette;
use super::{Medium, Page, both};

/// The least part of the world that is shown, as a part of its width.
const PART_MIN: f64 = 0.22;
/// The space around what is shown, as a part of its width.
const AROUND: f64 = 0.1;
/// A share of a population's packets below which a way in is not drawn.
const SHARE_MIN: f64 = 0.005;

/// A part of the world, and how large it is drawn.
struct View {
    from: Flat,
    scale: f64,
    width: f64,
    height: f64,
}

impl View {
    /// Shows all of `spots`, `width` wide and between the least and the most times as wide as high.
    fn of(spots: &[Flat], width: f64, shape: (f64, f64)) -> View {
        let all = |pick: fn(&Flat) -> f64| {
            let values = spots.iter().map(pick);
            values.fold((f64::MAX, f64::MIN), |(low, high), value| {
                (low.min(value), high.max(value))
            })
        };
        let ((left, right), (top, bottom)) = (all(|at| at.x), all(|at| at.y));
        let (low, high) = shape;
        let around = 1.0 + 2.0 * AROUND;
        let wide = (right - left).max((bottom - top) * low) * around;
        let wide = wide.clamp(2.0 * EDGE.x * PART_MIN, 2.0 * EDGE.x);
        let tall = (bottom - top) * around;
        let high = tall.clamp(wide / high, wide / low).min(2.0 * EDGE.y);
        let from = |low: f64, high: f64, size: f64, edge: f64| {
            ((low + high) / 2.0 - size / 2.0).clamp(-edge, (edge - size).max(-edge))
        };
        View {
            from: Flat {
                x: from(left, right, wide, EDGE.x),
                y: from(top, bottom, high, EDGE.y),
            },
            scale: width / wide,
            width,
            height: high * width / wide,
        }
    }

    fn at(&self, place: Flat) -> (f64, f64) {
        (
            (place.x - self.from.x) * self.scale,
            (place.y - self.from.y) * self.scale,
        )
    }

    fn line(&self, points: &[Flat]) -> String {
        let mut text = String::new();
        let mut before = String::new();
        for place in points {
            let (x, y) = self.at(*place);
            let own = format!("{} {}", at(x), at(y));
            if own != before {
                text.push(if text.is_empty() { 'M' } else { 'L' });
                text.push_str(&own);
                before = own;
            }
        }
        text
    }

    fn lines(&self, pieces: &[Vec<Flat>]) -> String {
        pieces.iter().map(|piece| self.line(piece)).collect()
    }

    /// Land as far as it is to be seen.
    fn land(&self) -> String {
        let seen = |ring: &&Vec<Flat>| {
            let inside = |place: &Flat| {
                let (x, y) = self.at(*place);
                (-self.width..2.0 * self.width).contains(&x)
                    && (-self.height..2.0 * self.height).contains(&y)
            };
            ring.iter().any(inside)
        };
        let land = globe::land();
        let rings = land.iter().filter(seen);
        rings.map(|ring| self.line(ring) + "Z").collect()
    }
}

/// The section.
pub(super) fn section(page: &Page<'_>) -> Markup {
    let places = Places::of(page.topology);
    html! {
        section #map {
            h2 { "Where clients enter" }
            @if places.known.is_empty() {
                p .note { "Nothing has coordinates. A city's name gives them, or " code { "city" } ", or " code { "lat" } " and " code { "lon" } "." }
            } @else {
                (both(|medium| drawing(page, &places, medium)))
                (legend(page))
                p .note {
                    "Thin lines join clients to the POPs that their packets entered by, in the POP's colour; thick ones are the backbone, "
                    "dashed where its figures are assumed. Catchment: " (page.report.catchment) "."
                }
            }
            @if !places.unknown.is_empty() && !places.known.is_empty() {
                p .note { "Without coordinates, not on the map: " (places.unknown.join(", ")) "." }
            }
        }
    }
}

/// What is where, by full name.
struct Places {
    known: Vec<(String, Coordinates)>,
    unknown: Vec<String>,
}

impl Places {
    fn of(topology: &Topology) -> Places {
        let pops = topology
            .pops
            .values()
            .map(|it| (Kind::Pop.object(&it.name), &it.place));
        let regions = topology
            .regions
            .values()
            .map(|it| (Kind::Region.object(&it.name), &it.place));
        let clients = topology
            .clients
            .values()
            .map(|it| (Kind::Client.object(&it.name), &it.place));
        let mut places = Places {
            known: Vec::new(),
            unknown: Vec::new(),
        };
        for (name, place) in pops.chain(regions).chain(clients) {
            match place.coordinates {
                Some(at) => places.known.push((name, at)),
                None => places.unknown.push(name),
            }
        }
        places
    }

    fn find(&self, kind: Kind, name: &str) -> Option<Coordinates> {
        let object = kind.object(name);
        let found = self.known.iter().find(|(name, _)| *name == object);
        found.map(|(_, at)| *at)
    }
}

fn drawing(page: &Page<'_>, places: &Places, medium: Medium) -> Markup {
    let spots: Vec<Flat> = places
        .known
        .iter()
        .map(|(_, at)| globe::place(*at))
        .collect();
    let (shape, letters) = match medium {
        Medium::Wide => ((2.0, 2.5), 13.0),
        Medium::Narrow => ((1.3, 1.7), 10.5),
    };
    let view = View::of(&spots, medium.width(), shape);
    html! {
        svg .map viewBox=(format!("0 0 {} {}", at(view.width), at(view.height))) role="img"
            aria-label="World map of POPs, regions, clients and the backbone" {
            rect .sea width=(at(view.width)) height=(at(view.height)) {}
            path .graticule d=(view.lines(&globe::graticule())) {}
            path .land d=(view.land()) {}
            (ways_in(page, places, &view))
            (backbone(page, places, &view))
            (marks(page, places, &view, medium))
            (names(page, places, &view, letters))
        }
    }
}

/// A line for each POP that a population's packets entered by, the stronger the more they were.
fn ways_in(page: &Page<'_>, places: &Places, view: &View) -> Markup {
    html! {
        @for client in &page.report.clients {
            @for (pop, share) in shares(client) {
                @if let (Some(from), Some(to)) = (places.find(Kind::Client, &client.name), places.find(Kind::Pop, pop)) {
                    path class=(format!("way {}", page.palette.pop(Some(pop)))) data-pop=(pop)
                        stroke-opacity=(format!("{:.2}", 0.25 + 0.65 * share))
                        d=(view.lines(&globe::great_circle(from, to))) {
                        title { (client.name) " enters at " (pop) ": " (format!("{:.1} %", share * 100.0)) " of its packets" }
                    }
                }
            }
        }
    }
}

/// The POPs that a population entered by, each with its share of the packets.
pub(super) fn shares(client: &ClientReport) -> impl Iterator<Item = (&str, f64)> {
    let all: u64 = client.pops.values().sum();
    let shares = client.pops.iter();
    shares
        .map(move |(pop, packets)| (pop.as_str(), *packets as f64 / all.max(1) as f64))
        .filter(|(_, share)| *share >= SHARE_MIN)
}

fn backbone(page: &Page<'_>, places: &Places, view: &View) -> Markup {
    let loads = page
        .topology
        .links
        .values()
        .map(|link| carried(page.report, link));
    let most = loads.map(|all| all.bytes).max().unwrap_or(0).max(1);
    let end = |object: &str| {
        let found = places.known.iter().find(|(name, _)| name == object);
        found.map(|(_, at)| *at)
    };
    html! {
        @for link in page.topology.links.values() {
            @let [near, far] = link.ends.objects();
            @if let (Some(from), Some(to)) = (end(&near), end(&far)) {
                @let all = carried(page.report, link);
                @let share = libm::sqrt(all.bytes as f64 / most as f64);
                path class=(if link.assumed { "backbone assumed" } else { "backbone" })
                    stroke-width=(at(0.8 + 2.4 * share))
                    d=(view.lines(&globe::great_circle(from, to))) {
                    title {
                        "link." (link.name) ": " (digits(link.rtt.as_secs_f64() * 1e3)) " ms round trip"
                        @if link.assumed { " (assumed)" }
                        ", " (count(all.packets)) " packets, " (count(all.lost)) " lost"
                    }
                }
            }
        }
    }
}

/// What a backbone link carried, both ways together.
#[derive(Default)]
struct Carried {
    packets: u64,
    bytes: u64,
    lost: u64,
}

fn carried(report: &Report, link: &Link) -> Carried {
    let [near, far] = link.ends.objects();
    let mut all = Carried::default();
    for plain in [format!("{near}>{far}"), format!("{far}>{near}")] {
        // Of several links between the same ends all but the first add their own names.
        let is_own = |name: &str| {
            let rest = name
                .strip_prefix(&plain)
                .and_then(|rest| rest.strip_prefix('/'));
            rest.is_some_and(|rest| rest.ends_with(&link.name))
        };
        let links = || report.links.iter();
        let own = links().find(|it| is_own(&it.name));
        if let Some(way) = own.or_else(|| links().find(|it| it.name == plain)) {
            all.packets += way.delivered;
            all.bytes += way.delivered_bytes;
            all.lost += way.dropped.values().sum::<u64>();
        }
    }
    all
}

fn marks(page: &Page<'_>, places: &Places, view: &View, medium: Medium) -> Markup {
    let (region_half, pop_radius, client_radius) = match medium {
        Medium::Wide => (8.0, 5.5, 3.0),
        Medium::Narrow => (6.0, 4.0, 2.0),
    };
    let spot = |kind: Kind, name: &str| places.find(kind, name).map(|at| view.at(globe::place(at)));
    html! {
        @for region in page.topology.regions.keys() {
            @if let Some((x, y)) = spot(Kind::Region, region) {
                rect .region x=(at(x - region_half)) y=(at(y - region_half)) width=(at(2.0 * region_half)) height=(at(2.0 * region_half))
                    transform=(format!("rotate(45 {} {})", at(x), at(y))) {
                    title { "region." (region) }
                }
            }
        }
        @for pop in page.topology.pops.keys() {
            @if let Some((x, y)) = spot(Kind::Pop, pop) {
                circle class=(format!("pop {}", page.palette.pop(Some(pop)))) data-pop=(pop) cx=(at(x)) cy=(at(y)) r=(at(pop_radius)) {
                    title { "pop." (pop) }
                }
            }
        }
        @for client in &page.report.clients {
            @if let Some((x, y)) = spot(Kind::Client, &client.name) {
                circle class=(format!("client {}", page.palette.pop(client.pop.as_deref())))
                    data-pop=(client.pop.as_deref().unwrap_or_default()) cx=(at(x)) cy=(at(y)) r=(at(client_radius)) {
                    title { (told(client)) }
                }
            }
        }
    }
}

/// A population in a line.
fn told(client: &ClientReport) -> String {
    let ways = shares(client).map(|(pop, share)| format!("{pop} {:.1} %", share * 100.0));
    let ways: Vec<String> = ways.collect();
    let requests = &client.service.requests;
    let median = client
        .service
        .latency_ms
        .map(|latency| format!(", median {} ms", digits(latency.p50)));
    format!(
        "client.{}: enters at {}; {} answered{}",
        client.name,
        if ways.is_empty() {
            "no POP".to_owned()
        } else {
            ways.join(", ")
        },
        percent(requests.ok, requests.sent),
        median.unwrap_or_default()
    )
}

/// Names of regions, POPs and clients, in this order of importance; those with the colour of nobody else's mark.
fn names(page: &Page<'_>, places: &Places, view: &View, letters: f64) -> Markup {
    let regions = page
        .topology
        .regions
        .keys()
        .map(|name| (Kind::Region, name, 9.0));
    let mut pops: Vec<(&String, u64)> = page
        .topology
        .pops
        .keys()
        .map(|pop| (pop, entered(page.report, pop)))
        .collect();
    pops.sort_by_key(|(name, packets)| (core::cmp::Reverse(*packets), name.as_str()));
    let pops = pops.into_iter().map(|(name, _)| (Kind::Pop, name, 6.0));
    let clients = page
        .report
        .clients
        .iter()
        .map(|client| (Kind::Client, &client.name, 3.0));
    let mut seen: Vec<&str> = Vec::new();
    let mut wanted = Vec::new();
    let mut kinds = Vec::new();
    for (kind, name, radius) in regions.chain(pops).chain(clients) {
        let Some(place) = places.find(kind, name) else {
            continue;
        };
        // A POP in the region's own city, or a client at a POP, has its name there already.
        if seen.contains(&name.as_str()) {
            continue;
        }
        seen.push(name);
        let (x, y) = view.at(globe::place(place));
        let letters = if kind == Kind::Client {
            letters * 0.85
        } else {
            letters
        };
        wanted.push(Wanted {
            name,
            x,
            y,
            radius,
            letters,
        });
        kinds.push((name.as_str(), kind));
    }
    let class = |name: &str| match kinds.iter().find(|(own, _)| *own == name) {
        Some((_, Kind::Client)) => "name minor",
        _ => "name",
    };
    html! {
        @for label in labels::place(&wanted, (view.width, view.height)) {
            text class=(class(label.name)) x=(at(label.x)) y=(at(label.y)) font-size=(at(label.letters)) { (label.name) }
        }
    }
}

/// Packets that entered at a POP.
fn entered(report: &Report, pop: &str) -> u64 {
    report
        .clients
        .iter()
        .filter_map(|client| client.pops.get(pop))
        .sum()
}

/// Each POP with its colour, its populations and its part of the packets; pressing one shows its catchment alone.
fn legend(page: &Page<'_>) -> Markup {
    let all: u64 = page
        .topology
        .pops
        .keys()
        .map(|pop| entered(page.report, pop))
        .sum();
    let populations = |pop: &str| {
        let own = page
            .report
            .clients
            .iter()
            .filter(|client| client.pop.as_deref() == Some(pop));
        own.count()
    };
    let palette: &Palette = &page.palette;
    html! {
        div .legend role="group" aria-label="POPs" {
            @for pop in page.topology.pops.keys() {
                button .chip type="button" data-pop=(pop) aria-pressed="false"
                    title=(format!("{} packets", count(entered(page.report, pop)))) {
                    span class=(format!("dot {}", palette.pop(Some(pop)))) {}
                    b { (pop) }
                    span .soft { (populations(pop)) " · " (percent(entered(page.report, pop), all)) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_holds_every_spot_and_keeps_its_shape() {
        let spots = [globe::flat(35.7, 139.7), globe::flat(50.1, 8.7)];
        let view = View::of(&spots, 1_000.0, (2.0, 2.0));
        assert!((view.height - 500.0).abs() < 1.0, "{}", view.height);
        for spot in spots {
            let (x, y) = view.at(spot);
            assert!(
                (0.0..view.width).contains(&x) && (0.0..view.height).contains(&y),
                "{x} {y}"
            );
        }
    }

    #[test]
    fn a_view_of_one_place_is_no_smaller_than_it_may_be_and_one_of_all_no_larger_than_the_world() {
        let one = View::of(&[globe::flat(0.0, 179.0)], 1_000.0, (2.0, 2.0));
        assert!((one.scale - 1_000.0 / (2.0 * EDGE.x * PART_MIN)).abs() < 1e-6);
        let world = [globe::flat(80.0, -179.0), globe::flat(-80.0, 179.0)];
        let all = View::of(&world, 1_000.0, (2.0, 2.0));
        assert!((all.scale - 1_000.0 / (2.0 * EDGE.x)).abs() < 1e-6);
    }
}
