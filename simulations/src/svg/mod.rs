//! Draws a finished run as one SVG picture.
//!
//! From top to bottom, over one axis of virtual time: a lane for each node with its lives and what befell
//! it; how many distinct roots there were; how many keys differed; bytes a second; frames that wait. Cuts are shaded in all
//! of them. Equal timelines give equal bytes: the picture of a seed can be compared like its trace.

mod lanes;
mod series;
mod style;

use std::fmt;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::timeline::{RunTimeline, Sample};
use series::Series;
use style::{HEADLINE, LABEL_WIDTH, MUTED, PLOT_HEIGHT, TEXT, WIDTH};

/// Why a picture was not drawn.
#[derive(Debug)]
pub struct DrawError {
    path: String,
    why: String,
}

impl fmt::Display for DrawError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot draw the run to {}: {}; choose a file in a folder that can be written",
            self.path, self.why
        )
    }
}

impl std::error::Error for DrawError {}

/// One panel's canvas.
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// What plotters says when it cannot draw.
type Fault = DrawingAreaErrorKind<std::io::Error>;

/// Draws `run` to the file `path`.
///
/// # Errors
/// The file cannot be written.
pub fn draw(run: &RunTimeline, path: &Path) -> Result<(), DrawError> {
    let fault = |why: String| DrawError { path: path.display().to_string(), why };
    std::fs::write(path, to_string(run).map_err(|error| fault(error.to_string()))?)
        .map_err(|error| fault(error.to_string()))
}

/// The picture as text.
fn to_string(run: &RunTimeline) -> Result<String, Fault> {
    let mut text = String::new();
    let lanes_height = lanes::height(run.lanes.len());
    let height = HEADLINE + lanes_height + 4 * PLOT_HEIGHT + style::LEGEND + style::AXIS;
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        root.fill(&WHITE)?;
        let (head, rest) = root.split_vertically(HEADLINE);
        headline(run, &head)?;
        let (upper, rest) = rest.split_vertically(lanes_height);
        lanes::draw(run, &upper)?;
        let (legend, mut rest) = rest.split_vertically(style::LEGEND);
        lanes::legend(run, &legend)?;
        let panels = all_series(run);
        for (nth, series) in panels.iter().enumerate() {
            let last = nth + 1 == panels.len();
            let (panel, below) = rest.split_vertically(PLOT_HEIGHT + if last { style::AXIS } else { 0 });
            series::draw(run, series, last, &panel)?;
            rest = below;
        }
        root.present()?;
    }
    Ok(text)
}

fn headline(run: &RunTimeline, area: &Area<'_>) -> Result<(), Fault> {
    area.draw(&Text::new(run.title.clone(), (style::LEFT, 12), ("sans-serif", 22).into_font().color(&TEXT)))?;
    let outcome = match (run.healed_at, run.converged_at) {
        (_, Some(at)) => format!("all nodes agree from {:.2} s on", seconds(at)),
        (Some(at), None) => format!("faults ended at {:.2} s, and the nodes never agreed", seconds(at)),
        (None, None) => "the faults never ended".to_owned(),
    };
    area.draw(&Text::new(outcome, (style::LEFT, 38), ("sans-serif", 13).into_font().color(&TEXT)))?;
    area.draw(&Text::new(
        run.command.clone(),
        (style::LEFT, 54),
        ("sans-serif", 11).into_font().color(&MUTED),
    ))
}

fn all_series(run: &RunTimeline) -> [Series; 4] {
    let plain = |name: &'static str, color, value: fn(&Sample) -> u64| Series {
        name,
        color,
        points: run.samples.iter().map(|sample| (seconds(sample.at), value(sample) as f64)).collect(),
        floor: 0.0,
    };
    let mut roots = plain("distinct roots", style::ROOTS, |sample| sample.roots);
    roots.floor = 1.0;
    let keys = plain("keys that differ", style::KEYS, |sample| sample.keys_differing);
    let mut before = 0;
    let rate = |sample: &Sample| {
        let span = seconds(sample.at.saturating_sub(before));
        before = sample.at;
        (seconds(sample.at), if span > 0.0 { sample.bytes as f64 / span } else { 0.0 })
    };
    let bytes = Series {
        name: "bytes a second",
        color: style::BYTES,
        points: run.samples.iter().map(rate).collect(),
        floor: 0.0,
    };
    let queued = plain("frames that wait for a peer", style::QUEUED, |sample| sample.queued);
    [roots, keys, bytes, queued]
}

/// Virtual microseconds as seconds.
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// The end of the time axis; never zero, or there is nothing to draw on.
fn end(run: &RunTimeline) -> f64 {
    seconds(run.end).max(0.001)
}

/// The margins that all panels share, so that one moment stands above the other.
fn chart<'a, 'b>(area: &'a Area<'b>) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut chart = ChartBuilder::on(area);
    chart
        .margin_left(style::LEFT)
        .margin_right(style::RIGHT)
        .set_label_area_size(LabelAreaPosition::Left, LABEL_WIDTH);
    chart
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::{Cut, CutKind, Lane, Life, Mark, MarkKind};

    #[test]
    fn equal_timelines_are_drawn_to_equal_bytes_and_show_their_cuts() {
        let run = RunTimeline {
            title: "split-brain, seed 7".to_owned(),
            end: 10_000_000,
            lanes: vec![
                Lane {
                    label: "node 0".to_owned(),
                    lives: vec![Life { from: 0, until: 10_000_000 }],
                    marks: vec![Mark { at: 5, kind: MarkKind::Crash }],
                    ..Lane::default()
                };
                2
            ],
            cuts: vec![Cut {
                from: 1_000_000,
                until: 4_000_000,
                kind: CutKind::Full,
                sides: vec![vec![0], vec![1]],
            }],
            samples: vec![Sample {
                at: 1_000_000,
                roots: 2,
                keys_differing: 3,
                bytes: 400,
                queued: 1,
                queued_bytes: 90,
            }],
            ..RunTimeline::default()
        };
        let picture = to_string(&run).expect("a string can be written");
        assert_eq!(picture, to_string(&run).expect("a string can be written"));
        assert!(picture.contains("cut: 0 | 1"), "{picture}");
    }

    #[test]
    fn a_run_in_which_nothing_happened_can_be_drawn() {
        assert!(to_string(&RunTimeline::default()).is_ok());
    }
}
