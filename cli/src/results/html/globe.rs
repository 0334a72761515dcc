//! The globe made flat: Natural Earth's projection, land, and great circles.
//!
//! The projection is a polynomial of the latitude (B. Šavrič, B. Jenny et al., "A Polynomial Equation for the Natural
//! Earth Projection", 2011), so that every machine draws the same. Land is Natural Earth's, simplified: `land.txt`.

use core::f64::consts::PI;

use anyedge_topologies::Coordinates;

/// Rings of longitudes and latitudes in tenths of a degree, one a line.
const LAND: &str = include_str!("land.txt");

/// Points of a great circle.
const STEPS: usize = 24;

/// A place on the flat map, of a globe with the radius 1; y grows to the south.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Flat {
    pub(super) x: f64,
    pub(super) y: f64,
}

/// Where the edge of the flat map is, at the equator and at the poles.
pub(super) const EDGE: Flat = Flat {
    x: 2.735,
    y: 1.4224,
};

/// Degrees made flat.
pub(super) fn flat(lat: f64, lon: f64) -> Flat {
    let (phi, lambda) = (lat * PI / 180.0, lon * PI / 180.0);
    let two = phi * phi;
    let four = two * two;
    let x = 0.8707 - 0.131_979 * two
        + four * (-0.013_791 + four * (0.003_971 * two - 0.001_529 * four));
    let y =
        1.007_226 + two * (0.015_085 + four * (-0.044_475 + 0.028_874 * two - 0.005_916 * four));
    Flat {
        x: lambda * x,
        y: -phi * y,
    }
}

/// Where `at` is.
pub(super) fn place(at: Coordinates) -> Flat {
    let (lat, lon) = degrees(at);
    flat(lat, lon)
}

/// The outlines of all land.
pub(super) fn land() -> Vec<Vec<Flat>> {
    let rings = LAND.lines().filter(|line| !line.starts_with('#'));
    let point = |pair: &str| {
        let (lon, lat) = pair.split_once(',')?;
        let tenths = |text: &str| {
            text.parse::<i32>()
                .ok()
                .map(|tenths| f64::from(tenths) / 10.0)
        };
        Some(flat(tenths(lat)?, tenths(lon)?))
    };
    rings
        .map(|ring| ring.split(' ').filter_map(point).collect())
        .collect()
}

/// Circles of latitude and longitude, 30 degrees apart.
pub(super) fn graticule() -> Vec<Vec<Flat>> {
    let meridian = |lon: i32| {
        let lats = (-6..=6).map(|step| f64::from(step) * 15.0);
        lats.map(|lat| flat(lat, f64::from(lon) * 30.0)).collect()
    };
    let parallel = |lat: i32| {
        vec![
            flat(f64::from(lat) * 30.0, -180.0),
            flat(f64::from(lat) * 30.0, 180.0),
        ]
    };
    (-6..=6)
        .map(meridian)
        .chain((-2..=2).map(parallel))
        .collect()
}

/// The shortest way between two places; two pieces where it leaves the map on one side and comes back on the other.
pub(super) fn great_circle(from: Coordinates, to: Coordinates) -> Vec<Vec<Flat>> {
    let (a, b) = (vector(from), vector(to));
    let dot = a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    let angle = libm::acos(dot.clamp(-1.0, 1.0));
    if !(1e-6..=PI - 1e-6).contains(&angle) {
        return vec![vec![place(from), place(to)]];
    }
    let mut pieces = vec![Vec::new()];
    let mut before: Option<f64> = None;
    for step in 0..=STEPS {
        let share = step as f64 / STEPS as f64;
        let (own, other) = (libm::sin((1.0 - share) * angle), libm::sin(share * angle));
        let [x, y, z] = [0, 1, 2].map(|axis| (own * a[axis] + other * b[axis]) / libm::sin(angle));
        let lat = libm::asin(z.clamp(-1.0, 1.0)) * 180.0 / PI;
        let lon = libm::atan2(y, x) * 180.0 / PI;
        if before.is_some_and(|before| libm::fabs(lon - before) > 180.0) {
            pieces.push(Vec::new());
        }
        before = Some(lon);
        if let Some(piece) = pieces.last_mut() {
            piece.push(flat(lat, lon));
        }
    }
    pieces
}

fn vector(at: Coordinates) -> [f64; 3] {
    let (lat, lon) = degrees(at);
    let (lat, lon) = (lat * PI / 180.0, lon * PI / 180.0);
    [
        libm::cos(lat) * libm::cos(lon),
        libm::cos(lat) * libm::sin(lon),
        libm::sin(lat),
    ]
}

fn degrees(at: Coordinates) -> (f64, f64) {
    (f64::from(at.lat_udeg) / 1e6, f64::from(at.lon_udeg) / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coordinates(lat: i32, lon: i32) -> Coordinates {
        Coordinates {
            lat_udeg: lat * 1_000_000,
            lon_udeg: lon * 1_000_000,
        }
    }

    #[test]
    fn the_globe_fits_its_edge() {
        let (pole, edge) = (flat(90.0, 0.0), flat(0.0, 180.0));
        assert!((pole.y + EDGE.y).abs() < 1e-3, "{pole:?}");
        assert!((edge.x - EDGE.x).abs() < 1e-3, "{edge:?}");
    }

    #[test]
    fn all_land_is_read_and_lies_on_the_map() {
        let land = land();
        assert!(land.len() > 80, "{}", land.len());
        assert!(land.iter().all(|ring| ring.len() > 3));
        let mut points = land.iter().flatten();
        assert!(points.all(|at| at.x.abs() <= EDGE.x + 0.01 && at.y.abs() <= EDGE.y + 0.01));
    }

    #[test]
    fn a_way_over_the_pacific_is_two_pieces_and_one_over_europe_is_one() {
        let (tokyo, california) = (coordinates(36, 140), coordinates(37, -122));
        assert_eq!(great_circle(tokyo, california).len(), 2);
        let pieces = great_circle(coordinates(52, 13), coordinates(36, 140));
        assert_eq!(pieces.len(), 1);
        let north = pieces[0].iter().map(|at| at.y).fold(0.0, f64::min);
        assert!(north < flat(60.0, 0.0).y, "it passes far north");
    }
}
