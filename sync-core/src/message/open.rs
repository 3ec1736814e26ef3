//! The frame with which both ends begin a connection at once: a root and a pull in one.

use crate::causal::CausalContext;
use crate::codec::{Reader, Writer};
use crate::dictionary::Names;
use crate::error::FrameError;
use crate::id::StateHalf;
use crate::time::WallMillis;

/// Opens a round and asks for what the sender lacks, of one snapshot. From version 2 on.
///
/// Who finds another state answers as it would answer a pull for this context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Half of the hash over namespace, horizon, context and root.
    pub state: StateHalf,
    /// The sender's log head at that state.
    pub head: u64,
    /// Its horizon.
    pub horizon: WallMillis,
    /// True if the sender has no push cursor for the receiver, who must acknowledge if the states are equal.
    pub behind: bool,
    /// True if the sender has chosen the receiver as a neighbour in the overlay.
    pub neighbour: bool,
    /// All that the sender knows.
    pub context: CausalContext,
}

pub(super) fn write_open(open: &Open, names: &Names, out: &mut Writer) {
    out.fixed(&open.state.0);
    out.varint(open.head);
    out.varint(open.horizon.0);
    out.byte(u8::from(open.behind) | u8::from(open.neighbour) << 1);
    super::write_known(&open.context, names, out);
}

pub(super) fn read_open(
    input: &mut Reader<'_>,
    names: impl FnOnce(&mut Reader<'_>) -> Result<Names, FrameError>,
) -> Result<Open, FrameError> {
    let state = StateHalf(input.fixed("state id")?);
    let head = input.varint_max("head", super::POSITION_MAX)?;
    let horizon = WallMillis(input.varint("horizon")?);
    let flags = super::read_flags("open flags", 3, input)?;
    let [behind, neighbour] = [1, 2].map(|bit| flags & bit == bit);
    Ok(Open { state, head, horizon, behind, neighbour, context: super::read_known(names, input)? })
}
