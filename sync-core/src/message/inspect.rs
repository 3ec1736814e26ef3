//! The frames that heal: `Inspect` and `Inspected`, who holds what at some addresses.

use crate::causal::DotSet;
use crate::codec::{Reader, Writer};
use crate::dictionary::BaseId;
use crate::error::FrameError;
use crate::fragment::Fragment;
use crate::merkle::Address;
use crate::time::WallMillis;

/// Most addresses that one frame inspects; more differences are healed in further rounds.
pub const INSPECTED_MAX: usize = 1_024;

/// Asks what is held at some addresses, when two replicas that know the same events hold different state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspect {
    /// Names what the asker knows.
    pub context: BaseId,
    /// The asker's horizon.
    pub horizon: WallMillis,
    /// The addresses, ascending; at most [`INSPECTED_MAX`].
    pub addresses: Vec<Address>,
    /// The asker's cells there, each with its live dots.
    pub fragment: Fragment,
}

/// What is held at some addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// True if the sender knows exactly what the asker knew.
    pub same: bool,
    /// How many of the addresses, from the first on, the frame had room for.
    pub covered: u64,
    /// Of the asker's live dots, those that a record of the sender proves dead.
    pub killed: DotSet,
    /// All live items there.
    pub fragment: Fragment,
}

pub(super) fn write_inspect(inspect: &Inspect, out: &mut Writer) {
    out.fixed(&inspect.context.0);
    out.varint(inspect.horizon.0);
    out.count(inspect.addresses.len());
    inspect.addresses.iter().for_each(|address| out.fixed(&address.0));
}

/// All but the fragment.
pub(super) fn read_inspect(input: &mut Reader<'_>) -> Result<Inspect, FrameError> {
    let context = BaseId(input.fixed("context")?);
    let horizon = WallMillis(input.varint("horizon")?);
    let count = input.count("addresses", 16)?;
    if count > INSPECTED_MAX {
        return Err(FrameError::Count { field: "addresses", count: count as u64, max: INSPECTED_MAX as u64 });
    }
    input.charge("addresses", count, size_of::<Address>())?;
    let mut addresses: Vec<Address> = Vec::with_capacity(count);
    for _ in 0..count {
        let address = Address(input.fixed("addresses")?);
        if addresses.last().is_some_and(|last| *last >= address) {
            return Err(FrameError::Order { field: "addresses" });
        }
        addresses.push(address);
    }
    Ok(Inspect { context, horizon, addresses, fragment: Fragment::default() })
}
