//! Coordinates of the cities that a topology can name.
//!
//! The POP cities of the shipped topologies and the cities of their clients, in millionths of a degree.
//! Client cities are those of the WonderNetwork set of 2018-11-10, rounded to 0.0001 degrees;
//! `virginia` is Ashburn and `silicon-valley` is San Jose. Sorted by name.

use crate::place::Coordinates;

#[rustfmt::skip]
const CITIES: &[(&str, i32, i32)] = &[
    ("algiers", 36_732_200, 3_087_500),
    ("amsterdam", 52_374_000, 4_889_700),
    ("anchorage", 61_218_100, -149_900_300),
    ("ankara", 39_919_900, 32_854_300),
    ("athens", 37_983_800, 23_727_800),
    ("atlanta", 33_749_000, -84_388_000),
    ("auckland", -36_848_500, 174_763_500),
    ("bangalore", 12_971_900, 77_593_700),
    ("bangkok", 13_754_000, 100_501_400),
    ("barcelona", 41_388_800, 2_159_000),
    ("beijing", 39_904_200, 116_407_400),
    ("berlin", 52_520_000, 13_405_000),
    ("bogota", 4_609_700, -74_081_800),
    ("brisbane", -27_467_900, 153_028_100),
    ("bucharest", 44_432_200, 26_106_300),
    ("budapest", 47_498_400, 19_040_400),
    ("buenos-aires", -34_613_100, -58_377_200),
    ("cairo", 30_062_600, 31_249_700),
    ("cape-town", -33_925_800, 18_423_200),
    ("caracas", 10_488_000, -66_879_200),
    ("chennai", 13_087_800, 80_278_500),
    ("chicago", 41_850_000, -87_650_100),
    ("copenhagen", 55_675_900, 12_565_500),
    ("dallas", 32_783_100, -96_806_700),
    ("dar-es-salaam", -6_823_500, 39_269_500),
    ("denver", 39_739_200, -104_984_700),
    ("dhaka", 23_710_400, 90_407_400),
    ("dubai", 25_065_700, 55_171_300),
    ("dublin", 53_333_100, -6_248_900),
    ("frankfurt", 50_115_500, 8_684_200),
    ("guangzhou", 23_129_100, 113_264_400),
    ("hamburg", 53_575_300, 10_015_300),
    ("hanoi", 21_024_500, 105_841_200),
    ("helsinki", 60_169_500, 24_935_400),
    ("ho-chi-minh-city", 10_823_000, 106_629_600),
    ("hong-kong", 22_278_300, 114_174_700),
    ("honolulu", 21_306_900, -157_858_300),
    ("hyderabad", 17_384_100, 78_456_400),
    ("istanbul", 41_013_800, 28_949_700),
    ("jakarta", -6_214_600, 106_845_100),
    ("johannesburg", -26_202_300, 28_043_600),
    ("kampala", 316_300, 32_582_200),
    ("karaganda", 49_801_900, 73_102_100),
    ("kiev", 50_454_700, 30_523_800),
    ("lagos", 6_454_100, 3_394_700),
    ("lahore", 31_558_000, 74_350_700),
    ("lima", -12_043_200, -77_028_200),
    ("lisbon", 38_716_700, -9_133_300),
    ("london", 51_508_500, -125_700),
    ("los-angeles", 34_052_200, -118_243_700),
    ("lyon", 45_748_500, 4_846_700),
    ("madrid", 40_416_800, -3_703_800),
    ("manila", 14_604_200, 120_982_200),
    ("melbourne", -37_814_000, 144_963_300),
    ("mexico-city", 19_432_600, -99_133_200),
    ("miami", 25_774_300, -80_193_700),
    ("milan", 45_464_300, 9_189_500),
    ("montevideo", -34_903_300, -56_188_200),
    ("montreal", 45_508_800, -73_587_800),
    ("moscow", 55_752_200, 37_615_600),
    ("mumbai", 19_076_000, 72_877_700),
    ("munich", 48_137_400, 11_575_500),
    ("nairobi", -1_283_300, 36_816_700),
    ("new-delhi", 28_652_000, 77_231_500),
    ("new-york", 40_714_300, -74_006_000),
    ("novosibirsk", 55_041_500, 82_934_600),
    ("osaka", 34_693_700, 135_502_200),
    ("oslo", 59_912_700, 10_746_100),
    ("paris", 48_853_400, 2_348_800),
    ("perth", -31_952_200, 115_861_400),
    ("phnom-penh", 11_562_400, 104_916_000),
    ("prague", 50_088_000, 14_420_800),
    ("quito", -229_900, -78_525_000),
    ("reykjavik", 64_135_500, -21_895_400),
    ("riyadh", 24_687_700, 46_721_800),
    ("rome", 41_891_900, 12_511_300),
    ("san-juan", 18_466_300, -66_105_700),
    ("santiago", -33_456_900, -70_648_300),
    ("sao-paulo", -23_547_500, -46_636_100),
    ("sapporo", 43_066_700, 141_350_000),
    ("seattle", 47_606_200, -122_332_100),
    ("seoul", 37_566_000, 126_978_400),
    ("shanghai", 31_222_200, 121_458_100),
    ("silicon-valley", 37_338_200, -121_886_300),
    ("singapore", 1_289_700, 103_850_100),
    ("st-petersburg", 59_938_600, 30_314_100),
    ("stockholm", 59_332_600, 18_064_900),
    ("sydney", -33_867_800, 151_207_300),
    ("taipei", 25_047_800, 121_531_800),
    ("tbilisi", 41_694_100, 44_833_700),
    ("tel-aviv", 32_080_900, 34_780_600),
    ("thessaloniki", 40_643_600, 22_930_900),
    ("tokyo", 35_689_500, 139_691_700),
    ("toronto", 43_700_100, -79_416_300),
    ("tunis", 36_819_000, 10_165_800),
    ("vancouver", 49_249_700, -123_119_300),
    ("vienna", 48_208_500, 16_372_100),
    ("virginia", 39_043_800, -77_487_400),
    ("warsaw", 52_229_800, 21_011_800),
    ("zurich", 47_366_700, 8_550_000),
];

/// The coordinates of a city by its name in lowercase with hyphens, such as `hong-kong`.
pub(crate) fn coordinates(city: &str) -> Option<Coordinates> {
    let index = CITIES
        .binary_search_by_key(&city, |(name, _, _)| name)
        .ok()?;
    let (_, lat_udeg, lon_udeg) = CITIES[index];
    Some(Coordinates { lat_udeg, lon_udeg })
}

/// Every name, sorted.
pub(crate) fn names() -> impl Iterator<Item = &'static str> + Clone {
    CITIES.iter().map(|(name, _, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_city_is_found_by_its_name_and_lies_on_the_globe() {
        for (name, lat, lon) in CITIES {
            assert_eq!(
                coordinates(name),
                Some(Coordinates {
                    lat_udeg: *lat,
                    lon_udeg: *lon
                }),
                "{name}"
            );
            assert!(
                lat.abs() <= 90_000_000 && lon.abs() <= 180_000_000,
                "{name}"
            );
        }
        assert_eq!(coordinates("atlantis"), None);
    }
}
