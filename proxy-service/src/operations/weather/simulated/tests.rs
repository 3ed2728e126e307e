#![allow(clippy::unwrap_used)]

use rstest::rstest;
use time::macros::{date, datetime};

use super::*;
use crate::progress::Reporter;

const CITIES: [&str; 12] = [
    "Cairo",
    "Helsinki",
    "Singapore",
    "New York",
    "Sydney",
    "Reykjavik",
    "Moscow",
    "Lima",
    "Springfield",
    "Xyz",
    "Zürich",
    "Ulan Bator",
];

fn place(city: &str, location: Option<&str>) -> Place {
    Place {
        city: city.to_owned(),
        location: location.map(str::to_owned),
    }
}

fn latency(text: &str) -> Latency {
    text.parse().unwrap()
}

/// Three years of weather in many cities.
fn years() -> impl Iterator<Item = (&'static str, Date, Weather)> {
    CITIES.into_iter().flat_map(|city| {
        (0..3 * 365).map(move |day| {
            let date = date!(2026 - 01 - 01) + Duration::days(day);
            (city, date, Weather::on(&place(city, None), date))
        })
    })
}

#[rstest]
#[case("New York", None, date!(2026-11-20), (7.9, 62, 13.2, Condition::Windy))]
#[case("New York", Some("Downtown"), date!(2026-11-20), (7.3, 65, 12.7, Condition::Stormy))]
#[case("Cairo", None, date!(2026-07-01), (28.1, 52, 4.5, Condition::PartlyCloudy))]
#[case("Moscow", None, date!(2027-01-15), (-10.5, 70, 3.5, Condition::Snowy))]
#[case("Springfield", None, date!(2028-02-29), (-3.6, 34, 11.5, Condition::Windy))]
fn the_derivation_never_drifts(
    #[case] city: &str,
    #[case] location: Option<&str>,
    #[case] date: Date,
    #[case] expected: (f64, u8, f64, Condition),
) {
    let weather = Weather::on(&place(city, location), date);
    let actual = (
        weather.temperature,
        weather.humidity,
        weather.wind_speed,
        weather.condition,
    );
    assert_eq!(actual, expected);
}

#[test]
fn same_city_and_day_give_the_same_weather() {
    let day = date!(2026 - 11 - 20);
    let lower = Weather::on(&place("new york", Some("downtown")), day);
    assert_eq!(Weather::on(&place("New York", Some("Downtown")), day), lower);
}

#[test]
fn weather_differs_by_city_location_and_day() {
    let (day, next) = (date!(2026 - 11 - 20), date!(2026 - 11 - 21));
    let paris = Weather::on(&place("Paris", None), day);
    assert_ne!(paris, Weather::on(&place("Rome", None), day));
    assert_ne!(paris, Weather::on(&place("Paris", Some("Montmartre")), day));
    assert_ne!(paris, Weather::on(&place("Paris", None), next));
}

#[test]
fn a_location_is_never_far_from_its_city() {
    for (city, date, weather) in years() {
        let spot = Weather::on(&place(city, Some("Old Town")), date);
        assert!((spot.temperature - weather.temperature).abs() <= 2.1, "{city} {date}");
    }
}

#[test]
fn july_in_cairo_is_warmer_than_january() {
    let on = |date| Weather::on(&place("Cairo", None), date).temperature;
    for day in 0..31 {
        let ahead = Duration::days(day);
        assert!(on(date!(2026 - 07 - 01) + ahead) > on(date!(2026 - 01 - 01) + ahead));
    }
}

#[test]
fn july_in_sydney_is_colder_than_january() {
    let mean = |first: Date| {
        let days = (0..31).map(|day| first + Duration::days(day));
        days.map(|date| Weather::on(&place("Sydney", None), date).temperature)
            .sum::<f64>()
            / 31.0
    };
    assert!(mean(date!(2026 - 07 - 01)) + 5.0 < mean(date!(2026 - 01 - 01)));
}

#[test]
fn values_stay_within_their_ranges_and_one_decimal() {
    for (city, date, weather) in years() {
        let Weather {
            temperature,
            humidity,
            wind_speed,
            ..
        } = weather;
        assert!((-40.0..=50.0).contains(&temperature), "{city} {date} {weather:?}");
        assert!((10..=100).contains(&humidity), "{city} {date} {weather:?}");
        assert!((0.0..30.0).contains(&wind_speed), "{city} {date} {weather:?}");
        for value in [temperature, wind_speed] {
            assert!(format!("{value}").split_once('.').is_none_or(|(_, f)| f.len() == 1));
        }
    }
}

#[test]
fn snow_falls_only_in_the_cold() {
    let mut snowy = years().filter(|(_, _, w)| w.condition == Condition::Snowy).peekable();
    assert!(snowy.peek().is_some());
    assert!(snowy.all(|(_, _, weather)| weather.temperature <= 1.0));
}

#[test]
fn thunder_comes_only_with_warmth() {
    let mut thunder = years()
        .filter(|(_, _, w)| w.condition == Condition::Thunderstorm)
        .peekable();
    assert!(thunder.peek().is_some());
    assert!(thunder.all(|(_, _, weather)| weather.temperature >= 20.0));
}

#[test]
fn fog_needs_calm_cool_and_damp_air() {
    let mut foggy = years().filter(|(_, _, w)| w.condition == Condition::Foggy).peekable();
    assert!(foggy.peek().is_some());
    assert!(
        foggy.all(|(_, _, weather)| weather.wind_speed < 3.0 && weather.humidity >= 85 && weather.temperature < 22.0)
    );
}

#[test]
fn days_are_windy_or_stormy_exactly_in_high_wind() {
    let mut windy_days = 0;
    for (city, date, weather) in years() {
        let named = matches!(weather.condition, Condition::Windy | Condition::Stormy);
        assert_eq!(named, weather.wind_speed >= 10.8, "{city} {date} {weather:?}");
        windy_days += usize::from(named);
    }
    assert!(windy_days > 0);
}

#[test]
fn every_condition_occurs() {
    let mut seen: Vec<&str> = years().map(|(_, _, weather)| weather.condition.name()).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 10, "{seen:?}");
}

#[test]
fn an_observation_is_the_days_weather_at_the_full_second() {
    let oslo = place("Oslo", None);
    let observation = observe(&oslo, datetime!(2026-11-20 23:59:59.7 UTC));
    assert_eq!(observation.forecast_time, datetime!(2026-11-20 23:59:59 UTC));
    let weather = Weather::on(&oslo, date!(2026 - 11 - 20));
    assert_eq!(observation.temperature, weather.temperature);
    assert_eq!(observation.condition, weather.condition);
}

#[test]
fn a_forecast_starts_today_and_agrees_with_the_days_weather() {
    let oslo = place("Oslo", None);
    let days = forecast(&oslo, date!(2026 - 12 - 30), 3);
    let dates: Vec<Date> = days.iter().map(|day| day.date).collect();
    assert_eq!(
        dates,
        [date!(2026 - 12 - 30), date!(2026 - 12 - 31), date!(2027 - 01 - 01)]
    );
    for day in days {
        let weather = Weather::on(&oslo, day.date);
        assert_eq!(
            day,
            DailyForecast::new(day.date, weather.temperature, weather.condition)
        );
    }
}

#[test]
fn a_forecast_ends_where_the_calendar_does() {
    assert_eq!(forecast(&place("Oslo", None), Date::MAX, 16).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_takes_the_latency_and_no_latency_takes_no_time() {
    let start = tokio::time::Instant::now();
    Simulated::new(latency("0ms"))
        .current(&place("Oslo", None), &Reporter::none())
        .await
        .unwrap();
    assert!(start.elapsed().is_zero());

    let days = Simulated::new(latency("2s"))
        .daily(&place("Oslo", None), 7, &Reporter::none())
        .await
        .unwrap();
    assert_eq!(days.len(), 7);
    // The timer rounds up to whole milliseconds.
    assert_eq!(start.elapsed().as_millis() / 10, 200);
}
