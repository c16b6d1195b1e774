//! Two plots in SVG, times on a logarithmic scale.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const COLOURS: [&str; 6] = ["#0b6bcb", "#7a7a7a", "#d1702f", "#2f8f4e", "#8e4ec6", "#b3261e"];

/// Whole decades around all values, the least of them not at the very edge.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn around(values: impl Iterator<Item = f64> + Clone) -> Self {
        let (least, most) = (values.clone().fold(f64::MAX, f64::min), values.fold(f64::MIN, f64::max));
        Self { low: (least / 2.0).log10().floor(), high: most.log10().ceil() }
    }

    /// From 0 to 1.
    fn at(&self, value: f64) -> f64 {
        (value.log10() - self.low) / (self.high - self.low).max(1.0)
    }

    fn decades(&self) -> impl Iterator<Item = f64> {
        #[expect(clippy::cast_possible_truncation, reason = "whole and small")]
        (self.low as i32..=self.high as i32).map(|power| 10_f64.powi(power))
    }
}

fn name_of(ms: f64) -> String {
    if ms < 1000.0 { format!("{ms} ms") } else { format!("{} s", ms / 1000.0) }
}

fn svg(height: f64, title: &str, inside: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"10\" y=\"20\" font-size=\"14\">{title}</text>\n{inside}</svg>\n"
    )
}

/// A bar for each; ours in the first colour.
pub fn bars(title: &str, bars: &[(String, f64, bool)]) -> String {
    const LEFT: f64 = 290.0;
    const STEP: f64 = 26.0;
    let scale = Scale::around(bars.iter().map(|bar| bar.1));
    let x = |ms: f64| LEFT + scale.at(ms) * (WIDTH - LEFT - 80.0);
    let bottom = 40.0 + STEP * f64::from(u16::try_from(bars.len()).unwrap());
    let mut text = String::new();
    for ms in scale.decades() {
        let (x, name) = (x(ms), name_of(ms));
        writeln!(text, "<path d=\"M{x:.1} 34V{bottom:.1}\" stroke=\"#ddd\"/>").unwrap();
        writeln!(text, "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">{name}</text>", bottom + 16.0).unwrap();
    }
    let mut y = 40.0;
    for (name, ms, ours) in bars {
        let (right, colour, middle) = (x(*ms), COLOURS[usize::from(!ours)], y + 14.0);
        writeln!(text, "<text x=\"{:.1}\" y=\"{middle:.1}\" text-anchor=\"end\">{name}</text>", LEFT - 8.0).unwrap();
        writeln!(text, "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"18\" fill=\"{colour}\"/>", right - LEFT).unwrap();
        writeln!(text, "<text x=\"{:.1}\" y=\"{middle:.1}\">{ms:.2} ms</text>", right + 6.0).unwrap();
        y += STEP;
    }
    svg(bottom + 28.0, title, &text)
}

/// A line for each: the number of ports, and the time.
pub fn lines(title: &str, lines: &[(String, Vec<(usize, f64)>)]) -> String {
    let (left, right, top, bottom) = (70.0, WIDTH - 20.0, 60.0, 380.0);
    let points = || lines.iter().flat_map(|line| line.1.iter().copied());
    let scale = Scale::around(points().map(|point| point.1).collect::<Vec<_>>().into_iter());
    let count = |n: usize| f64::from(u32::try_from(n).unwrap());
    let most = points().map(|point| point.0).max().unwrap_or(1);
    let x = |ports: usize| left + count(ports) / count(most.max(1)) * (right - left);
    let y = |ms: f64| bottom - scale.at(ms) * (bottom - top);
    let mut text = String::new();
    for ms in scale.decades() {
        let (y, name) = (y(ms), name_of(ms));
        writeln!(text, "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#ddd\"/>").unwrap();
        writeln!(text, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">{name}</text>", left - 8.0, y + 4.0).unwrap();
    }
    for ports in lines.iter().flat_map(|line| &line.1).map(|point| point.0).collect::<std::collections::BTreeSet<_>>() {
        let (x, y) = (x(ports), bottom + 16.0);
        writeln!(text, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" fill=\"#555\">{ports}</text>").unwrap();
    }
    let mut legend = left;
    for ((name, points), colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let path: Vec<String> = points.iter().map(|(ports, ms)| format!("{:.1} {:.1}", x(*ports), y(*ms))).collect();
        writeln!(text, "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>", path.join("L")).unwrap();
        writeln!(text, "<rect x=\"{legend:.1}\" y=\"34\" width=\"12\" height=\"12\" fill=\"{colour}\"/>").unwrap();
        writeln!(text, "<text x=\"{:.1}\" y=\"44\">{name}</text>", legend + 16.0).unwrap();
        legend += 40.0 + 7.0 * count(name.len());
    }
    svg(bottom + 30.0, title, &text)
}
