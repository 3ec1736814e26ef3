//! A counter owner that counts in two places: the folder of a node was copied, or set back.
//!
//! Every start is a new replica, so a copied folder mints no dot twice. But it holds the counter owner too, and of
//! what two lives count under one owner only the larger `p` and the larger `n` are read. The proof is a contribution
//! of this node's owner that is news to it: its own it knows, and whatever its earlier lives have shown to anybody was
//! on the disk before. Whoever learns of one takes a new owner, in the step that learns it; the other place does the
//! same when it learns of this one's (DESIGN section 4, incarnations).

use rand::Rng as _;

use super::{Event, Node};
use crate::causal::CausalContext;
use crate::cell::{CellId, ObjectId, Path, TypeTag};
use crate::fragment::Fragment;
use crate::id::{Dot, NamespaceId, NodeId, OwnerId, ReplicaId};
use crate::mutant::{self, Mutant};
use crate::nested;

/// Where a foreign contribution lies, and who wrote it.
type Twin = (ObjectId, Path, ReplicaId);

/// True if the cell at `path` holds what `owner` counted.
fn is_row(ty: TypeTag, path: &[u8], owner: OwnerId) -> bool {
    path.ends_with(&owner.0) && row_owner(ty, path) == Some(owner)
}

/// Whose count the cell at `path` holds, if any: of a counter at a key of its own, or in a nested map.
pub(super) fn row_owner(ty: TypeTag, path: &[u8]) -> Option<OwnerId> {
    let parts = if ty == TypeTag::OR_MAP { Some(nested::parse(path)?) } else { None };
    let (ty, rest) = parts.map_or((ty, path), |parts| (parts.ty, parts.rest));
    let counts = ty.has_rows() || ty == TypeTag::BOUNDED_COUNTER;
    counts.then(|| rest.try_into().ok().map(OwnerId)).flatten()
}

impl Node {
    /// The first contribution in `fragment` that is this node's by its owner and not known here. To be asked before
    /// the fragment is joined.
    pub(super) fn twin_in(&self, namespace: NamespaceId, fragment: &Fragment) -> Option<Twin> {
        let known = self.store(namespace)?.context();
        let own = fragment.cells.iter().filter(|part| self.is_own_row(&part.cell));
        let mut items = own.flat_map(|part| part.items.iter().map(move |item| (&part.cell, item.dot)));
        let (cell, dot) = items.find(|(_, dot)| !known.contains(*dot))?;
        Some((cell.object.clone(), cell.path.clone(), dot.replica))
    }

    /// As [`Self::twin_in`], among all that is live and was not in the context `known`. Costs a walk over all counters
    /// and nested maps.
    pub(super) fn twin_held(&self, namespace: NamespaceId, known: &CausalContext) -> Option<Twin> {
        self.counted_by(namespace, |dot| !known.contains(dot))
    }

    /// A live contribution of this node's owner that no life of this node has written, and whose write it was. There
    /// is none between inputs: who learns of one has another owner. Costs a walk over all counters and nested maps.
    pub fn counted_elsewhere(&self, namespace: NamespaceId) -> Option<(ObjectId, ReplicaId)> {
        let (object, _, other) = self.counted_by(namespace, |dot| !self.lives.contains(&dot.replica))?;
        Some((object, other))
    }

    fn counted_by(&self, namespace: NamespaceId, by: impl Fn(Dot) -> bool) -> Option<Twin> {
        let store = self.store(namespace)?;
        let counts = |ty: TypeTag| ty.has_rows() || ty == TypeTag::BOUNDED_COUNTER || ty == TypeTag::OR_MAP;
        let mut objects = store.objects("").map(|info| info.object).filter(|object| counts(object.ty));
        objects.find_map(|object| {
            let cells = store.cells(object.key.as_str(), object.ty);
            let mut own = cells.filter(|(path, _)| is_row(object.ty, path, self.owner));
            let (path, dot) = own.find_map(|(path, items)| {
                let dot = items.iter().map(|item| item.dot).find(|dot| by(*dot))?;
                Some((Path::from(path), dot))
            })?;
            Some((object, path, dot.replica))
        })
    }

    fn is_own_row(&self, cell: &CellId) -> bool {
        is_row(cell.object.ty, cell.path.as_bytes(), self.owner)
    }

    /// Takes a new counter owner: what was counted stays with the old one, which nobody here counts under any more.
    pub(super) fn leave_owner(&mut self, peer: NodeId, namespace: NamespaceId, twin: Twin) {
        if mutant::is(Mutant::DoubledOwnerKept) {
            return;
        }
        let ((object, path, other), old) = (twin, self.owner);
        let mut owner = [0; 16];
        self.rng.fill_bytes(&mut owner);
        self.owner = OwnerId(owner);
        self.step_on();
        let (own, new) = (self.replica, self.owner);
        self.event(Event::OwnerDoubled { peer, namespace, object, path, own, other, old, new });
    }
}
