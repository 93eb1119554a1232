//! Charts of a report: throughput over batch and length, latencies by percentile.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

use super::report::{self, Report};
use super::statistics::Sorted;
use crate::failure::Failure;
use crate::output::Output;

const SIZE: (u32, u32) = (960, 960);
const PERCENTILES: [f64; 9] = [0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 100.0];

type Drawn = Result<(), Box<dyn Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// The points of one line and its name.
type Line = (String, Vec<(f64, f64)>);

/// A file to draw into.
pub(super) struct Chart {
    output: Output,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Svg,
    Html,
}

impl Chart {
    /// Opens the file, whose name says what it becomes.
    pub(super) fn at(path: &Path) -> Result<Self, Failure> {
        let kind = match path.extension().and_then(|extension| extension.to_str()) {
            Some("svg") => Kind::Svg,
            Some("html") => Kind::Html,
            _ => {
                let name = path.display();
                let message =
                    format!("'--chart' expects a name that ends in .svg or .html, found {name}");
                return Err(Failure::Usage(message));
            }
        };
        Ok(Self {
            output: Output::at(path)?,
            kind,
        })
    }

    pub(super) fn write(self, report: &Report<'_>) -> Result<(), Failure> {
        let mut svg = String::new();
        draw(&mut svg, report)
            .map_err(|error| Failure::Runtime(format!("the chart was not drawn: {error}")))?;
        let mut text = Vec::new();
        report::write_table(&mut text, report, None)
            .map_err(|error| Failure::io("the chart's table", &error))?;
        self.output.write(|out| match self.kind {
            Kind::Svg => out.write_all(svg.as_bytes()),
            Kind::Html => {
                let text = escaped(&String::from_utf8_lossy(&text));
                writeln!(
                    out,
                    "<!doctype html>\n<meta charset=\"utf-8\">\n<title>qwen3-embed bench</title>\n\
                     {svg}\n<pre>{text}</pre>"
                )
            }
        })
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn draw(svg: &mut String, report: &Report<'_>) -> Drawn {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let (top, bottom) = area.split_vertically(SIZE.1 / 2);
    let title = format!(
        "{}, {}, {}: tokens/s by texts of a request",
        report.model.name, report.backend.name, report.backend.precision
    );
    throughput(&top, &title, report)?;
    latencies(&bottom, "ms of a request by percentile", report)?;
    area.present()?;
    Ok(())
}

/// A line for each length, over the batch size.
fn throughput(area: &Area<'_>, title: &str, report: &Report<'_>) -> Drawn {
    let mut lengths: Vec<usize> = report.cases.iter().filter_map(|case| case.length).collect();
    lengths.sort_unstable();
    lengths.dedup();
    let line = |&length: &usize| {
        let cases = report.cases.iter();
        let cases = cases.filter(|case| case.length == Some(length));
        let points = cases.map(|case| (case.batch as f64, case.tokens_per_second.useful));
        (format!("{length} tokens"), points.collect())
    };
    let lines: Vec<Line> = lengths.iter().map(line).collect();
    let top = values(&lines, |point| point.1).fold(1.0, f64::max);
    lines_over(area, title, &lines, "texts", 0.0..top * 1.05)
}

/// A line for each case, over the percentile. Cases differ by orders of magnitude.
fn latencies(area: &Area<'_>, title: &str, report: &Report<'_>) -> Drawn {
    let lines: Vec<Line> = report
        .cases
        .iter()
        .map(|case| {
            let times = Sorted::of_milliseconds(case.ms.all.clone());
            let points = PERCENTILES.map(|percent| (percent, times.percentile(percent)));
            (case.case.clone(), points.to_vec())
        })
        .collect();
    let times = || values(&lines, |point| point.1).filter(|&time| time > 0.0);
    let least = times().fold(f64::INFINITY, f64::min).min(1.0);
    let most = times().fold(1.0, f64::max);
    let times = (least * 0.9..most * 1.1).log_scale();
    lines_over(area, title, &lines, "percentile", times)
}

fn values(lines: &[Line], of: fn(&(f64, f64)) -> f64) -> impl Iterator<Item = f64> {
    lines.iter().flat_map(|(_, points)| points).map(of)
}

/// `up` is the range of the vertical axis.
fn lines_over<Y>(area: &Area<'_>, title: &str, lines: &[Line], x: &str, up: Y) -> Drawn
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let across = values(lines, |point| point.0);
    let (least, most) = across.fold((f64::MAX, 0.0), |(least, most), x| {
        (x.min(least), x.max(most))
    });
    // An axis has a length, also where there is one point or none.
    let across = least.min(most)..most + 0.01;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(72)
        .build_cartesian_2d(across, up)?;
    chart.configure_mesh().max_light_lines(0).x_desc(x).draw()?;
    for (number, (name, points)) in lines.iter().enumerate() {
        let colour = Palette99::pick(number).to_rgba();
        chart
            .draw_series(
                LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3),
            )?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    Ok(())
}
