//! One panel with one curve over time.

use plotters::prelude::*;

use super::style::{AGREED, CUT, GRID, HEALED, MUTED, TEXT};
use super::{Area, Fault, chart, end, seconds};
use crate::timeline::RunTimeline;

/// Seconds and values.
type Points = Vec<(f64, f64)>;

/// A curve.
pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) color: RGBColor,
    /// Seconds and value, ascending by time. A value holds from the point before it up to its own.
    pub(super) points: Points,
    /// The value at rest: where the axis begins.
    pub(super) floor: f64,
}

/// Draws one panel; the last one carries the time axis.
pub(super) fn draw(run: &RunTimeline, series: &Series, last: bool, area: &Area<'_>) -> Result<(), Fault> {
    let top = series.points.iter().map(|(_, value)| *value).fold(series.floor + 1.0, f64::max);
    let headroom = series.floor + (top - series.floor) * 1.12;
    let mut builder = chart(area);
    builder.margin_top(18).margin_bottom(4);
    if last {
        builder.set_label_area_size(LabelAreaPosition::Bottom, 40);
    }
    let mut panel = builder.build_cartesian_2d(0.0..end(run), series.floor..headroom)?;
    for cut in &run.cuts {
        let corners = [(seconds(cut.from), series.floor), (seconds(cut.until), headroom)];
        panel.draw_series([Rectangle::new(corners, CUT.mix(0.10).filled())])?;
    }
    let mut mesh = panel.configure_mesh();
    mesh.disable_x_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(MUTED)
        .label_style(("sans-serif", 12).into_font().color(&MUTED))
        .y_labels(4)
        .y_label_formatter(&|value| short(*value))
        .x_labels(if last { 12 } else { 0 })
        .x_label_formatter(&|at| short(*at));
    if last {
        mesh.x_desc("virtual seconds").axis_desc_style(("sans-serif", 12).into_font().color(&MUTED));
    }
    mesh.draw()?;
    let (outline, filled) = steps(series);
    panel.draw_series([Polygon::new(filled, series.color.mix(0.22))])?;
    panel.draw_series([PathElement::new(outline, series.color.stroke_width(2))])?;
    moments(run, &mut |at, color: RGBColor| {
        let line = PathElement::new(vec![(at, series.floor), (at, headroom)], color.stroke_width(1));
        panel.draw_series([line]).map(drop)
    })?;
    let peak = series.points.iter().map(|(_, value)| *value).fold(series.floor, f64::max);
    let label = format!("{}   (most: {})", series.name, short(peak));
    area.draw(&Text::new(label, (96, 3), ("sans-serif", 13).into_font().color(&TEXT)))
}

/// Calls `line` for the moment when the faults ended and for the one from which all agree.
pub(super) fn moments(
    run: &RunTimeline,
    line: &mut dyn FnMut(f64, RGBColor) -> Result<(), Fault>,
) -> Result<(), Fault> {
    for (at, color) in [(run.healed_at, HEALED), (run.converged_at, AGREED)] {
        if let Some(at) = at {
            line(seconds(at), color)?;
        }
    }
    Ok(())
}

/// The curve in steps, and the area below it. Values are readings: no slope is made up between them.
fn steps(series: &Series) -> (Points, Points) {
    let (mut outline, mut before) = (Points::new(), 0.0);
    for (at, value) in &series.points {
        outline.push((before, *value));
        outline.push((*at, *value));
        before = *at;
    }
    let mut filled = vec![(0.0, series.floor)];
    filled.extend(&outline);
    filled.push((before, series.floor));
    (outline, filled)
}

/// A number with at most three digits and a unit.
fn short(value: f64) -> String {
    let (scaled, unit) = match value {
        value if value >= 1e9 => (value / 1e9, " G"),
        value if value >= 1e6 => (value / 1e6, " M"),
        value if value >= 1e3 => (value / 1e3, " k"),
        value => (value, ""),
    };
    let digits = usize::from(scaled.fract().abs() > 0.04 && scaled < 100.0);
    format!("{scaled:.digits$}{unit}")
}
