//! Repairs by sketch: when records were lost, and a list of all live dots would be longer.
//!
//! ```text
//! B  -- Pull(context) --------------------> A    below a floor of A
//! B  <-- Give(D, first symbols) ----------- A    one snapshot; B peels what differs, joins, acknowledges
//! B  -- More(from) -----------------------> A    or asks for more of the same snapshot,
//! B  <-- Symbols(from) -------------------- A
//! B  -- Pull(context, listing) -----------> A    or for the list, when symbols do not help
//! ```

use super::Node;
use crate::error::FrameError;
use crate::id::{NamespaceId, NodeId};
use crate::merkle::sketch::{SYMBOLS_KEPT, Symbol};
use crate::message::{Frame, More, Route, Symbols};
use crate::session::Sketching;
use crate::store::Compared;
use crate::time::Now;

/// Bytes of a frame of symbols besides them, at most.
const SYMBOLS_OVERHEAD: usize = 2 + 8 + 10 + 10 + 10 + 3;

/// Answers by sketch that wait for more symbols take together at most what so many frames may. At the edge the list is
/// asked for, as if symbols did not help.
const SKETCHING_FRAMES_MAX: usize = 4;

/// Symbols of a second answer, at least: who has one or two and needs more is past guessing.
const MORE_MIN: usize = 16;

impl Node {
    /// Takes in an answer whose live dots are known by symbols only.
    pub(super) fn on_sketch(
        &mut self,
        now: Now,
        peer: NodeId,
        route: Route,
        sketching: Sketching,
    ) -> Result<(), FrameError> {
        let Sketching { give, symbols, .. } = &sketching;
        let context = give.fragment.context().expect("an answer by sketch has a context").clone();
        let space = self.spaces.get_mut(&route.namespace).expect("routed frames are of open namespaces");
        match space.store.compare_live(&give.fragment, &context, symbols) {
            Compared::Dead(dead) => {
                let joined = self.join(now, peer, route, &give.fragment, dead);
                self.answered(now, peer, route, give, joined)
            }
            Compared::More if symbols.len() < SYMBOLS_KEPT && self.may_sketch(sketching.memory) => {
                let timeout = self.config.timing.sync_timeout;
                let session = &mut self.link_mut(peer, route.namespace).session;
                session.needs_more(sketching, now.mono, timeout);
                Ok(())
            }
            Compared::More | Compared::Useless => {
                let session = &mut self.link_mut(peer, route.namespace).session;
                session.pull_done();
                session.listing_due = true;
                session.want_pull();
                Ok(())
            }
        }
    }

    /// The peer wants more symbols of an answer.
    pub(super) fn on_more(&mut self, peer: NodeId, route: Route, more: More) -> Result<(), FrameError> {
        self.link_mut(peer, route.namespace).session.symbols_due = Some(more);
        Ok(())
    }

    /// More symbols of the answer that is under way; a copy, or those of another answer, are dropped.
    pub(super) fn on_symbols(
        &mut self,
        now: Now,
        peer: NodeId,
        route: Route,
        more: Symbols,
    ) -> Result<(), FrameError> {
        let session = &mut self.link_mut(peer, route.namespace).session;
        let is_forgotten = |sketching: &Sketching| sketching.answer == more.answer && more.symbols.is_empty();
        if session.sketching.as_ref().is_some_and(is_forgotten) {
            session.pull_done();
            session.want_pull();
            return Ok(());
        }
        let fits = |sketching: &mut Sketching| {
            sketching.answer == more.answer && sketching.symbols.len() as u64 == more.from
        };
        let Some(mut sketching) = session.sketching.take_if(fits) else { return Ok(()) };
        let room = SYMBOLS_KEPT - sketching.symbols.len();
        sketching.symbols.extend(more.symbols.into_iter().take(room));
        sketching.tries = 0;
        self.on_sketch(now, peer, route, sketching)
    }

    pub(super) fn build_more(&mut self, peer: NodeId, namespace: NamespaceId) -> Option<Frame> {
        let route = self.route(peer, namespace);
        let session = &mut self.link_mut(peer, namespace).session;
        let due = std::mem::take(&mut session.more_due);
        let sketching = session.sketching.as_ref().filter(|_| due)?;
        let more = More { answer: sketching.answer, from: sketching.symbols.len() as u64 };
        Some(Frame::More(route, more))
    }

    /// As many symbols again as the peer holds, [`MORE_MIN`] at least, and a frame can; none of an answer that is forgotten.
    pub(super) fn build_symbols(&mut self, peer: NodeId, namespace: NamespaceId) -> Option<Frame> {
        let route = self.route(peer, namespace);
        let message_bytes_max = self.config.limits.message_bytes_max;
        let session = &mut self.link_mut(peer, namespace).session;
        let More { answer, from } = session.symbols_due.take()?;
        let sketched = session.sketched.as_ref().filter(|sketched| sketched.answer == answer);
        let at = usize::try_from(from).ok()?;
        let room = (message_bytes_max.saturating_sub(SYMBOLS_OVERHEAD) / Symbol::BYTES).max(1);
        let kept = sketched.map_or(&[][..], |sketched| sketched.symbols.as_slice());
        let symbols: Vec<_> = kept.iter().skip(at).take(at.max(MORE_MIN).min(room)).copied().collect();
        Some(Frame::Symbols(route, Symbols { answer, from, symbols }))
    }

    /// True if one more answer that takes `memory` may wait for symbols.
    fn may_sketch(&self, memory: usize) -> bool {
        let links = self.peers.values().flat_map(|peer| peer.links.values());
        let waiting: usize =
            links.filter_map(|link| link.session.sketching.as_ref()).map(|sketching| sketching.memory).sum();
        waiting + memory <= SKETCHING_FRAMES_MAX * self.config.limits.decode_bytes_max()
    }
}
