//! How much work a peer can make of its small frames.
//!
//! Two things that a peer asks for cost as much as the store is large, however short the question. A root has every cell
//! hashed that has changed since the last one: written ten times between two roots, a cell is hashed once, so that a peer
//! which asks all the time (by a `Hello` of another life, a `Root`, a `Survey`) has each write hashed by itself, and that
//! costs more than to take it in. And an answer to a pull gathers all items that the peer says it lacks. So each peer has
//! tokens, one for a cell hashed or an item gathered: once they are used up, what it asks for waits. Where nothing has
//! changed nothing is hashed, and no root waits.

use super::Node;
use crate::error::FrameError;
use crate::id::{NamespaceId, NodeId, ReplicaId};
use crate::pacing::Rate;
use crate::time::Now;

/// Lives that a peer may greet with on one connection: each begins every link anew. Beyond it the greeting is a breach. An
/// honest peer begins a second one if it finds another node under its id; where greetings overtake each other, the two
/// can take turns for a while.
const LIVES_MAX: u32 = 4;

/// Cells and items a second that one peer may have worked on for long, and at once. At the edge its roots and answers
/// wait. An honest peer asks for all of them when it is new, and for what it missed when it was away. Guesses.
const EFFORT: Rate = Rate { bytes_per_second: 100_000, burst: 200_000 };

/// What is charged for one root or answer at most, whatever it was: the next one waits for a second at most, which is
/// well below `sync_timeout`.
const CHARGED_MAX: u64 = EFFORT.bytes_per_second;

impl Node {
    /// Counts the lives of the connection.
    pub(super) fn count_life(&mut self, peer: NodeId, incarnation: ReplicaId) -> Result<(), FrameError> {
        let state = self.peers.get_mut(&peer).expect("frames are taken in from connected peers only");
        if !state.introduced {
            state.lives = 0;
        }
        let is_new = !state.introduced || state.incarnation != Some(incarnation);
        let lives = state.lives + u32::from(is_new);
        if lives > LIVES_MAX {
            return Err(FrameError::Lives { lives, max: LIVES_MAX });
        }
        state.lives = lives;
        Ok(())
    }

    /// True if `peer` has tokens left; else it is looked at again in time.
    pub(super) fn may_ask(&mut self, now: Now, peer: NodeId) -> bool {
        let state = self.peers.get_mut(&peer).expect("the caller took it from the map");
        let may = state.effort.may_build(now.mono, EFFORT);
        if !may {
            let due = state.effort.deadline(EFFORT).expect("tokens are lacking");
            state.paced_until = Some(state.paced_until.map_or(due, |until| until.min(due)));
        }
        may
    }

    /// True if the root of `namespace` may be computed on behalf of `peer`, which pays for it.
    pub(super) fn may_hash(&mut self, now: Now, peer: NodeId, namespace: NamespaceId) -> bool {
        let dirty = self.spaces.get(&namespace).map_or(0, |space| space.store.unsettled());
        let may = dirty == 0 || self.may_ask(now, peer);
        if may {
            self.charge(peer, dirty as u64);
        }
        may
    }

    /// Has `peer` pay for what it was found to have tokens for.
    pub(super) fn charge(&mut self, peer: NodeId, cells: u64) {
        let state = self.peers.get_mut(&peer).expect("the caller took it from the map");
        state.effort.built(usize::try_from(cells.min(CHARGED_MAX)).unwrap_or(usize::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::{CausalContext, DotSet};
    use crate::dictionary::Versions;
    use crate::id::{OwnerId, ReplicaId};
    use crate::message::{Frame, FrameKind, Hello, Namespaces, Pull, Route};
    use crate::node::{Config, DEFAULT_NAMESPACE, Event, Input, Output};
    use crate::time::{Span, Timestamp, WallMillis};
    use crate::types::lww_map;

    const PEER: NodeId = NodeId([9; 32]);

    fn namespace() -> NamespaceId {
        NamespaceId::named(DEFAULT_NAMESPACE)
    }

    fn at(ms: u64) -> Now {
        Now::at(Timestamp::ZERO + Span::from_millis(ms), WallMillis(1_750_000_000_000 + ms))
    }

    /// A node with a connected peer that has not greeted.
    fn node() -> Node {
        let config = Config::new(NodeId([1; 32]), ReplicaId([1; 16]), OwnerId([1; 16]), [7; 32]);
        let mut node = Node::new(config, at(0));
        node.handle(at(0), Input::Connected { peer: PEER });
        node
    }

    fn received(node: &mut Node, ms: u64, frame: Frame) {
        node.handle(at(ms), Input::Received { peer: PEER, frame, len: 100 });
    }

    /// The `life`-th greeting.
    fn greeting(life: u64) -> (ReplicaId, Frame) {
        let mut incarnation = [3; 16];
        incarnation[..8].copy_from_slice(&life.to_be_bytes());
        let hello = Hello {
            features: 0,
            versions: Versions::default(),
            cluster: "default".to_owned(),
            node: PEER,
            incarnation: ReplicaId(incarnation),
            clock: at(0).wall,
            wants_reply: true,
            namespaces: Namespaces::default(),
            heard: Namespaces::default().digest(),
            trace: None,
        };
        (ReplicaId(incarnation), Frame::Hello(hello))
    }

    /// Takes what the node sends, and writes it at once; gives back how many frames are of one of `kinds`.
    fn sent(node: &mut Node, ms: u64, kinds: &[FrameKind]) -> usize {
        let mut found = 0;
        while let Some(output) = node.poll_output() {
            if let Output::Send { to, class, bytes } = output {
                found += usize::from(FrameKind::of_bytes(&bytes).is_some_and(|kind| kinds.contains(&kind)));
                node.handle(at(ms), Input::Written { peer: to, class, frames: 1, bytes: bytes.len() });
            }
        }
        found
    }

    const ROOTS: [FrameKind; 2] = [FrameKind::Root, FrameKind::Open];
    const ANSWERS: [FrameKind; 2] = [FrameKind::Give, FrameKind::Skeleton];

    fn put(node: &mut Node, ms: u64, rows: impl Iterator<Item = u32>) {
        let written = node.write(at(ms), namespace(), |group| {
            for row in rows {
                lww_map::put(group, "rows", &row.to_be_bytes(), &ms.to_be_bytes())?;
            }
            Ok(())
        });
        written.expect("the store has room");
    }

    #[test]
    fn a_peer_begins_no_more_lives_on_one_connection_than_it_may() {
        let mut node = node();
        let refused = |node: &mut Node| {
            let events = std::iter::from_fn(|| node.poll_output());
            events.filter(|output| matches!(output, Output::Event(Event::FrameRefused { .. }))).count()
        };
        for life in 1..=LIVES_MAX.into() {
            (0..3).for_each(|_| received(&mut node, 0, greeting(life).1));
            assert_eq!(refused(&mut node), 0);
            assert_eq!(node.peers[&PEER].incarnation, Some(greeting(life).0));
        }
        let last = node.peers[&PEER].incarnation;
        received(&mut node, 0, greeting(99).1);
        assert_eq!((refused(&mut node), node.peers[&PEER].incarnation), (1, last));
        assert_eq!(node.peers[&PEER].stats.frames_refused, 1);
        node.handle(at(1), Input::Disconnected { peer: PEER });
        node.handle(at(1), Input::Connected { peer: PEER });
        received(&mut node, 1, greeting(99).1);
        assert_eq!(refused(&mut node), 0, "a new connection begins to count anew");
    }

    #[test]
    fn a_peer_has_no_more_hashed_than_its_share_and_its_root_comes_all_the_same() {
        let (mut node, seconds) = (node(), 10);
        let (mut hashed, mut life, mut row) = (0, 0, 0);
        for ms in (0..seconds * 1_000).step_by(10) {
            put(&mut node, ms, (row..row + 2_000).map(|row| row % 40_000));
            row += 2_000;
            let before = node.spaces[&namespace()].store.unsettled();
            for _ in 0..5 {
                life += 1;
                node.handle(at(ms), Input::Disconnected { peer: PEER });
                node.handle(at(ms), Input::Connected { peer: PEER });
                received(&mut node, ms, greeting(life).1);
            }
            hashed += before.saturating_sub(node.spaces[&namespace()].store.unsettled());
            sent(&mut node, ms, &ROOTS);
        }
        let most = EFFORT.burst + EFFORT.bytes_per_second * seconds + CHARGED_MAX;
        assert!(hashed as u64 <= most, "{hashed} cells were hashed for one peer, {most} are its share");
        let mut roots = 0;
        for ms in (seconds * 1_000..seconds * 1_000 + 1_100).step_by(10) {
            node.handle(at(ms), Input::Wake);
            roots += sent(&mut node, ms, &ROOTS);
        }
        assert!(hashed > 0 && roots > 0, "{hashed} cells, {roots} roots");
    }

    #[test]
    fn a_peer_has_no_more_gathered_than_its_share() {
        let (mut node, seconds, rows) = (node(), 10, 20_000);
        for first in (0..rows).step_by(1_000) {
            put(&mut node, 0, first..first + 1_000);
        }
        let (from, hello) = greeting(1);
        received(&mut node, 0, hello);
        let route = Route { namespace: namespace(), from, to: node.replica(), known: 0 };
        let pull = Pull {
            context: CausalContext::default(),
            horizon: WallMillis(0),
            listing: false,
            have: DotSet::default(),
        };
        let mut answers = 0;
        for ms in (0..seconds * 1_000).step_by(50) {
            received(&mut node, ms, Frame::Pull(route, pull.clone()));
            answers += sent(&mut node, ms, &ANSWERS);
        }
        let most = (EFFORT.burst + EFFORT.bytes_per_second * seconds + CHARGED_MAX) / u64::from(rows);
        assert!(answers as u64 <= most, "{answers} answers of {rows} items, {most} are its share");
        assert!(answers as u64 >= EFFORT.bytes_per_second * seconds / u64::from(rows), "{answers}");
    }
}
