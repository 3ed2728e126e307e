//! What Open-Meteo's weather codes mean here.

use crate::operations::weather::contract::Condition;

/// The wind speed, in m/s, from which the wind is the weather: Beaufort 6, a strong breeze.
pub(crate) const STRONG_BREEZE: f64 = 10.8;

/// The condition for a WMO code, or nothing for a code that Open-Meteo does not document.
///
/// The codes are those of WMO code table 4677 as far as Open-Meteo uses them, see the table "WMO Weather
/// interpretation codes" in <https://open-meteo.com/en/docs>; 0 to 3 there stand for the cloud cover.
pub(super) fn condition(code: u8) -> Option<Condition> {
    Some(match code {
        // Clear and mainly clear sky.
        0 | 1 => Condition::Clear,
        2 => Condition::PartlyCloudy,
        // Overcast.
        3 => Condition::Cloudy,
        // Fog, and fog that leaves rime.
        45 | 48 => Condition::Foggy,
        // Drizzle, freezing drizzle, rain, freezing rain, rain showers.
        51 | 53 | 55 | 56 | 57 | 61 | 63 | 65 | 66 | 67 | 80 | 81 | 82 => Condition::Rainy,
        // Snowfall, snow grains, snow showers.
        71 | 73 | 75 | 77 | 85 | 86 => Condition::Snowy,
        // Thunderstorm, without and with hail.
        95 | 96 | 99 => Condition::Thunderstorm,
        _ => return None,
    })
}

/// The condition once the wind, in m/s, has its say.
pub(super) fn with_wind(condition: Condition, wind_speed: f64) -> Condition {
    match condition {
        _ if wind_speed < STRONG_BREEZE => condition,
        Condition::Clear | Condition::Sunny | Condition::PartlyCloudy => Condition::Windy,
        Condition::Rainy => Condition::Stormy,
        other => other,
    }
}

/// The condition of a whole day: a clear sky by daylight is sunny.
pub(super) fn by_daylight(condition: Condition) -> Condition {
    if condition == Condition::Clear {
        Condition::Sunny
    } else {
        condition
    }
}

/// `value` to one decimal, and never a negative zero.
pub(crate) fn one_decimal(value: f64) -> f64 {
    (value * 10.0).round() / 10.0 + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0, 2.0, Condition::Clear)]
    #[case(0, 10.8, Condition::Windy)]
    #[case(2, 10.7, Condition::PartlyCloudy)]
    #[case(2, 14.0, Condition::Windy)]
    #[case(3, 14.0, Condition::Cloudy)]
    #[case(48, 1.0, Condition::Foggy)]
    #[case(63, 4.0, Condition::Rainy)]
    #[case(82, 17.0, Condition::Stormy)]
    #[case(75, 17.0, Condition::Snowy)]
    #[case(99, 17.0, Condition::Thunderstorm)]
    fn code_and_wind_make_the_condition(#[case] code: u8, #[case] wind_speed: f64, #[case] expected: Condition) {
        assert_eq!(condition(code).map(|it| with_wind(it, wind_speed)), Some(expected));
    }

    #[test]
    fn only_documented_codes_mean_something() {
        assert_eq!((0..=u8::MAX).filter(|code| condition(*code).is_some()).count(), 28);
    }

    #[rstest]
    #[case(-0.04, "0")]
    #[case(8.449, "8.4")]
    #[case(-3.26, "-3.3")]
    fn rounding_keeps_one_decimal_and_no_negative_zero(#[case] value: f64, #[case] text: &str) {
        assert_eq!(one_decimal(value).to_string(), text);
    }
}
