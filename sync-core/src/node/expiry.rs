//! When writes expire: what a node makes of its wall clock and its members', and the raising of horizons.
//!
//! The horizon moves only when that kills something, to the largest `expires` of a live item that is at or before
//! `floor((t - grace) / step) * step`, where `t` is the lesser of the own clock and the median of the own clock
//! and those that connected members told in the last [`Timing::clock_window`] (DESIGN section 4, expiry). Of two middle
//! readings the earlier one counts: a write that lives on for a while is the smaller harm. While there is no such
//! reading, the last median goes on by the monotonic clock: else a node that is cut off would follow its own clock, set ahead by
//! less than a jump, alone.
//!
//! A clock is not trusted just after a start, and not after it was set by more than [`Timing::drift_max`] against
//! the monotonic one: nothing expires by it until it agrees with the members' median. A node that has met nobody
//! yet waits for [`Timing::clock_wait`] and then takes its clock for right, since there is no other.
//!
//! What is dead is never a clock's word, so that nothing here can make two equal states read differently. What a
//! wrong clock can do is to raise a horizon too early. Then members refuse it, and this node notices once its
//! clock is right: see [`Event::HorizonAhead`].

use std::collections::BTreeSet;

use super::peer::Peer;
use super::{Cause, Event, Node};
use crate::id::NamespaceId;
use crate::limits::Timing;
use crate::mutant::{self, Mutant};
use crate::store::Store;
use crate::time::{Now, Span, Timestamp, WallMillis};

/// What a node thinks of its wall clock.
#[derive(Clone, Debug)]
pub(super) struct WallClock {
    trust: Trust,
    /// Wall minus monotonic milliseconds: another value by more than the drift is a jump.
    offset_ms: i64,
    /// The earlier median less monotonic milliseconds, when members were last heard.
    median_ms: Option<i64>,
    /// The alarm was raised, and the clocks have not agreed since.
    off: bool,
    /// When the clocks are looked at next; `None` if nothing waits for it.
    look_at: Option<Timestamp>,
    /// When the first write expires, as of the last look.
    first: Option<WallMillis>,
    /// Namespaces whose horizon is ahead of every clock. At most one entry an open namespace.
    behind: BTreeSet<NamespaceId>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trust {
    /// It agrees with the members' median, or there was nobody to ask for long enough.
    Given,
    /// Nobody was asked yet; given by then if nobody answers.
    Pending { until: Timestamp },
    /// It was set: only the members' median can say that it is right.
    Lost,
}

impl WallClock {
    pub(super) fn started(now: Now) -> Self {
        Self {
            trust: Trust::Pending { until: now.mono },
            offset_ms: offset_ms(now),
            median_ms: None,
            off: false,
            look_at: None,
            first: None,
            behind: BTreeSet::new(),
        }
    }

    /// True while the own clock is off by more than the drift, as far as members were heard.
    pub(super) fn is_off(&self) -> bool {
        self.off
    }

    pub(super) fn is_behind_horizon(&self, namespace: NamespaceId) -> bool {
        self.behind.contains(&namespace)
    }
}

fn offset_ms(now: Now) -> i64 {
    now.wall.0.cast_signed().wrapping_sub(mono_ms(now))
}

fn mono_ms(now: Now) -> i64 {
    (now.mono.as_micros() / 1_000).cast_signed()
}

/// What the clocks of connected members say now, ascending; see [`Node::members_clocks`].
struct Readings(Vec<u64>);

impl Readings {
    /// True if `own` is within `drift_ms` of the median, of either if there are two.
    fn agree(&self, own: u64, drift_ms: u64) -> bool {
        let near = |at: usize| self.0.get(at).is_some_and(|reading| reading.abs_diff(own) <= drift_ms);
        !self.0.is_empty() && (near((self.0.len() - 1) / 2) || near(self.0.len() / 2))
    }

    /// The earlier and the later median, `own` among the readings.
    fn medians(&self, own: u64) -> (u64, u64) {
        let mut all = self.0.clone();
        let at = all.partition_point(|reading| *reading < own);
        all.insert(at, own);
        (all[(all.len() - 1) / 2], all[all.len() / 2])
    }
}

impl Node {
    /// The clocks of connected members that were told within the window, each as it must be by now.
    ///
    /// A member that is gone no longer counts: it may be back under another name on the same machine, and one
    /// wrong clock would be two readings of three.
    fn members_clocks(&self, now: Now) -> Readings {
        let connected = self.fresh_clocks(now).filter(|(peer, _)| peer.connected);
        let mut readings: Vec<u64> =
            connected.map(|(_, (at, wall))| wall.0.saturating_add(now.mono.since(at).as_millis())).collect();
        readings.sort_unstable();
        Readings(readings)
    }

    /// What members, gone ones as well, told within the window.
    fn fresh_clocks(&self, now: Now) -> impl Iterator<Item = (&Peer, (Timestamp, WallMillis))> {
        let window = self.config.timing.clock_window;
        let told = self.peers.values().filter_map(|peer| Some((peer, peer.clock?)));
        told.filter(move |(_, (at, _))| *at + window >= now.mono)
    }

    /// True if a store has, or had, something that expires. Else no clock matters to any.
    fn expiry_matters(&self) -> bool {
        let matters = |store: &Store| store.horizon().0 > 0 || store.expires_first().is_some();
        self.spaces.values().any(|space| matters(&space.store))
    }

    fn expires_first(&self) -> Option<WallMillis> {
        self.spaces.values().filter_map(|space| space.store.expires_first()).min()
    }

    pub(super) fn expiry_deadline(&self) -> Option<Timestamp> {
        self.wall_clock.look_at
    }

    /// A member has told its clock: raises the alarm if this one is off by more than the drift.
    pub(super) fn clock_heard(&mut self, now: Now) {
        let members = self.members_clocks(now);
        let agree = members.agree(now.wall.0, self.config.timing.drift_max.as_millis());
        let told = std::mem::replace(&mut self.wall_clock.off, !agree);
        if !agree && !told {
            let median = members.0[(members.0.len() - 1) / 2];
            let ahead_ms = i64::try_from(i128::from(now.wall.0) - i128::from(median));
            let ahead_ms = ahead_ms.unwrap_or(if now.wall.0 > median { i64::MAX } else { i64::MIN });
            self.event(Event::ClockOff { ahead_ms, members: members.0.len() });
        }
        // Now, since whoever was heard may be gone when something first expires.
        self.weigh_trust(now, &members);
        let (earlier, _) = members.medians(now.wall.0);
        self.last_median(now, &members, earlier);
        if self.expiry_matters() {
            self.wall_clock.look_at = Some(now.mono);
        }
    }

    /// What decides when something expires, as numbers that do not depend on when the run began; none if nothing
    /// does.
    pub(super) fn expiry_key(&self, now: Now, number: &mut impl FnMut(u64)) {
        if !self.expiry_matters() {
            return;
        }
        let since = |at: Timestamp| at.since(now.mono).as_micros();
        let trust = match self.wall_clock.trust {
            Trust::Given => 0,
            Trust::Lost => 1,
            Trust::Pending { until } => 2 + since(until),
        };
        number(trust);
        number(now.wall.0);
        number(self.wall_clock.look_at.map_or(u64::MAX, since));
        number(offset_ms(now).wrapping_sub(self.wall_clock.offset_ms).cast_unsigned());
        number(
            self.wall_clock.median_ms.map_or(0, |median| median.wrapping_sub(offset_ms(now)).cast_unsigned()),
        );
        self.wall_clock
            .behind
            .iter()
            .flat_map(|namespace| namespace.0)
            .for_each(|byte| number(u64::from(byte)));
        self.members_clocks(now).0.into_iter().for_each(number);
    }

    /// Notices jumps, and looks at the clocks if it is time to, or if something expires that was not known before.
    pub(super) fn wake_expiry(&mut self, now: Now) {
        let by_ms = offset_ms(now).wrapping_sub(self.wall_clock.offset_ms);
        if by_ms.unsigned_abs() > self.config.timing.drift_max.as_millis() {
            self.jumped(now, by_ms);
        }
        let first = self.expires_first();
        let due = self.wall_clock.look_at.is_some_and(|at| at <= now.mono);
        if due || first != self.wall_clock.first {
            self.look_at_clocks(now);
        }
    }

    fn jumped(&mut self, now: Now, by_ms: i64) {
        let met_nobody = self.peers.values().all(|peer| peer.clock.is_none());
        self.wall_clock.offset_ms = offset_ms(now);
        self.wall_clock.trust = if met_nobody { Trust::Pending { until: now.mono } } else { Trust::Lost };
        self.event(Event::ClockJumped { by_ms });
        if self.expiry_matters() {
            self.wall_clock.look_at = Some(now.mono);
        }
    }

    fn look_at_clocks(&mut self, now: Now) {
        let timing = self.config.timing;
        let drift_ms = timing.drift_max.as_millis();
        let members = self.members_clocks(now);
        self.weigh_trust(now, &members);
        let (earlier, later) = members.medians(now.wall.0);
        let median = self.last_median(now, &members, earlier);
        let t = if mutant::is(Mutant::MedianIgnored) { now.wall.0 } else { median.min(now.wall.0) };
        let trusted = self.wall_clock.trust == Trust::Given;
        if trusted {
            self.raise_horizons(now, due_until(t, &timing));
        }
        let mut behind = BTreeSet::new();
        if trusted || !members.0.is_empty() {
            let ahead = |store: &Store| store.horizon().0.saturating_sub(later);
            let spaces = self.spaces.iter().map(|(namespace, space)| (*namespace, ahead(&space.store)));
            let ahead: Vec<_> = spaces.filter(|(_, ahead_ms)| *ahead_ms > drift_ms).collect();
            for (namespace, ahead_ms) in ahead {
                behind.insert(namespace);
                if !self.wall_clock.behind.contains(&namespace) {
                    self.event(Event::HorizonAhead { namespace, ahead_ms });
                }
            }
        }
        self.fill_due |= behind != self.wall_clock.behind;
        self.wall_clock.behind = behind;
        self.wall_clock.first = self.expires_first();
        self.wall_clock.look_at = self.next_look(now, t);
    }

    /// The median `earlier` of those that were heard, or what the one before has become since.
    fn last_median(&mut self, now: Now, members: &Readings, earlier: u64) -> u64 {
        if members.0.is_empty() {
            let went_on = |median_ms: i64| median_ms.wrapping_add(mono_ms(now)).cast_unsigned();
            return self.wall_clock.median_ms.map_or(earlier, went_on);
        }
        self.wall_clock.median_ms = Some(earlier.cast_signed().wrapping_sub(mono_ms(now)));
        earlier
    }

    /// The members' median gives trust; so does silence, to a clock that nobody was asked about.
    fn weigh_trust(&mut self, now: Now, members: &Readings) {
        let Timing { drift_max, clock_wait, .. } = self.config.timing;
        let agree = members.agree(now.wall.0, drift_max.as_millis());
        let given = match self.wall_clock.trust {
            Trust::Given => return,
            Trust::Pending { until } => {
                let is_silent = self.fresh_clocks(now).next().is_none();
                agree || (is_silent && until + clock_wait <= now.mono)
            }
            Trust::Lost => agree,
        };
        if given {
            (self.wall_clock.trust, self.wall_clock.offset_ms) = (Trust::Given, offset_ms(now));
        }
    }

    fn raise_horizons(&mut self, now: Now, until: WallMillis) {
        let until = if mutant::is(Mutant::ExpiredByLocalClock) { now.wall } else { until };
        for namespace in self.namespaces().collect::<Vec<_>>() {
            let store = &mut self.spaces.get_mut(&namespace).expect("its name was just taken").store;
            let before = store.horizon();
            let ended = store.expire(until);
            if ended > 0 || store.horizon() != before {
                self.step_on();
                self.changed(namespace, Cause::Expired, std::iter::empty());
            }
        }
    }

    /// When looking again may find something else. A clock that stands is asked now and then.
    fn next_look(&self, now: Now, t: u64) -> Option<Timestamp> {
        let Timing { expiry_step, clock_window, clock_wait, drift_max, .. } = self.config.timing;
        let most = Span::from_micros(clock_window.as_micros() / 2);
        let least = Span::from_micros(expiry_step.as_micros() / 8 + 1_000);
        let wait = |ms: u64| now.mono + Span::from_millis(ms).clamp(least.min(most), most);
        let expiry = match self.wall_clock.trust {
            Trust::Given => self.wall_clock.first.map(|first| {
                // Rounded up, so that the last millisecond of it is over.
                wait(due_at(first, &self.config.timing).saturating_sub(t).saturating_add(1))
            }),
            Trust::Pending { until } => self.expiry_matters().then(|| {
                match (until + clock_wait).since(now.mono).as_millis() {
                    // Members disagree: their readings are looked at as they come, and when they no longer count.
                    0 => now.mono + most,
                    ms => wait(ms + 1),
                }
            }),
            // The next reading of a member is looked at as it comes.
            Trust::Lost => None,
        };
        let behind = self.wall_clock.behind.iter().map(|namespace| {
            let horizon = self.spaces[namespace].store.horizon().0;
            wait(horizon.saturating_sub(t).saturating_sub(drift_max.as_millis()))
        });
        expiry.into_iter().chain(behind).min()
    }
}

fn step_ms(timing: &Timing) -> u64 {
    timing.expiry_step.as_millis().max(1)
}

/// What expires up to here is due when `t` is the time.
fn due_until(t: u64, timing: &Timing) -> WallMillis {
    let step = step_ms(timing);
    WallMillis(t.saturating_sub(timing.expiry_grace.as_millis()) / step * step)
}

/// The first time at which what expires at `expires` is due.
fn due_at(expires: WallMillis, timing: &Timing) -> u64 {
    let step = step_ms(timing);
    expires.0.div_ceil(step).saturating_mul(step).saturating_add(timing.expiry_grace.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_at_a_time_is_due_from_that_time_on_and_not_before() {
        let timing = Timing::default();
        for expires in [1, 999, 1_000, 1_001, 1_700_000_000_000, 1_700_000_000_001] {
            let due = due_at(WallMillis(expires), &timing);
            assert!(due_until(due, &timing).0 >= expires);
            assert!(due_until(due - 1, &timing).0 < expires, "{expires}");
            assert!((2_000..3_000).contains(&(due - expires)), "grace, and less than a step");
        }
    }

    #[test]
    fn one_wrong_clock_of_three_moves_neither_median_by_more_than_the_others_differ() {
        for wrong in [0, u64::MAX] {
            let mut members = vec![wrong, 1_010];
            members.sort_unstable();
            let (earlier, later) = Readings(members.clone()).medians(1_000);
            assert_eq!(earlier, later);
            assert!((1_000..=1_010).contains(&earlier));
            assert!(Readings(members).agree(1_000, 60), "one of the two middle ones agrees");
        }
        assert_eq!(Readings(vec![500]).medians(1_000), (500, 1_000));
        assert!(!Readings(Vec::new()).agree(1_000, 60), "nobody agrees with nobody");
    }
}
