//! The table of a sequential run: a row for each request, as soon as it is answered.

use std::io::{self, Write};

use load_test::engine::Row;
use load_test::text::one_line;

/// The table's first line.
pub(crate) fn write_header(output: &mut dyn Write) -> io::Result<()> {
    let columns = ["city", "location", "°C", "condition", "ms"].map(str::to_owned);
    writeln!(output, "{}  request id", line("#", &columns))
}

/// A request's line.
pub(crate) fn write_row(output: &mut dyn Write, row: &Row<'_>) -> io::Result<()> {
    let (temperature, condition, rest) = match &row.outcome {
        Ok(weather) => (
            format!("{:.1}", weather.temperature),
            weather.condition.clone(),
            weather.request_id.clone(),
        ),
        Err(failure) => ("–".to_owned(), "–".to_owned(), failure.to_string()),
    };
    let columns = [
        row.place.city.clone(),
        row.place.location.clone().unwrap_or_default(),
        temperature,
        condition,
        format!("{:.1}", row.latency.as_secs_f64() * 1000.0),
    ];
    let start = line(&row.number.to_string(), &columns);
    writeln!(output, "{}", one_line(&format!("{start}  {rest}")))
}

fn line(number: &str, [city, location, temperature, condition, latency]: &[String; 5]) -> String {
    format!("{number:>5}  {city:<16}  {location:<16}  {temperature:>6}  {condition:<13}  {latency:>9}")
}
