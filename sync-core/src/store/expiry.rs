//! Expiry: writes that die by themselves, all of them at one value of the horizon.
//!
//! When an item expires is part of it and never changes; *that* it has expired is the horizon's word and no
//! clock's. The horizon `H` is a max register beside the context: every fragment carries it, the state id holds
//! it, and what expires at or before it is dead wherever it is equal (DESIGN section 4, expiry; expiry by the
//! local clock is refuted: equal contexts, different state). So it moves only when that kills something, to a
//! time that an item names: a store in which nothing expires never compares anything with a clock.

use super::{Group, Store};
use crate::cell::{ObjectId, TypeTag};
use crate::error::WriteError;
use crate::id::{Dot, ReplicaId};
use crate::mutant::{self, Mutant};
use crate::nested;
use crate::time::{Span, WallMillis};

/// Above every dot that can be minted.
const LAST: Dot = Dot { replica: ReplicaId([0xff; 16]), seq: u64::MAX };

impl Store {
    /// When the first of the live items that expire does so; `None` if none expires. Costs a look at an index.
    pub fn expires_first(&self) -> Option<WallMillis> {
        self.expiring.first().map(|(expires, _)| *expires)
    }

    /// Live items that expire.
    pub fn expiring_count(&self) -> u64 {
        self.expiring.len() as u64
    }

    /// Raises the horizon to the last time at or before `until` at which a live item expires, and ends what
    /// expires up to it; gives back how many items that were. The horizon stays if nothing expires by then.
    ///
    /// No entry of the log tells of it: every fragment carries the horizon, and other replicas raise their own.
    pub fn expire(&mut self, until: WallMillis) -> usize {
        let Some((last, _)) = self.expiring.range(..=(until, LAST)).next_back().copied() else {
            if mutant::is(Mutant::HorizonMovesAlone) {
                self.horizon = self.horizon.max(until);
            }
            return 0;
        };
        let dead: Vec<Dot> = self.expired(last).collect();
        for dot in &dead {
            let (ix, _) = self.end(*dot).expect("the index of what expires holds live dots only");
            self.note_expired(ix);
        }
        self.drop_hollow();
        if !mutant::is(Mutant::ExpiredByLocalClock) {
            self.horizon = last;
        }
        dead.len()
    }
}

impl Group<'_> {
    /// Sets the clock with which expiry times are compared; without it, it is that of [`Self::hlc`].
    #[must_use]
    pub fn at_wall(mut self, wall: WallMillis) -> Self {
        self.wall = wall;
        self
    }

    /// The later of the clock and the horizon: what expires later than this is not dead yet.
    pub fn expiry_clock(&self) -> WallMillis {
        self.wall.max(self.store().horizon())
    }

    /// What `fill` writes expires at `expires`; what it removes stays removed. Removals and turning off, marks of
    /// removed elements too, never expire. Of two such times, one inside the other, the inner one counts.
    ///
    /// Any type takes it whose [`TypeTag::never_expires`] is false. A write replaces what it saw, whatever that
    /// expired at: who sets a register for a minute leaves nothing after that minute.
    ///
    /// ```
    /// use sync_core::time::WallMillis;
    /// use sync_core::types::or_set;
    /// # use sync_core::{cell::Hlc, error::WriteError, id::*, limits::Limits, store::Store};
    /// # let mut store = Store::new(NamespaceId::named("default"), Limits::default());
    /// # let (replica, owner) = (ReplicaId([1; 16]), OwnerId([1; 16]));
    /// let mut group = store.group(replica, owner, 1, Hlc(1)).at_wall(WallMillis(1_000));
    /// group.expiring(WallMillis(5_000), |group| or_set::add(group, "online", b"ada"))?;
    /// or_set::add(&mut group, "online", b"bob")?;
    /// group.commit();
    /// store.expire(WallMillis(9_999));
    /// assert_eq!(store.horizon(), WallMillis(5_000), "the time that the item named");
    /// assert!(or_set::elements(&store, "online").eq([b"bob"]));
    /// # Ok::<(), WriteError>(())
    /// ```
    ///
    /// # Errors
    /// [`WriteError::AlreadyExpired`] if `expires` is not after [`Self::expiry_clock`]; and what `fill` returns.
    pub fn expiring<T, E: From<WriteError>>(
        &mut self,
        expires: WallMillis,
        fill: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let clock = self.expiry_clock();
        if expires <= clock {
            let (expires_ms, now_ms) = (expires.0, clock.0);
            return Err(WriteError::AlreadyExpired { expires_ms, now_ms }.into());
        }
        let outer = std::mem::replace(&mut self.expires, expires);
        let filled = fill(self);
        self.expires = outer;
        filled
    }

    /// As [`Self::expiring`], `after` from [`Self::expiry_clock`] on, in whole milliseconds.
    ///
    /// # Errors
    /// As [`Self::expiring`]: an `after` below a millisecond has passed.
    pub fn expiring_after<T, E: From<WriteError>>(
        &mut self,
        after: Span,
        fill: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let expires = self.expiry_clock().0.saturating_add(after.as_millis());
        self.expiring(WallMillis(expires), fill)
    }

    /// What `fill` writes stays, whatever is said outside.
    pub(crate) fn lasting<T>(&mut self, fill: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::take(&mut self.expires);
        let filled = fill(self);
        self.expires = outer;
        filled
    }

    /// When what is written now expires; 0 for never.
    pub fn expires(&self) -> WallMillis {
        self.expires
    }

    /// When a write to the cell of `object` at `path` expires. A counter's floors are part of a removal, and stay.
    pub(super) fn expires_in_cell(&self, object: &ObjectId, path: &[u8]) -> Result<WallMillis, WriteError> {
        if self.expires.0 == 0 {
            return Ok(self.expires);
        }
        let nested = if object.ty == TypeTag::OR_MAP { nested::parse(path) } else { None };
        let (ty, path) = nested.map_or((object.ty, path), |leaf| (leaf.ty, leaf.rest));
        if !ty.never_expires() {
            return Ok(self.expires);
        }
        if ty.is_presence(path) { Err(WriteError::NeverExpires { ty }) } else { Ok(WallMillis::default()) }
    }
}
