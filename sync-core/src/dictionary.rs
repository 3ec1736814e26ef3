//! What the two ends of a link need not spell out.
//!
//! A route is three ids of 40 bytes in all, which the ends know: a frame carries a [`RouteTag`] of eight. A
//! context names every incarnation that ever wrote: a frame states it as a difference from a [`Base`], a
//! context that both ends hold, and names the replicas of that base by their place in it. Who cannot
//! resolve a tag or a base refuses the frame, which costs time and nothing else: it introduces itself
//! again, or asks for the whole (DESIGN section 3, rules of transport; section 5).

use std::fmt;
use std::sync::Arc;

use crate::causal::CausalContext;
use crate::codec::{Reader, Writer};
use crate::error::FrameError;
use crate::id::{NamespaceId, ReplicaId};
use crate::mutant::{self, Mutant};

const DOMAIN_ROUTE: u8 = 8;
const DOMAIN_BASE: u8 = 9;

/// A version of the protocol: the first byte of every frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Version(pub u8);

impl Version {
    /// Contexts and answers travel whole.
    pub const WHOLE: Self = Self(1);
    /// Contexts travel as differences, live dots as sketches, large answers as a skeleton and payloads.
    pub const DIFFERENCES: Self = Self(2);
}

/// The versions that a node speaks. Two nodes talk in the newest that both do.
///
/// ```
/// use sync_core::dictionary::{Version, Versions};
/// let old = Versions { min: Version(1), max: Version(1) };
/// assert_eq!(Versions::default().newest_common(old), Some(Version(1)));
/// let future = Versions { min: Version(9), max: Version(12) };
/// assert_eq!(Versions::default().newest_common(future), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Versions {
    /// The oldest.
    pub min: Version,
    /// The newest, at least [`Self::min`].
    pub max: Version,
}

impl Default for Versions {
    /// All that this build speaks.
    fn default() -> Self {
        Self { min: Version::WHOLE, max: Version::DIFFERENCES }
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.min.0, self.max.0)
    }
}

impl Versions {
    /// True if `version` is one of them.
    pub fn contains(&self, version: Version) -> bool {
        (self.min..=self.max).contains(&version)
    }

    /// The newest that `self` and `other` both speak.
    pub fn newest_common(&self, other: Self) -> Option<Version> {
        let (min, max) = (self.min.max(other.min), self.max.min(other.max));
        (min <= max).then_some(max)
    }
}

/// Whose frame it is: the namespace and the two incarnations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The causal domain.
    pub namespace: NamespaceId,
    /// The sender's incarnation.
    pub from: ReplicaId,
    /// The incarnation that the sender means. Another one drops the frame and answers `Hello`.
    pub to: ReplicaId,
    /// How many events of `to` the sender knows. A life that has minted fewer was set back (a copied
    /// disk, a machine put back to an earlier image of its memory): it learns so before it joins anything.
    pub known: u64,
}

/// The first eight bytes of a hash over namespace, sender's and receiver's incarnation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteTag(pub [u8; 8]);

impl RouteTag {
    /// The tag of a route.
    pub fn of(namespace: NamespaceId, from: ReplicaId, to: ReplicaId) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[DOMAIN_ROUTE]).update(&namespace.0);
        if !mutant::is(Mutant::OtherLivesAccepted) {
            hasher.update(&from.0).update(&to.0);
        }
        Self(first_eight(&hasher))
    }
}

/// Names a [`Base`]: the first eight bytes of a hash over its columns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BaseId(pub [u8; 8]);

impl fmt::Debug for BaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A context that both ends of a link hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    id: BaseId,
    /// Ascending by replica.
    columns: Vec<(ReplicaId, u64)>,
}

impl Base {
    /// Of this context.
    pub fn of(context: &CausalContext) -> Self {
        let columns: Vec<(ReplicaId, u64)> = context.columns().collect();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[DOMAIN_BASE]);
        for (replica, seq) in &columns {
            hasher.update(&replica.0).update(&seq.to_le_bytes());
        }
        Self { id: BaseId(first_eight(&hasher)), columns }
    }

    /// Its name.
    pub fn id(&self) -> BaseId {
        self.id
    }

    /// The bytes of its name.
    pub(crate) fn name(&self) -> &[u8] {
        &self.id.0
    }

    /// The highest event of `replica` in it; 0 if none.
    pub fn get(&self, replica: ReplicaId) -> u64 {
        self.place(replica).map_or(0, |at| self.columns[at].1)
    }

    /// Its columns, ascending by replica.
    pub fn columns(&self) -> &[(ReplicaId, u64)] {
        &self.columns
    }

    /// Where `replica` stands among the columns.
    pub fn place(&self, replica: ReplicaId) -> Option<usize> {
        self.columns.binary_search_by_key(&replica, |(id, _)| *id).ok()
    }
}

fn first_eight(hasher: &blake3::Hasher) -> [u8; 8] {
    let mut cut = [0; 8];
    cut.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    cut
}

/// What one frame's names are resolved against.
#[derive(Clone, Debug)]
pub struct Names {
    /// The sender's incarnation.
    pub from: ReplicaId,
    /// The receiver's.
    pub to: ReplicaId,
    /// The base that the frame builds on, if any.
    pub base: Option<Arc<Base>>,
}

impl Names {
    /// Those of a frame on `route` over `base`.
    pub fn new(route: &Route, base: Option<Arc<Base>>) -> Self {
        Self { from: route.from, to: route.to, base }
    }

    /// The highest event of `replica` in the base; 0 without one.
    pub(crate) fn based(&self, replica: ReplicaId) -> u64 {
        self.base.as_ref().map_or(0, |base| base.get(replica))
    }

    /// Writes which base the frame builds on.
    pub(crate) fn write_base(&self, out: &mut Writer) {
        match &self.base {
            None => out.byte(0),
            Some(base) => {
                out.byte(1);
                out.fixed(&base.id.0);
            }
        }
    }
}

/// The routes that frames of one peer may take, and the bases that they may build on.
#[derive(Clone, Debug, Default)]
pub struct Dictionary {
    versions: Versions,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    tag: RouteTag,
    namespace: NamespaceId,
    from: ReplicaId,
    to: ReplicaId,
    bases: Vec<Arc<Base>>,
}

impl Dictionary {
    /// Of a reader that speaks `versions`. It resolves nothing yet.
    pub fn new(versions: Versions) -> Self {
        Self { versions, entries: Vec::new() }
    }

    /// For frames of `namespace` that go from one incarnation to another, over any of `bases`.
    #[must_use]
    pub fn with(
        mut self,
        namespace: NamespaceId,
        ends: (ReplicaId, ReplicaId),
        bases: Vec<Arc<Base>>,
    ) -> Self {
        let (from, to) = ends;
        self.entries.push(Entry { tag: RouteTag::of(namespace, from, to), namespace, from, to, bases });
        self
    }

    /// The protocol versions that the reader speaks.
    pub fn versions(&self) -> Versions {
        self.versions
    }

    /// Whose a frame is, without a look at the rest of it; `None` if it is a `Hello`, no frame, or not of these routes.
    pub fn namespace_of(&self, frame: &[u8]) -> Option<NamespaceId> {
        // Behind the version and the kind.
        let tag = frame.get(2..)?.first_chunk()?;
        self.entries.iter().find(|entry| entry.tag.0 == *tag).map(|entry| entry.namespace)
    }

    /// Reads a route.
    pub(crate) fn read_route(&self, input: &mut Reader<'_>) -> Result<Route, FrameError> {
        let tag = RouteTag(input.fixed("route")?);
        let known = input.varint_max("known of the receiver", crate::id::Dot::SEQ_MAX)?;
        let entry = self.entries.iter().find(|entry| entry.tag == tag).ok_or(FrameError::UnknownRoute)?;
        Ok(Route { namespace: entry.namespace, from: entry.from, to: entry.to, known })
    }

    /// Reads which base the frame builds on.
    pub(crate) fn read_base(
        &self,
        route: &Route,
        answer: bool,
        input: &mut Reader<'_>,
    ) -> Result<Names, FrameError> {
        let base = match input.byte("base")? {
            0 => None,
            1 => {
                let id = BaseId(input.fixed("base")?);
                let entry = self.entries.iter().find(|entry| {
                    (entry.namespace, entry.from, entry.to) == (route.namespace, route.from, route.to)
                });
                let base = entry.and_then(|entry| {
                    entry.bases.iter().find(|base| base.id == id || mutant::is(Mutant::AnotherBaseTaken))
                });
                let namespace = route.namespace;
                Some(base.cloned().ok_or(FrameError::UnknownBase { namespace, base: id, answer })?)
            }
            value => return Err(FrameError::Field { field: "base", value: u64::from(value) }),
        };
        Ok(Names::new(route, base))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_says_whose_it_is_in_its_first_bytes() {
        let (ends, of) = ((ReplicaId([1; 16]), ReplicaId([2; 16])), |n| NamespaceId([n; 8]));
        let routes = Dictionary::new(Versions::default()).with(of(1), ends, vec![]).with(of(2), ends, vec![]);
        let frame =
            |namespace, (from, to)| [&[2, 4][..], &RouteTag::of(namespace, from, to).0, &[0]].concat();
        assert_eq!(
            [1, 2, 3].map(|n| routes.namespace_of(&frame(of(n), ends))),
            [Some(of(1)), Some(of(2)), None]
        );
        assert_eq!(routes.namespace_of(&frame(of(1), (ends.1, ends.0))), None, "that is the way back");
        assert_eq!([&[][..], &[2, 4, 0]].map(|bytes| routes.namespace_of(bytes)), [None; 2]);
    }

    #[test]
    fn a_base_is_found_by_its_columns_alone() {
        let replica = |n| ReplicaId([n; 16]);
        let context = CausalContext::from_iter([(replica(3), 7), (replica(1), 2)]);
        let base = Base::of(&context);
        assert_eq!(base.id(), Base::of(&context.clone()).id());
        assert_eq!((base.get(replica(3)), base.get(replica(2))), (7, 0));
        assert_eq!((base.place(replica(1)), base.place(replica(2))), (Some(0), None));
        let more = CausalContext::from_iter([(replica(3), 8), (replica(1), 2)]);
        assert_ne!(base.id(), Base::of(&more).id());
    }
}
