//! Sizes in pixels and colours of the picture.

use plotters::style::RGBColor;

pub(super) const WIDTH: u32 = 1200;
pub(super) const HEADLINE: u32 = 72;
pub(super) const LEFT: i32 = 16;
pub(super) const RIGHT: i32 = 24;
/// Room for the labels left of every panel.
pub(super) const LABEL_WIDTH: i32 = 76;
/// Height of a panel with a curve.
pub(super) const PLOT_HEIGHT: u32 = 122;
/// Room for the time axis below the last panel.
pub(super) const AXIS: u32 = 44;
/// Room for the legend below the lanes.
pub(super) const LEGEND: u32 = 30;
/// Room above the lanes for the names of cuts.
pub(super) const CUT_NAMES: u32 = 20;

pub(super) const TEXT: RGBColor = RGBColor(34, 34, 34);
pub(super) const MUTED: RGBColor = RGBColor(110, 110, 110);
pub(super) const GRID: RGBColor = RGBColor(228, 228, 228);
pub(super) const CUT: RGBColor = RGBColor(214, 69, 65);
pub(super) const HEALED: RGBColor = RGBColor(120, 120, 120);
pub(super) const AGREED: RGBColor = RGBColor(46, 139, 87);
/// A lane while its node is up and on no side of a cut.
pub(super) const UP: RGBColor = RGBColor(176, 190, 205);
/// A lane while its node is up, by the side of the cut that it is on.
pub(super) const SIDES: [RGBColor; 4] =
    [RGBColor(76, 120, 168), RGBColor(238, 151, 67), RGBColor(128, 100, 162), RGBColor(88, 160, 140)];
pub(super) const PAUSED: RGBColor = RGBColor(240, 215, 110);
pub(super) const WRITE: RGBColor = RGBColor(40, 40, 40);
pub(super) const ROOTS: RGBColor = RGBColor(178, 58, 72);
pub(super) const KEYS: RGBColor = RGBColor(128, 100, 162);
pub(super) const BYTES: RGBColor = RGBColor(76, 120, 168);
/// Frames that wait.
pub(super) const QUEUED: RGBColor = RGBColor(148, 103, 189);
