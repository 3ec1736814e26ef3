//! The frames that ask what a repair would carry, without one: `Survey` and `Quote`.
//!
//! Neither moves a cursor or an event. They speak of contexts as every frame of version 2 does, and
//! version 1 has none of them.

use crate::causal::CausalContext;
use crate::codec::{Reader, Writer};
use crate::dictionary::Names;
use crate::error::FrameError;
use crate::merkle::Fingerprint;
use crate::store::Load;
use crate::time::WallMillis;

/// Asks what an answer to a pull would carry now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Tells this survey from others of the sender; comes back in the quote.
    pub number: u64,
    /// True if the load is to be counted; else only context and root are asked for.
    pub counts: bool,
    /// All that the sender knows.
    pub context: CausalContext,
}

/// Answers a survey, of one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Of the survey.
    pub number: u64,
    /// The sender's Merkle root.
    pub root: Fingerprint,
    /// Its horizon.
    pub horizon: WallMillis,
    /// Nodes that the sender is linked with, the receiver among them.
    pub links: u64,
    /// What the sender's answer would carry; `None` if it was not asked to count.
    pub load: Option<Load>,
    /// All that the sender knows.
    pub context: CausalContext,
}

pub(super) fn write_survey(survey: &Survey, names: &Names, out: &mut Writer) {
    out.varint(survey.number);
    out.byte(u8::from(survey.counts));
    super::write_known(&survey.context, names, out);
}

pub(super) fn read_survey(
    input: &mut Reader<'_>,
    names: impl FnOnce(&mut Reader<'_>) -> Result<Names, FrameError>,
) -> Result<Survey, FrameError> {
    let number = input.varint("survey")?;
    let counts = super::read_flags("counts", 1, input)? == 1;
    Ok(Survey { number, counts, context: super::read_known(names, input)? })
}

pub(super) fn write_quote(quote: &Quote, names: &Names, out: &mut Writer) {
    out.varint(quote.number);
    out.fixed(&quote.root.0);
    out.varint(quote.horizon.0);
    out.varint(quote.links);
    match quote.load {
        None => out.byte(0),
        Some(Load { events, objects, items, bytes, is_partial }) => {
            out.byte(1 + u8::from(is_partial));
            [events, objects, items, bytes].into_iter().for_each(|figure| out.varint(figure));
        }
    }
    super::write_known(&quote.context, names, out);
}

pub(super) fn read_quote(
    input: &mut Reader<'_>,
    names: impl FnOnce(&mut Reader<'_>) -> Result<Names, FrameError>,
) -> Result<Quote, FrameError> {
    let number = input.varint("survey")?;
    let root = Fingerprint(input.fixed("root")?);
    let horizon = WallMillis(input.varint("horizon")?);
    let links = input.varint("links")?;
    let load = match super::read_flags("load", 2, input)? {
        0 => None,
        flag => Some(Load {
            events: input.varint("events")?,
            objects: input.varint("objects")?,
            items: input.varint("items")?,
            bytes: input.varint("bytes")?,
            is_partial: flag == 2,
        }),
    };
    Ok(Quote { number, root, horizon, links, load, context: super::read_known(names, input)? })
}
