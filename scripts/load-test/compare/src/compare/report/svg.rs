//! The plot: a group of bars for each number of connections; on the left requests a second, on the right the CPU time
//! of a request, split into front, worker and broker. Each group has scales of its own: alone, a request costs many
//! times what it costs in company.

use std::fmt::Write;

use super::Results;
use crate::running::Parts;

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 170.0;
/// Of each of the two columns of bars.
const COLUMN: f64 = 330.0;
/// Where the right column begins.
const RIGHT: f64 = LEFT + COLUMN + 90.0;
const ROW: f64 = 20.0;
const BAR: f64 = 14.0;
const TOP: f64 = 56.0;
const GROUP_GAP: f64 = 34.0;

const THROUGHPUT: &str = "#4e79a7";
const OURS: &str = "#e15759";
const PARTS: [(&str, &str); 3] = [("front", "#4e79a7"), ("worker", "#f28e2b"), ("broker", "#76b7b2")];

/// One peer at one number of connections.
struct Bar {
    label: &'static str,
    ours: bool,
    /// Median, lowest and highest; or none, with the reason.
    throughput: Result<(f64, f64, f64), &'static str>,
    cpu: Option<Parts>,
}

pub(super) fn render(results: &Results) -> String {
    let groups: Vec<_> = results
        .connections
        .iter()
        .map(|count| (*count, bars(results, *count)))
        .collect();
    let height = TOP
        + groups
            .iter()
            .map(|(_, bars)| GROUP_GAP + bars.len() as f64 * ROW)
            .sum::<f64>()
        + 10.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\" fill=\"#222\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    text(
        &mut svg,
        LEFT,
        20.0,
        "start",
        "Requests a second: median, lowest to highest round",
    );
    text(
        &mut svg,
        RIGHT,
        20.0,
        "start",
        "CPU of a request in µs (user + system), median",
    );
    for (index, (name, color)) in PARTS.into_iter().enumerate() {
        let x = RIGHT + 90.0 * index as f64;
        rectangle(&mut svg, x, 30.0, 10.0, 10.0, color);
        text(&mut svg, x + 15.0, 39.0, "start", name);
    }
    let mut y = TOP;
    for (connections, bars) in &groups {
        let plural = if *connections == 1 { "" } else { "s" };
        text(
            &mut svg,
            10.0,
            y + 20.0,
            "start",
            &format!("{connections} connection{plural}"),
        );
        y += GROUP_GAP;
        let most = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::MIN_POSITIVE, f64::max);
        let most_throughput = most(&mut bars.iter().filter_map(|bar| bar.throughput.ok().map(|(_, _, max)| max)));
        let most_cpu = most(&mut bars.iter().filter_map(|bar| bar.cpu.map(|cpu| cpu.sum())));
        for bar in bars {
            text(&mut svg, LEFT - 8.0, y + 11.0, "end", bar.label);
            draw_throughput(&mut svg, y, bar, COLUMN / most_throughput);
            draw_cpu(&mut svg, y, bar, COLUMN / most_cpu);
            y += ROW;
        }
    }
    svg + "</svg>\n"
}

fn bars(results: &Results, connections: u32) -> Vec<Bar> {
    let bar = |entry: &super::Entry| {
        let summary = results.summary(entry.peer, connections);
        let throughput = summary.as_ref().map(|summary| summary.throughput);
        let missing = if entry.idle.is_err() { "skipped" } else { "no result" };
        Bar {
            label: entry.peer.name(),
            ours: entry.peer.is_roundtrip(),
            throughput: throughput.map(|t| (t.median, t.min, t.max)).ok_or(missing),
            cpu: summary.and_then(|summary| summary.cpu_micros),
        }
    };
    results.entries.iter().map(bar).collect()
}

fn draw_throughput(svg: &mut String, y: f64, bar: &Bar, scale: f64) {
    let (median, min, max) = match bar.throughput {
        Ok(values) => values,
        Err(missing) => return text(svg, LEFT + 4.0, y + 11.0, "start", missing),
    };
    let color = if bar.ours { OURS } else { THROUGHPUT };
    rectangle(svg, LEFT, y, median * scale, BAR, color);
    rectangle(
        svg,
        LEFT + min * scale,
        y + BAR / 2.0 - 0.5,
        (max - min) * scale,
        1.0,
        "#222",
    );
    text(
        svg,
        LEFT + max * scale + 6.0,
        y + 11.0,
        "start",
        &format!("{median:.0}"),
    );
}

fn draw_cpu(svg: &mut String, y: f64, bar: &Bar, scale: f64) {
    let Some(cpu) = bar.cpu else { return };
    let mut x = RIGHT;
    let parts = [Some(cpu.front), cpu.worker, cpu.broker];
    for (micros, (_, color)) in parts.into_iter().zip(PARTS) {
        let width = micros.unwrap_or_default() * scale;
        rectangle(svg, x, y, width, BAR, color);
        x += width;
    }
    text(svg, x + 6.0, y + 11.0, "start", &format!("{:.1}", cpu.sum()));
}

fn rectangle(svg: &mut String, x: f64, y: f64, width: f64, height: f64, color: &str) {
    // Writing to a String never fails.
    let _ = writeln!(
        svg,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{color}\"/>"
    );
}

/// All texts are our own: none needs escaping.
fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::super::tests::results;
    use super::*;

    #[test]
    fn every_peer_has_its_place_also_who_was_skipped() {
        let svg = render(&results());
        for label in ["direct", "rabbitmq", "roundtrip-redis", "skipped", "64 connections"] {
            assert!(svg.contains(&format!(">{label}</text>")), "{label}: {svg}");
        }
    }

    #[test]
    fn the_longest_bars_fill_their_columns_and_none_leaves_the_plot() {
        let svg = render(&results());
        // 10 and 5 of at most 15 µs.
        assert!(
            svg.contains("width=\"220.0\"") && svg.contains("width=\"110.0\""),
            "{svg}"
        );
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn without_any_measurement_there_is_still_a_plot() {
        let mut results = results();
        results.measurements.clear();
        assert!(!render(&results).contains("NaN"));
    }
}
