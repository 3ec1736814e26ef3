//! The upper panel: a lane for each node, and the legend below.

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::series::moments;
use super::style::{self, AGREED, CUT, CUT_NAMES, HEALED, MUTED, PAUSED, SIDES, TEXT, UP, WRITE};
use super::{Area, Fault, chart, end, seconds};
use crate::timeline::{Cut, CutKind, Lane, MarkKind, RunTimeline};

type Panel<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// How high the panel is for so many nodes: lanes shrink as they become many.
pub(super) fn height(nodes: usize) -> u32 {
    let nodes = u32::try_from(nodes).unwrap_or(u32::MAX).clamp(1, 400);
    CUT_NAMES + 8 + nodes * (560 / nodes).clamp(4, 26)
}

/// Draws every lane.
pub(super) fn draw(run: &RunTimeline, area: &Area<'_>) -> Result<(), Fault> {
    let count = run.lanes.len().max(1);
    let mut builder = chart(area);
    builder.margin_top(CUT_NAMES).margin_bottom(4);
    // Lane 0 is on top.
    let mut panel = builder.build_cartesian_2d(0.0..end(run), count as f64..0.0)?;
    for cut in &run.cuts {
        let corners = [(seconds(cut.from), 0.0), (seconds(cut.until), count as f64)];
        panel.draw_series([Rectangle::new(corners, CUT.mix(0.10).filled())])?;
    }
    let every = count.div_ceil(26);
    for (node, lane) in run.lanes.iter().enumerate() {
        draw_lane(run, node, lane, &mut panel)?;
        if node % every == 0 {
            let at = panel.backend_coord(&(0.0, node as f64 + 0.5));
            let (left, top) = area.get_base_pixel();
            let label = Text::new(lane.label.clone(), (at.0 - left - 70, at.1 - top - 5), font(12, &TEXT));
            area.draw(&label)?;
        }
    }
    for cut in &run.cuts {
        let at = panel.backend_coord(&(seconds(cut.from), 0.0));
        let (left, _) = area.get_base_pixel();
        area.draw(&Text::new(name(cut), (at.0 - left, 4), font(12, &CUT)))?;
    }
    moments(run, &mut |at, color: RGBColor| {
        let line = PathElement::new(vec![(at, 0.0), (at, count as f64)], color.stroke_width(1));
        panel.draw_series([line]).map(drop)
    })
}

fn draw_lane(run: &RunTimeline, node: usize, lane: &Lane, panel: &mut Panel<'_, '_>) -> Result<(), Fault> {
    let (top, bottom) = (node as f64 + 0.12, node as f64 + 0.88);
    let bar = |from: u64, until: u64, color: RGBColor| {
        Rectangle::new([(seconds(from), top), (seconds(until), bottom)], color.mix(0.85).filled())
    };
    for life in &lane.lives {
        panel.draw_series([bar(life.from, life.until, UP)])?;
        for (cut, side) in sides_of(run, node) {
            let (from, until) = (cut.from.max(life.from), cut.until.min(life.until));
            if from < until {
                panel.draw_series([bar(from, until, SIDES[side % SIDES.len()])])?;
            }
        }
    }
    for (from, until) in &lane.pauses {
        panel.draw_series([bar(*from, *until, PAUSED)])?;
    }
    for write in &lane.writes {
        let at = seconds(*write);
        panel.draw_series([PathElement::new(vec![(at, bottom - 0.22), (at, bottom)], WRITE.mix(0.6))])?;
    }
    for mark in &lane.marks {
        let at = (seconds(mark.at), node as f64 + 0.5);
        let size = if run.lanes.len() > 40 { 3 } else { 6 };
        let color = mark_color(mark.kind);
        match mark.kind {
            MarkKind::Crash | MarkKind::Clone => {
                panel.draw_series([Cross::new(at, size, color.stroke_width(2))])?;
            }
            MarkKind::Restart | MarkKind::Restore => {
                panel.draw_series([TriangleMarker::new(at, size, color.filled())])?;
            }
            MarkKind::Stop | MarkKind::ClockStep | MarkKind::Fenced => {
                panel.draw_series([Circle::new(at, size * 2 / 3, color.filled())])?;
            }
        }
    }
    Ok(())
}

/// The cuts that `node` is part of, and on which side.
fn sides_of(run: &RunTimeline, node: usize) -> impl Iterator<Item = (&Cut, usize)> {
    let side = move |cut: &Cut| cut.sides.iter().position(|side| side.contains(&node));
    run.cuts.iter().filter_map(move |cut| Some((cut, side(cut)?)))
}

fn mark_color(kind: MarkKind) -> RGBColor {
    match kind {
        MarkKind::Crash => RGBColor(190, 20, 30),
        MarkKind::Stop => RGBColor(60, 60, 60),
        MarkKind::Restart => RGBColor(30, 130, 60),
        MarkKind::Restore => RGBColor(120, 40, 160),
        MarkKind::Clone => RGBColor(200, 0, 160),
        MarkKind::ClockStep => RGBColor(0, 120, 190),
        MarkKind::Fenced => RGBColor(230, 120, 0),
    }
}

fn mark_name(kind: MarkKind) -> &'static str {
    match kind {
        MarkKind::Crash => "crash",
        MarkKind::Stop => "clean stop",
        MarkKind::Restart => "restart",
        MarkKind::Restore => "restore of a backup",
        MarkKind::Clone => "cloned disk",
        MarkKind::ClockStep => "clock step",
        MarkKind::Fenced => "fenced",
    }
}

fn name(cut: &Cut) -> String {
    let side = |side: &Vec<usize>| match side.as_slice() {
        [] => "nobody".to_owned(),
        [one] => one.to_string(),
        [first, .., last] if last - first + 1 == side.len() => format!("{first}-{last}"),
        many if many.len() <= 4 => many.iter().map(usize::to_string).collect::<Vec<_>>().join(","),
        many => format!("{} nodes", many.len()),
    };
    let (kind, between) = match cut.kind {
        CutKind::Full => ("cut", " | "),
        CutKind::Partial => ("partial cut", " : "),
        CutKind::OneWay => ("one way", " -x-> "),
        CutKind::Flapping => ("flapping", " ~ "),
    };
    format!("{kind}: {}", cut.sides.iter().map(side).collect::<Vec<_>>().join(between))
}

/// One line: colours of lanes, the marks that occur, the two moments.
pub(super) fn legend(run: &RunTimeline, area: &Area<'_>) -> Result<(), Fault> {
    let mut at = style::LEFT + style::LABEL_WIDTH;
    let mut entry = |text: &str, color: RGBColor, area: &Area<'_>| -> Result<(), Fault> {
        area.draw(&Rectangle::new([(at, 9), (at + 10, 19)], color.filled()))?;
        area.draw(&Text::new(text.to_owned(), (at + 15, 8), font(12, &MUTED)))?;
        at += 30 + 6 * i32::try_from(text.len()).unwrap_or(0);
        Ok(())
    };
    entry("up", UP, area)?;
    if !run.cuts.is_empty() {
        entry("one side of a cut", SIDES[0], area)?;
        entry("the other", SIDES[1], area)?;
    }
    if run.lanes.iter().any(|lane| !lane.pauses.is_empty()) {
        entry("paused", PAUSED, area)?;
    }
    if run.lanes.iter().any(|lane| !lane.writes.is_empty()) {
        entry("write", WRITE, area)?;
    }
    let mut kinds: Vec<MarkKind> =
        run.lanes.iter().flat_map(|lane| lane.marks.iter().map(|mark| mark.kind)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        entry(mark_name(kind), mark_color(kind), area)?;
    }
    if run.healed_at.is_some() {
        entry("faults end", HEALED, area)?;
    }
    if run.converged_at.is_some() {
        entry("all agree", AGREED, area)?;
    }
    Ok(())
}

fn font(size: u32, color: &RGBColor) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(color)
}
