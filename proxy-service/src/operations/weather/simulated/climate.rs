//! What weather to expect where and when: figures for well-known cities, and plausible ones, following
//! from the name, for all others. Only basic arithmetic, which every platform rounds alike.

use time::Date;
use xxhash_rust::xxh3::xxh3_64;

/// The warmest day of the year in the north: the seas keep it a month behind the solstice.
const WARMEST_DAY_NORTH: f64 = 200.0;
const DAYS_IN_YEAR: f64 = 365.25;

/// The climate of a city.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Climate {
    /// In degrees, north positive.
    latitude: f64,
    /// Mean over the year, in °C.
    mean: f64,
    /// How far the warmest and the coldest time of the year are from the mean, in °C.
    amplitude: f64,
    /// Mean relative humidity, in %.
    pub(super) humidity: f64,
    /// Mean wind speed, in m/s.
    pub(super) wind_speed: f64,
}

/// Rounded from the cities' published climate normals: name, latitude, mean temperature, amplitude,
/// humidity, wind speed.
const CITIES: [(&str, f64, f64, f64, f64, f64); 35] = [
    ("amsterdam", 52.4, 10.5, 7.3, 80.0, 5.0),
    ("athens", 38.0, 18.5, 9.5, 61.0, 3.5),
    ("bangkok", 13.8, 28.7, 2.0, 73.0, 2.5),
    ("beijing", 39.9, 12.9, 15.0, 55.0, 2.8),
    ("berlin", 52.5, 10.0, 9.6, 74.0, 3.8),
    ("buenos aires", -34.6, 17.9, 7.0, 72.0, 3.8),
    ("cairo", 30.0, 22.0, 7.5, 54.0, 3.5),
    ("cape town", -33.9, 16.9, 4.5, 72.0, 5.2),
    ("chicago", 41.9, 10.8, 14.0, 69.0, 4.6),
    ("delhi", 28.6, 25.0, 9.5, 58.0, 2.5),
    ("dubai", 25.2, 28.2, 8.4, 57.0, 3.6),
    ("helsinki", 60.2, 6.3, 11.6, 79.0, 4.0),
    ("istanbul", 41.0, 14.8, 9.2, 74.0, 4.3),
    ("jakarta", -6.2, 27.8, 0.7, 77.0, 2.2),
    ("johannesburg", -26.2, 16.0, 5.3, 58.0, 3.4),
    ("lagos", 6.5, 27.2, 1.6, 83.0, 3.2),
    ("lima", -12.0, 19.6, 3.4, 82.0, 3.4),
    ("london", 51.5, 11.6, 6.7, 75.0, 4.2),
    ("los angeles", 34.1, 18.7, 4.5, 65.0, 2.8),
    ("madrid", 40.4, 15.0, 10.0, 57.0, 2.9),
    ("mexico city", 19.4, 16.9, 2.4, 57.0, 2.4),
    ("moscow", 55.8, 6.3, 13.5, 76.0, 3.0),
    ("mumbai", 19.1, 27.2, 2.7, 75.0, 3.2),
    ("nairobi", -1.3, 18.8, 1.5, 66.0, 3.6),
    ("new york", 40.7, 13.2, 12.2, 63.0, 4.6),
    ("paris", 48.9, 12.3, 8.0, 75.0, 3.6),
    ("reykjavik", 64.1, 5.2, 5.8, 78.0, 6.0),
    ("rome", 41.9, 15.9, 8.9, 72.0, 3.2),
    ("sao paulo", -23.5, 19.9, 3.2, 78.0, 2.6),
    ("são paulo", -23.5, 19.9, 3.2, 78.0, 2.6),
    ("seoul", 37.6, 12.8, 14.0, 63.0, 2.4),
    ("singapore", 1.3, 27.8, 0.9, 80.0, 2.4),
    ("sydney", -33.9, 18.2, 5.3, 66.0, 4.0),
    ("tokyo", 35.7, 15.8, 10.8, 65.0, 3.2),
    ("toronto", 43.7, 9.4, 13.2, 70.0, 4.2),
];

impl Climate {
    /// The climate of `city`, which is in lower case.
    pub(super) fn of(city: &str) -> Self {
        let known = CITIES.iter().find(|(name, ..)| *name == city);
        known.map_or_else(
            || Self::imagined(city),
            |&(_, latitude, mean, amplitude, humidity, wind_speed)| Self {
                latitude,
                mean,
                amplitude,
                humidity,
                wind_speed,
            },
        )
    }

    /// A climate as it could be where most people live, 45° south to 60° north.
    fn imagined(city: &str) -> Self {
        let [a, b, c, ..] = xxh3_64(city.as_bytes())
            .to_le_bytes()
            .map(|byte| f64::from(byte) / 255.0);
        let latitude = -45.0 + 105.0 * a;
        Self {
            latitude,
            // From 27 °C at the equator to 4 °C at 60°, with hardly a season in the tropics.
            mean: 27.0 - 0.0065 * latitude * latitude,
            amplitude: 1.0 + 0.22 * latitude.abs(),
            humidity: 50.0 + 32.0 * b,
            wind_speed: 2.2 + 3.3 * c,
        }
    }

    /// The temperature to expect on `date`, in °C.
    pub(super) fn season(&self, date: Date) -> f64 {
        let warmest = if self.latitude < 0.0 {
            WARMEST_DAY_NORTH - DAYS_IN_YEAR / 2.0
        } else {
            WARMEST_DAY_NORTH
        };
        let since = (f64::from(date.ordinal()) - warmest) / DAYS_IN_YEAR;
        self.mean + self.amplitude * wave(since)
    }
}

/// The cosine of so many turns, in -1..=1 turns, by Bhaskara's approximation: `f64::cos` may differ in
/// the last digit from platform to platform.
fn wave(turns: f64) -> f64 {
    let turns = (turns - turns.round()).abs();
    let hump = |t: f64| (1.0 - 16.0 * t * t) / (1.0 + 4.0 * t * t);
    if turns <= 0.25 { hump(turns) } else { -hump(0.5 - turns) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use time::macros::date;

    #[rstest]
    #[case("london", 18.3, 4.9)]
    #[case("sydney", 12.9, 23.5)]
    fn seasons_follow_the_hemisphere(#[case] city: &str, #[case] july: f64, #[case] january: f64) {
        let climate = Climate::of(city);
        assert!((climate.season(date!(2026 - 07 - 19)) - july).abs() < 0.1);
        assert!((climate.season(date!(2026 - 01 - 18)) - january).abs() < 0.1);
    }

    #[test]
    fn wave_is_a_cosine() {
        for step in -100..=100 {
            let turns = f64::from(step) / 100.0;
            assert!(
                (wave(turns) - (turns * std::f64::consts::TAU).cos()).abs() < 0.002,
                "{turns}"
            );
        }
    }

    #[test]
    fn an_unknown_city_has_a_plausible_climate_of_its_own() {
        let climates: Vec<Climate> = (0..1000).map(|n| Climate::of(&format!("city {n}"))).collect();
        for climate in &climates {
            assert!((-45.0..=60.0).contains(&climate.latitude), "{climate:?}");
            assert!((3.0..=27.0).contains(&climate.mean), "{climate:?}");
            assert!((1.0..=15.0).contains(&climate.amplitude), "{climate:?}");
            assert!((50.0..=82.0).contains(&climate.humidity), "{climate:?}");
            assert!((2.0..=6.0).contains(&climate.wind_speed), "{climate:?}");
        }
        assert_ne!(climates[0], climates[1]);
    }
}
