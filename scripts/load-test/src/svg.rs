//! Line charts as inline SVG. Colours and dashes both tell the lines apart, so that paper does, too.

use std::fmt::Write;

/// A chart of lines over a common x axis. All y values are from zero up.
pub(crate) struct Chart<'a> {
    /// What it shows, for those who cannot see it.
    pub(crate) title: &'a str,
    /// The unit, above the y axis.
    pub(crate) unit: &'a str,
    /// The unit, at the end of the x axis.
    pub(crate) x_unit: &'a str,
    /// Where the x axis has marks, and what they say; the first and the last are its ends.
    pub(crate) x_marks: Vec<(f64, String)>,
    /// The lines.
    pub(crate) lines: Vec<Line<'a>>,
}

/// A line; it has a gap where there is no value.
pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    pub(crate) colour: &'a str,
    /// As in `stroke-dasharray`; empty for a solid line.
    pub(crate) dashes: &'a str,
    pub(crate) points: Vec<(f64, Option<f64>)>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 32.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 30.0;

/// Text from elsewhere, safe within HTML and SVG and within double quotes.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

impl Chart<'_> {
    /// The chart as an `svg` element.
    pub(crate) fn to_svg(&self) -> String {
        let mut svg = String::new();
        self.write(&mut svg).expect("writing to a String cannot fail");
        svg
    }

    fn write(&self, svg: &mut String) -> std::fmt::Result {
        let title = escape(self.title);
        write!(
            svg,
            r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}"><title>{title}</title>"#
        )?;
        let step = step(self.highest() / 4.0);
        // The axis ends at the first mark that no value exceeds.
        let marks = (self.highest() / step).ceil().max(1.0);
        let scale = Scale {
            first: self.x_marks.first().map_or(0.0, |mark| mark.0),
            last: self.x_marks.last().map_or(1.0, |mark| mark.0),
            top: marks * step,
        };
        self.write_axes(svg, &scale, step, marks as u32)?;
        for (index, line) in self.lines.iter().enumerate() {
            line.write(svg, &scale)?;
            line.write_legend(svg, LEFT + 90.0 + 110.0 * index as f64)?;
        }
        svg.push_str("</svg>");
        Ok(())
    }

    fn highest(&self) -> f64 {
        let values = self
            .lines
            .iter()
            .flat_map(|line| &line.points)
            .filter_map(|point| point.1);
        values.fold(0.0, f64::max)
    }

    fn write_axes(&self, svg: &mut String, scale: &Scale, step: f64, marks: u32) -> std::fmt::Result {
        let right = WIDTH - RIGHT;
        for mark in 0..=marks {
            let value = f64::from(mark) * step;
            let y = scale.y(value);
            write!(svg, r#"<path class="grid" d="M{LEFT} {y:.1}H{right}"/>"#)?;
            write!(
                svg,
                r#"<text x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
                LEFT - 6.0,
                y + 4.0,
                number(value)
            )?;
        }
        let foot = HEIGHT - BOTTOM;
        for (value, label) in &self.x_marks {
            let x = scale.x(*value);
            write!(svg, r#"<path class="grid" d="M{x:.1} {TOP}V{foot}"/>"#)?;
            write!(
                svg,
                r#"<text x="{x:.1}" y="{}" text-anchor="middle">{}</text>"#,
                foot + 16.0,
                escape(label)
            )?;
        }
        write!(svg, r#"<text x="{LEFT}" y="14">{}</text>"#, escape(self.unit))?;
        let x_unit = escape(self.x_unit);
        write!(svg, r#"<text x="{right}" y="14" text-anchor="end">{x_unit}</text>"#)
    }
}

impl Line<'_> {
    fn write(&self, svg: &mut String, scale: &Scale) -> std::fmt::Result {
        let mut path = String::new();
        let mut dots = String::new();
        for (index, (x, value)) in self.points.iter().enumerate() {
            let Some(value) = value else { continue };
            let (x, y) = (scale.x(*x), scale.y(*value));
            let joined = index > 0 && self.points[index - 1].1.is_some();
            write!(path, "{}{x:.1} {y:.1}", if joined { 'L' } else { 'M' })?;
            let goes_on = self.points.get(index + 1).is_some_and(|next| next.1.is_some());
            // A value between two gaps has no line to be on.
            if !joined && !goes_on {
                write!(
                    dots,
                    r#"<circle cx="{x:.1}" cy="{y:.1}" r="2.5" fill="{}"/>"#,
                    self.colour
                )?;
            }
        }
        let Self { colour, dashes, .. } = self;
        write!(
            svg,
            r#"<path class="line" stroke="{colour}" stroke-dasharray="{dashes}" d="{path}"/>{dots}"#
        )
    }

    fn write_legend(&self, svg: &mut String, x: f64) -> std::fmt::Result {
        let Self { colour, dashes, .. } = self;
        write!(
            svg,
            r#"<path class="line" stroke="{colour}" stroke-dasharray="{dashes}" d="M{x} 10h24"/>"#
        )?;
        write!(svg, r#"<text x="{}" y="14">{}</text>"#, x + 30.0, escape(self.name))
    }
}

struct Scale {
    first: f64,
    last: f64,
    top: f64,
}

impl Scale {
    fn x(&self, value: f64) -> f64 {
        let span = (self.last - self.first).max(f64::MIN_POSITIVE);
        LEFT + (value - self.first) / span * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM)
    }
}

/// The next of 1, 2, 5, 10 … at any power of ten: steps people can count in.
pub(crate) fn step(least: f64) -> f64 {
    if least <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|factor| factor * power);
    steps.into_iter().find(|step| *step >= least).unwrap_or(10.0 * power)
}

/// A number without the zeros at its end.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_countable() {
        let steps = [0.0, 0.03, 1.0, 1.1, 2.5, 7.0, 12_000.0].map(step);
        let expected = [1.0, 0.05, 1.0, 2.0, 5.0, 10.0, 20_000.0];
        for (step, expected) in steps.into_iter().zip(expected) {
            assert!((step - expected).abs() < 1e-9, "{step} for {expected}");
        }
    }

    fn chart(points: Vec<(f64, Option<f64>)>) -> String {
        let line = Line {
            name: "a<b",
            colour: "#000",
            dashes: "",
            points,
        };
        let chart = Chart {
            title: "t",
            unit: "ms",
            x_unit: "s",
            x_marks: vec![(0.0, "0".to_owned()), (4.0, "4".to_owned())],
            lines: vec![line],
        };
        chart.to_svg()
    }

    #[test]
    fn a_gap_breaks_the_line_and_a_lone_value_is_a_dot() {
        let svg = chart(vec![
            (0.0, Some(1.0)),
            (1.0, Some(2.0)),
            (2.0, None),
            (3.0, Some(4.0)),
            (4.0, None),
        ]);
        let path = svg.split("stroke-dasharray=\"\" d=\"").nth(1).unwrap_or_default();
        let path = path.split('"').next().unwrap_or_default();
        assert_eq!((path.matches('M').count(), path.matches('L').count()), (2, 1), "{path}");
        assert_eq!(svg.matches("<circle").count(), 1);
    }

    #[test]
    fn nothing_to_draw_still_is_a_chart_without_nonsense_numbers() {
        for svg in [chart(vec![]), chart(vec![(0.0, Some(0.0))])] {
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert!(svg.contains("a&lt;b"));
        }
    }
}
