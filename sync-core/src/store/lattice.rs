//! A whole store as a lattice of the `crdts` crate: [`CvRDT`] merges full states, [`CmRDT`] applies a
//! fragment. Both are the one join of this module; the traits make stores usable with that crate's tools
//! and its laws.

use crdts::{CmRDT, CvRDT};

use super::{Learned, Store};
use crate::causal::CausalContext;
use crate::error::FrameError;
use crate::fragment::Fragment;
use crate::id::{NamespaceId, ReplicaId};

/// Why two stores cannot be merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotMergeable {
    /// Caller: they are of different namespaces, which never meet.
    #[error("namespace {ours:?} cannot take in namespace {theirs:?}")]
    Namespace {
        /// Ours.
        ours: NamespaceId,
        /// Theirs.
        theirs: NamespaceId,
    },
    /// The fragment or state is refused.
    #[error(transparent)]
    Fragment(#[from] FrameError),
}

/// A reader of state mints nothing, so no dot is its own.
const NOBODY: Learned = Learned { own: ReplicaId([0; 16]), own_minted: u64::MAX, from: None };

impl CvRDT for Store {
    type Validation = NotMergeable;

    fn validate_merge(&self, other: &Self) -> Result<(), NotMergeable> {
        if self.namespace != other.namespace {
            return Err(NotMergeable::Namespace { ours: self.namespace, theirs: other.namespace });
        }
        self.clone().join(&other.full_fragment(), NOBODY).map(drop).map_err(NotMergeable::from)
    }

    /// Joins the full state of `other`; a state that [`Self::validate_merge`] refuses changes nothing.
    fn merge(&mut self, other: Self) {
        if self.namespace == other.namespace {
            // A refusal leaves the state as it was, which is what the trait's contract allows us to say.
            drop(self.join(&other.full_fragment(), NOBODY));
        }
    }
}

impl CmRDT for Store {
    type Op = Fragment;
    type Validation = NotMergeable;

    fn validate_op(&self, fragment: &Fragment) -> Result<(), NotMergeable> {
        fragment.check()?;
        self.clone().join(fragment, NOBODY).map(drop).map_err(NotMergeable::from)
    }

    /// Joins a fragment; one that [`Self::validate_op`] refuses changes nothing.
    fn apply(&mut self, fragment: Fragment) {
        if fragment.check().is_ok() {
            drop(self.join(&fragment, NOBODY));
        }
    }
}

impl Store {
    /// The whole state as one fragment: what a replica that knows nothing lacks.
    pub fn full_fragment(&self) -> Fragment {
        self.answer(&CausalContext::default())
    }

    /// True if both hold the same events, live items and horizon. Log, records and floors say how a
    /// state came about and may differ.
    pub fn same_state(&self, other: &Self) -> bool {
        self.context == other.context
            && self.horizon == other.horizon
            && self.live.dots().eq(other.live.dots())
            && self.live.dots().all(|dot| self.item(dot) == other.item(dot))
    }
}
