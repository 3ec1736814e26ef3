//! What a watcher holds that has read every event: the readings of all that it watches.

use std::collections::BTreeMap;

use sync_core::types::reading::{Place, Reading};

use super::{Change, Entry, WatchEvent};

/// A copy of what is watched, kept up to date by the events of one watch that began with a snapshot.
///
/// ```
/// # use sync_net::{ClusterCa, Mirror, Node, Policy, Start};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let identity = ClusterCa::create("example")?.issue("node-1")?;
/// # let node = Node::builder().identity(identity).start().await?;
/// node.pn_counter("stock/tea").add(7)?;
/// let (mut watch, mut mirror) = (node.watch_from("stock/", Start::Snapshot, Policy::Steps), Mirror::default());
/// mirror.apply(&watch.next().await.expect("the node runs"));
/// assert_eq!(mirror.len(), 1);
/// # Ok(()) })
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirror {
    readings: BTreeMap<Place, Reading>,
}

impl Mirror {
    /// Takes up `event`.
    pub fn apply(&mut self, event: &WatchEvent) {
        match event {
            WatchEvent::Snapshot { scope, entries } => {
                self.readings.retain(|place, _| !scope.contains(place));
                for Entry { place, reading } in entries {
                    self.readings.insert(place.clone(), reading.clone());
                }
            }
            WatchEvent::Batch { changes } => changes.iter().for_each(|change| self.change(change)),
            WatchEvent::Lagged => {}
        }
    }

    fn change(&mut self, Change { place, new, .. }: &Change) {
        if new.is_absent() {
            self.readings.remove(place);
        } else {
            self.readings.insert(place.clone(), new.clone());
        }
    }

    /// What is read at `place`.
    pub fn get(&self, place: &Place) -> &Reading {
        self.readings.get(place).unwrap_or(&Reading::Absent)
    }

    /// Everything, ascending by place.
    pub fn iter(&self) -> impl Iterator<Item = (&Place, &Reading)> {
        self.readings.iter()
    }

    /// Number of places with something to read.
    pub fn len(&self) -> usize {
        self.readings.len()
    }

    /// True if nothing is there.
    pub fn is_empty(&self) -> bool {
        self.readings.is_empty()
    }
}
