//! Where on the globe an object is.
//!
//! A known city's name gives its coordinates: `[pop.tokyo]` needs no more. `city` names another city, `lat`
//! and `lon` give the coordinates themselves. Coordinates are kept in millionths of a degree.

use std::time::Duration;

use crate::cities;
use crate::diagnostic::Wrong;
use crate::nearest::did_you_mean;
use crate::reader::Reader;
use crate::units;

/// Mean radius of the Earth in kilometres (IUGG R1).
const EARTH_RADIUS_KM: f64 = 6_371.008_8;
/// How much longer a measured round trip is than light's in a fibre along the great circle, there and back: the median
/// over 57,807 pairs of cities (WonderNetwork, 2018-11-10; p5 1.45, p95 4.48).
const DETOUR: f64 = 2.05;
/// Kilometres that light in a fibre covers in a millisecond.
pub(crate) const FIBRE_KM_PER_MS: f64 = 204.19;

/// A point on the globe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coordinates {
    /// Latitude in millionths of a degree, north positive.
    pub lat_udeg: i32,
    /// Longitude in millionths of a degree, east positive.
    pub lon_udeg: i32,
}

impl Coordinates {
    /// Great-circle distance in kilometres (haversine). Not for simulated state: it is a float.
    #[must_use]
    pub fn distance_km(self, other: Self) -> f64 {
        let radians = |udeg: i32| (f64::from(udeg) / 1e6) * core::f64::consts::PI / 180.0;
        let (lat_a, lat_b) = (radians(self.lat_udeg), radians(other.lat_udeg));
        let half_lat = libm::sin((lat_b - lat_a) / 2.0);
        let half_lon = libm::sin((radians(other.lon_udeg) - radians(self.lon_udeg)) / 2.0);
        let h = half_lat * half_lat + libm::cos(lat_a) * libm::cos(lat_b) * half_lon * half_lon;
        2.0 * EARTH_RADIUS_KM * libm::asin(libm::sqrt(h.min(1.0)))
    }

    /// The round trip to another point where none was measured, in whole microseconds: light's in a fibre along the
    /// great circle, there and back, times 2.05.
    #[must_use]
    pub fn round_trip(self, other: Self) -> Duration {
        let micros = 2.0 * self.distance_km(other) / FIBRE_KM_PER_MS * DETOUR * 1_000.0;
        // At most half of the Earth's girth there and back: some 400,000 microseconds.
        Duration::from_micros(libm::round(micros) as u64)
    }
}

/// Where an object is, as far as the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The city, if the file names one.
    pub city: Option<String>,
    /// The coordinates, if given or known for the city.
    pub coordinates: Option<Coordinates>,
}

impl Place {
    /// Reads `city`, `lat` and `lon`; without them the object's own name is tried as a city.
    pub(crate) fn read(reader: &mut Reader<'_>, name: &str) -> Self {
        let city_field = reader.field("city");
        let city = reader.text("city");
        let lat = reader.number("lat", |text| units::microdegrees(text, 90));
        let lon = reader.number("lon", |text| units::microdegrees(text, 180));
        let has = |reader: &mut Reader<'_>, key| reader.field(key).is_some();
        match (has(reader, "lat"), has(reader, "lon")) {
            (true, false) => reader.missing("lon", "139.69"),
            (false, true) => reader.missing("lat", "35.68"),
            _ => {}
        }
        let given = lat
            .zip(lon)
            .map(|(lat_udeg, lon_udeg)| Coordinates { lat_udeg, lon_udeg });
        let known = cities::coordinates(city.as_deref().unwrap_or(name));
        if let (Some(field), Some(city)) = (city_field, &city)
            && known.is_none()
            && !has(reader, "lat")
        {
            let near = did_you_mean(city, cities::names());
            let hint = format!("give lat and lon; {near}");
            reader.wrong_at(
                &field,
                Wrong::new(format!("no coordinates are known for \"{city}\""), hint),
            );
        }
        Self {
            city,
            coordinates: given.or(known),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_great_circle_from_tokyo_to_london_is_about_9560_km() {
        let tokyo = cities::coordinates("tokyo").expect("a known city");
        let london = cities::coordinates("london").expect("a known city");
        let km = tokyo.distance_km(london);
        assert!((9_540.0..9_580.0).contains(&km), "{km}");
        assert!(tokyo.distance_km(tokyo) < 0.001);
        // 9,560 km there and back at 204.19 km/ms: 93.6 ms, times 2.05.
        let rtt = tokyo.round_trip(london).as_secs_f64() * 1e3;
        assert!((191.5..192.5).contains(&rtt), "{rtt}");
    }
}
