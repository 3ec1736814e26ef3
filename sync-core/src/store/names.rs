//! Replicas by number: 3 bytes in an item instead of 16.
//!
//! A number belongs to a replica while a dot of it is live; then another replica may take it. Numbers stay inside one
//! store: they depend on the order in which replicas came, so nothing that leaves the store may show one.

use crate::id::{Dot, ReplicaId};

/// A replica's number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct ReplicaIx(pub(super) u32);

/// Most replicas with live dots: their numbers have 24 bits. A join beyond is refused.
pub(super) const REPLICAS_MAX: usize = 1 << 24;

/// Bits of a sequence less one, which is below [`Dot::SEQ_MAX`].
const SEQ_BITS: u32 = 40;

/// A dot in eight bytes: the replica's number above its sequence less one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Packed(u64);

impl Packed {
    #[inline]
    pub(super) fn new(replica: ReplicaIx, seq: u64) -> Self {
        debug_assert!((1..=Dot::SEQ_MAX).contains(&seq), "a fragment with another sequence is refused");
        Self(u64::from(replica.0) << SEQ_BITS | (seq - 1))
    }

    #[inline]
    pub(super) fn replica(self) -> ReplicaIx {
        ReplicaIx(u32::try_from(self.0 >> SEQ_BITS).expect("24 bits are left"))
    }

    #[inline]
    pub(super) fn seq(self) -> u64 {
        (self.0 & ((1 << SEQ_BITS) - 1)) + 1
    }
}

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    ids: Vec<ReplicaId>,
    /// The numbers, ascending by their ids.
    sorted: Vec<ReplicaIx>,
    /// Who was looked for last when something was written: mostly that is the next one too.
    recent: u32,
}

impl Names {
    #[inline]
    pub(super) fn id(&self, ix: ReplicaIx) -> ReplicaId {
        self.ids[ix.0 as usize]
    }

    /// How many numbers there are, of replicas without live dots too.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The numbers, ascending by their ids.
    pub(super) fn sorted(&self) -> impl Iterator<Item = ReplicaIx> + '_ {
        self.sorted.iter().copied()
    }

    /// The number of `id` if it was looked for last.
    #[inline]
    pub(super) fn recent(&self, id: ReplicaId) -> Option<ReplicaIx> {
        (self.ids.get(self.recent as usize) == Some(&id)).then_some(ReplicaIx(self.recent))
    }

    #[inline]
    pub(super) fn find(&self, id: ReplicaId) -> Option<ReplicaIx> {
        self.recent(id).or_else(|| self.place(id).ok().map(|at| self.sorted[at]))
    }

    /// As [`Self::find`], and remembers who was looked for.
    #[inline]
    pub(super) fn find_again(&mut self, id: ReplicaId) -> Option<ReplicaIx> {
        let found = self.find(id);
        self.recent = found.map_or(self.recent, |ix| ix.0);
        found
    }

    fn place(&self, id: ReplicaId) -> Result<usize, usize> {
        self.sorted.binary_search_by(|ix| self.ids[ix.0 as usize].cmp(&id))
    }

    /// The number of `id`; a new one, or the one that `unused` gives, if it has none.
    #[inline]
    pub(super) fn intern(&mut self, id: ReplicaId, unused: impl FnOnce() -> Option<ReplicaIx>) -> ReplicaIx {
        let ix = self.find(id).unwrap_or_else(|| self.add(id, unused()));
        self.recent = ix.0;
        ix
    }

    fn add(&mut self, id: ReplicaId, unused: Option<ReplicaIx>) -> ReplicaIx {
        let ix = match unused {
            Some(ix) => {
                let at = self.place(self.id(ix)).expect("every number stands in order");
                self.sorted.remove(at);
                self.ids[ix.0 as usize] = id;
                ix
            }
            None => {
                assert!(self.ids.len() < REPLICAS_MAX, "a join of more replicas is refused");
                self.ids.push(id);
                ReplicaIx(u32::try_from(self.ids.len() - 1).expect("it is below 24 bits"))
            }
        };
        let at = self.place(id).unwrap_or_else(|at| at);
        self.sorted.insert(at, ix);
        ix
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_comes_back_from_eight_bytes_at_every_edge() {
        for replica in [0, 1, 0x00ff_ffff] {
            for seq in [1, 2, Dot::SEQ_MAX - 1, Dot::SEQ_MAX] {
                let packed = Packed::new(ReplicaIx(replica), seq);
                assert_eq!((packed.replica(), packed.seq()), (ReplicaIx(replica), seq));
            }
        }
    }

    #[test]
    fn a_number_is_given_again_and_the_order_is_that_of_the_ids() {
        let mut names = Names::default();
        let id = |byte: u8| ReplicaId([byte; 16]);
        for byte in [7, 3, 9] {
            names.intern(id(byte), || None);
        }
        let three = names.find(id(3)).unwrap();
        assert_eq!(names.intern(id(8), || Some(three)), three);
        assert_eq!(names.find(id(3)), None);
        assert!(names.sorted().map(|ix| names.id(ix)).eq([id(7), id(8), id(9)]));
    }
}
