//! Damage in the abstract execution: what of a state was damaged, and what nobody can then be asked to show.
//!
//! The rule T8 (DESIGN section 3) promises that damage is found, named and healed. It does not undo what was
//! done meanwhile in good faith, so the oracle follows four rules, and is exact but for them:
//!
//! 1. While damage is *open* at a node, what that node holds of the damaged dot is not judged there.
//! 2. An operation whose origin did not hold a lost item had not seen it ([`Op::blind`]), so it ends nothing by
//!    the oracle. Its record covers the place all the same, and others may take it for the end of that
//!    item: from there on, wherever that operation is known, the lost item may be live or dead, until
//!    something that saw it ends it.
//! 3. An operation that ends a lost item may reach others by way of the node that lost it, which has no end to
//!    tell of: there the item may live on beside it.
//! 4. What is written again ([`Act::Again`]) is an operation like any other. It ends the dot that it stands for,
//!    and only that.

use sync_core::id::Dot;
use sync_core::store::Store;

use super::{Act, History, Op, OpId, Seen};
use crate::faults::Harm;
use crate::oracle::Model;

/// One dot of one node's state that was damaged, and what came of it.
#[derive(Clone, Debug)]
pub struct Damaged {
    /// At which node.
    pub node: usize,
    /// In what way.
    pub harm: Harm,
    /// The operation that wrote it: an add or a put.
    pub op: OpId,
    /// Its dot.
    pub dot: Dot,
    /// What the node holds as its payload if a bit flipped.
    pub flipped: Vec<u8>,
    /// When, in virtual microseconds.
    pub at: u64,
    /// Number of operations recorded before.
    pub ops_before: usize,
    /// True until the node holds what it should.
    pub open: bool,
    /// True once the node was restarted since.
    pub restarted: bool,
    /// When the node said that its bytes are damaged.
    pub corrupt: Option<u64>,
    /// True once a node said that it has diverged.
    pub diverged: bool,
    /// True once a node said that it has healed this cell.
    pub healed: bool,
}

impl Damaged {
    /// Damage that strikes `node` now, after `ops_before` operations, and of which nothing has come yet.
    pub fn new(node: usize, harm: Harm, op: OpId, dot: Dot, ops_before: usize) -> Self {
        Self {
            node,
            harm,
            op,
            dot,
            flipped: Vec::new(),
            at: 0,
            ops_before,
            open: true,
            restarted: false,
            corrupt: None,
            diverged: false,
            healed: false,
        }
    }

    /// True if `store`, which is that of its node, still shows the damage.
    pub fn shows(&self, store: &Store) -> bool {
        match self.harm {
            Harm::FlipBit => {
                store.item(self.dot).is_some_and(|(_, item)| item.payload.as_bytes() == self.flipped)
            }
            Harm::LoseItem => !store.is_live(self.dot),
            Harm::Revive => store.is_live(self.dot),
        }
    }
}

impl History {
    /// Damage has struck.
    pub fn damage(&mut self, damaged: Damaged) {
        self.damages.push(damaged);
    }

    /// Everything that was damaged, in order.
    pub fn damages(&self) -> &[Damaged] {
        &self.damages
    }

    /// As [`Self::damages`], to note what came of it.
    pub fn damages_mut(&mut self) -> &mut [Damaged] {
        &mut self.damages
    }

    /// The damage of `dot` that is open at `node`.
    pub fn damage_at(&self, node: usize, dot: Dot) -> Option<&Damaged> {
        self.damages.iter().find(|damaged| damaged.open && damaged.node == node && damaged.dot == dot)
    }

    /// The lost items that a node which knows `seen` does not hold.
    pub fn hidden(&self, seen: &Seen, store: &Store) -> Vec<Dot> {
        let lost = self.damages.iter().filter(|damaged| damaged.harm == Harm::LoseItem);
        lost.map(|damaged| damaged.dot).filter(|dot| seen.contains(*dot) && !store.is_live(*dot)).collect()
    }

    /// Of `hidden`, what an operation of `act` covers.
    pub fn blind_to(&self, act: &Act, hidden: &[Dot]) -> Vec<Dot> {
        let covered = |dot: &Dot| self.by_dot(*dot).is_some_and(|op| act.covers(&op.act));
        hidden.iter().copied().filter(covered).collect()
    }

    /// True if whoever knows `seen` knows an operation that covers the place of `dot` and was blind to it.
    pub fn may_be_dead(&self, seen: &Seen, dot: Dot) -> bool {
        self.blind.iter().map(|id| self.op(*id)).any(|op| op.blind.contains(&dot) && op.is_in(seen))
    }

    /// True if `dot` may be live although an operation that is known ended it.
    pub fn may_live_on(&self, dot: Dot) -> bool {
        self.damages.iter().any(|damaged| damaged.harm == Harm::LoseItem && damaged.dot == dot)
    }

    /// True if `node`, for which `model` stands and which holds `store`, need not show what the operations say
    /// of places of which `is_at` is true.
    pub fn is_unsettled(
        &self,
        node: usize,
        model: &Model,
        store: &Store,
        is_at: impl Fn(&Act) -> bool,
    ) -> bool {
        self.damages.iter().filter(|damaged| is_at(&self.op(damaged.op).act)).any(|damaged| {
            let Damaged { dot, open, .. } = *damaged;
            let excused = match (model.shows(self.op(damaged.op)), store.is_live(dot)) {
                (true, false) => self.may_be_dead(model.seen(), dot),
                (false, true) => self.may_live_on(dot),
                (true, true) | (false, false) => false,
            };
            excused || (open && damaged.node == node)
        })
    }

    /// The operation by which a known record proves that `dot`, of the place of `act`, is dead: a removal of
    /// that place by the very replica that wrote it, later.
    pub fn proof_of_death(&self, seen: &Seen, dot: Dot, act: &Act) -> Option<&Op> {
        let later = self.of_life(dot.replica, dot.seq + 1, seen.get(dot.replica));
        later.filter(|op| op.act.is_removal() && op.act.covers(act)).find(|op| op.is_in(seen))
    }
}

#[cfg(test)]
mod tests {
    use crate::history::tests::Story;
    use crate::history::{Act, Kind};
    use crate::oracle::Model;

    #[test]
    fn an_operation_ends_nothing_that_it_was_blind_to_and_others_may_hold_that_dead() {
        let mut story = Story::default();
        let put = story.put(1, &[], "m", "f", "lost", 1);
        let dot = story.history.op(put).dots.expect("a put mints").1;
        let new = story.put(2, &[put], "m", "f", "new", 2);
        let blind = story.blinded(new, dot);
        let known = story.seen(&[put, blind]);
        let model = Model::at(&story.history, &known);
        let fields = model.maps.get("m").expect("both writes are visible");
        assert_eq!(fields[b"f".as_slice()], [put, blind]);
        assert!(story.history.may_be_dead(&known, dot));
        assert!(!story.history.may_be_dead(&story.seen(&[put]), dot));
    }

    #[test]
    fn what_is_written_again_ends_the_dot_that_it_stands_for_and_no_other() {
        let mut story = Story::default();
        let (first, second) = (story.put(1, &[], "m", "f", "a", 1), story.put(2, &[], "m", "f", "b", 2));
        let of = story.history.op(first).dots.expect("a put mints").1;
        let (key, place, value) = ("m".to_owned(), b"f".to_vec(), b"a".to_vec());
        let again = story.act(3, &[first, second], Act::Again { kind: Kind::Map, key, place, value, of }, 1);
        let known = story.seen(&[again]);
        let model = Model::at(&story.history, &known);
        assert_eq!(model.maps.get("m").expect("two are visible")[b"f".as_slice()], [second, again]);
    }

    #[test]
    fn only_a_later_removal_by_the_same_replica_is_a_proof_of_death() {
        let mut story = Story::default();
        let add = story.add(1, &[], "s", "x");
        let dot = story.history.op(add).dots.expect("an add mints").1;
        let act = story.history.op(add).act.clone();
        let by_another = story.remove(2, &[add], "s", "x");
        assert!(story.history.proof_of_death(&story.seen(&[by_another]), dot, &act).is_none());
        let cleared = story.clear(1, &[add], "s");
        assert!(story.history.proof_of_death(&story.seen(&[cleared]), dot, &act).is_some());
        assert!(story.history.proof_of_death(&story.seen(&[add]), dot, &act).is_none());
    }
}
