//! The horizon moves only when it kills: it never goes back in a life, and it is a time at which something that
//! was written expires, or none at all.
//!
//! That what expires up to it is dead, and nothing else, is compared where reads are
//! ([`crate::oracle::Model`] is told the horizon); that it never runs ahead of right clocks, in the world, which
//! alone knows the time.

use std::collections::BTreeMap;

use super::{Checker, Origin, Step, Violation};

const NAME: &str = "the horizon moves only when it kills";

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Horizon {
    /// Of each node, where its horizon stood.
    stood: BTreeMap<usize, u64>,
}

impl Checker for Horizon {
    fn name(&self) -> &'static str {
        NAME
    }

    fn started(&mut self, step: &mut Step<'_>, _origin: Origin) -> Result<(), Violation> {
        self.stood.remove(&step.node);
        Ok(())
    }

    fn changed(&mut self, step: &mut Step<'_>) -> Result<(), Violation> {
        let now = step.store().horizon().0;
        let before = self.stood.insert(step.node, now).unwrap_or(0);
        if now < before {
            return step.violation(NAME, format!("it went back from {before} to {now}"));
        }
        if now != 0 && !step.history.expires_at(now) {
            return step
                .violation(NAME, format!("it stands at {now}, when nothing that was written expires"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::bench::Bench;
    use sync_core::time::WallMillis;
    use sync_core::types::or_set;

    #[test]
    fn a_horizon_at_a_time_that_no_write_names_is_caught() {
        let mut bench = Bench::new(Horizon::default());
        bench.add("s", "x").expect("nothing expires");
        bench.unrecorded(|group| group.expiring(WallMillis(7), |group| or_set::add(group, "s", b"y")));
        bench.look().expect("it has not moved yet");
        let now = sync_core::time::Now { wall: WallMillis(90_000), ..Default::default() };
        let later = sync_core::time::Timestamp::from_micros(90_000_000);
        bench.node.handle(sync_core::time::Now { mono: later, ..now }, sync_core::node::Input::Wake);
        assert_eq!(bench.store().horizon(), WallMillis(7));
        assert!(bench.look().is_err(), "of the write that names this time nothing was recorded");
    }
}
