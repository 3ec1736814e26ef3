//! Directed scenarios, for mutants that random runs meet too rarely: nodes driven by hand, frame by frame,
//! with the oracle and every checker watching.

use std::collections::VecDeque;

use sync_core::dictionary::Version;
use sync_core::id::{NamespaceId, NodeId, OwnerId, ReplicaId};
use sync_core::limits::Limits;
use sync_core::message::Frame;
use sync_core::mutant::{self, Mutant};
use sync_core::node::{Config, DEFAULT_NAMESPACE, Input, Node, Output, Persistence};
use sync_core::store::Damage;
use sync_core::time::{Now, Span, Timestamp, WallMillis};
use sync_core::types::{or_set, pn_counter};

use crate::checkers::{Origin, Suite, Violation};
use crate::faults::Harm;
use crate::history::{Act, Damaged, History, Op, OpId, Seen};

/// A frame on its way.
struct Flight {
    from: usize,
    to: usize,
    bytes: Vec<u8>,
}

/// Nodes without a network: what they send waits until the script delivers it.
struct Stage {
    nodes: Vec<Node>,
    flights: VecDeque<Flight>,
    history: History,
    suite: Suite,
    /// The history says all that is written, so that the suite can judge each step.
    judged: bool,
    now: Now,
}

const WALL: WallMillis = WallMillis(1_700_000_000_000);

impl Stage {
    /// `count` nodes; those in `disks` have a disk, which makes nothing durable unless the script says so.
    fn new(count: u8, disks: &[u8]) -> Self {
        Self::with_limits(count, disks, &Limits::default())
    }

    fn with_limits(count: u8, disks: &[u8], limits: &Limits) -> Self {
        let now = Now::at(Timestamp::ZERO, WALL);
        let node = |at: u8| {
            let persistence = if disks.contains(&at) { Persistence::Driver } else { Persistence::Memory };
            let limits = limits.clone();
            Node::new(Config { persistence, limits, ..Self::config(at, at) }, now)
        };
        let nodes = (0..count).map(node).collect();
        Self {
            nodes,
            flights: VecDeque::new(),
            history: History::default(),
            suite: Suite::new(1),
            judged: true,
            now,
        }
    }

    fn config(at: u8, life: u8) -> Config {
        let mut config =
            Config::new(NodeId([at; 32]), ReplicaId([life; 16]), OwnerId([life; 16]), [life; 32]);
        // Without bases: an answer that builds on the pull of another life is unreadable anyway.
        config.versions.max = Version::WHOLE;
        config
    }

    fn handle(&mut self, at: usize, input: Input) -> Result<(), Violation> {
        self.nodes[at].handle(self.now, input);
        while let Some(output) = self.nodes[at].poll_output() {
            if let Output::Send { to, bytes, .. } = output {
                self.flights.push_back(Flight { from: at, to: usize::from(to.0[0]), bytes });
            }
        }
        if !self.judged {
            return Ok(());
        }
        self.suite.after_step(&self.history, at, &mut self.nodes[at])
    }

    fn connect(&mut self, a: usize, b: usize) -> Result<(), Violation> {
        let (of_a, of_b) = (self.nodes[a].id(), self.nodes[b].id());
        self.handle(a, Input::Connected { peer: of_b })?;
        self.handle(b, Input::Connected { peer: of_a })
    }

    fn deliver(&mut self, flight: Flight) -> Result<(), Violation> {
        let peer = self.nodes[flight.from].id();
        let dictionary = self.nodes[flight.to].reads(peer);
        let input = match Frame::decode(&flight.bytes, &dictionary, &Limits::default()) {
            Ok(frame) => Input::Received { peer, frame, len: flight.bytes.len() },
            Err(error) => Input::Malformed { peer, error },
        };
        self.handle(flight.to, input)
    }

    /// Delivers whatever is under way until nothing is, but keeps back what `keep` says.
    fn deliver_all(&mut self, keep: impl Fn(&Frame, usize) -> bool) -> Result<Vec<Flight>, Violation> {
        let mut kept = Vec::new();
        while let Some(flight) = self.flights.pop_front() {
            let dictionary = self.nodes[flight.from].writes(self.nodes[flight.to].id());
            let frame = Frame::decode(&flight.bytes, &dictionary, &Limits::default());
            if frame.is_ok_and(|frame| keep(&frame, flight.to)) {
                kept.push(flight);
            } else {
                self.deliver(flight)?;
            }
        }
        Ok(kept)
    }

    fn add(&mut self, at: usize, element: &str) -> Result<(), Violation> {
        let namespace = NamespaceId::named(DEFAULT_NAMESPACE);
        let node = &mut self.nodes[at];
        let seen = node.store(namespace).map(|store| Seen::from(store.context())).unwrap_or_default();
        let written = node.write(self.now, namespace, |group| or_set::add(group, "set", element.as_bytes()));
        let written = written.expect("an empty store has room").1;
        let group = self.history.len() as u64;
        let op = Op {
            id: OpId(0),
            node: at,
            life: node.replica(),
            owner: node.owner(),
            act: Act::Add { key: "set".to_owned(), element: element.into() },
            dots: written.first.zip(written.last),
            seen,
            hlc: 0,
            group,
            expires: 0,
            horizon: 0,
            step: written.step.0,
            at: group,
            blind: Vec::new(),
        };
        let id = self.history.record(op);
        if self.judged {
            self.suite.wrote(&self.history, &[id], at, &mut self.nodes[at])?;
        }
        self.handle(at, Input::Wake)
    }

    /// Node `at` loses the item of the newest operation, and keeps its dot; the history says so if `told`.
    fn lose_newest(&mut self, at: usize, told: bool) {
        let op = self.history.ops().last().expect("something was recorded");
        let (op, dot) = (op.id, op.dots.expect("it minted").1);
        assert!(self.nodes[at].damage(NamespaceId::named(DEFAULT_NAMESPACE), Damage::LoseItem(dot)));
        if told {
            self.history.damage(Damaged::new(at, Harm::LoseItem, op, dot, self.history.len()));
        }
    }

    /// The process of node `at` dies with all that it knew, and comes back as life `life`.
    fn reborn(&mut self, at: u8, life: u8) -> Result<(), Violation> {
        let place = usize::from(at);
        let peer = self.nodes[place].id();
        for other in (0..self.nodes.len()).filter(|other| *other != place) {
            self.handle(other, Input::Disconnected { peer })?;
        }
        self.flights.clear();
        self.suite.crashed(place);
        self.nodes[place] = Node::new(Self::config(at, life), self.now);
        self.suite.started(&self.history, place, Origin::Fresh, &mut self.nodes[place])
    }
}

/// An answer to a life that is over reaches the next one.
///
/// B has learned x from C and not made it durable; its pull to A says that it knows x. A answers with y,
/// which saw x. B dies and forgets x; then the answer arrives.
fn answer_across_a_crash() -> Result<(), Violation> {
    let (a, b, c) = (0, 1, 2);
    let mut stage = Stage::new(3, &[1]);
    stage.connect(c, a)?;
    stage.deliver_all(|_, _| false)?;
    stage.connect(c, b)?;
    stage.add(c, "x")?;
    stage.deliver_all(|_, _| false)?;
    stage.add(a, "y")?;
    stage.connect(a, b)?;
    let kept = stage.deliver_all(|frame, to| to == c || matches!(frame, Frame::Give(..)))?;
    stage.reborn(1, 9)?;
    stage.connect(a, b)?;
    stage.deliver_all(|frame, _| !matches!(frame, Frame::Hello(_)))?;
    kept.into_iter().filter(|flight| flight.to == b).try_for_each(|flight| stage.deliver(flight))
}

/// A node loses an item whose push was not acknowledged, and pushes it again, with another, before two roots are
/// compared: the peer, which holds the item, must not take the loss for an end. `told` says if the checkers know
/// of the damage.
fn lost_and_pushed(told: bool) -> Result<(), Violation> {
    let (a, b) = (0, 1);
    let mut stage = Stage::new(2, &[]);
    stage.connect(a, b)?;
    stage.deliver_all(|_, _| false)?;
    stage.add(a, "x")?;
    stage.deliver_all(|frame, to| to == a && matches!(frame, Frame::Ack(..)))?;
    stage.lose_newest(a, told);
    stage.now = Now::at(Timestamp::ZERO + Span::from_millis(5_500), WALL);
    // Of a loss that nobody was told of, the node that has it is not judged before the other.
    stage.judged = told;
    stage.add(a, "y")?;
    stage.judged = true;
    stage.deliver_all(|_, _| false).map(drop)
}

/// The last push of all is lost. Nothing else will be said before the next round of roots, half a minute
/// later: the sender has to notice that its acknowledgement is overdue.
fn last_push_lost() -> Result<(), Violation> {
    let (a, b) = (0, 1);
    let mut stage = Stage::new(2, &[]);
    stage.connect(a, b)?;
    stage.deliver_all(|_, _| false)?;
    // The rounds of roots in which both get their cursors are over.
    stage.now = Now::at(Timestamp::ZERO + Span::from_secs(10), WALL);
    for node in [a, b, a, b] {
        stage.handle(node, Input::Wake)?;
        stage.deliver_all(|_, _| false)?;
    }
    stage.add(a, "x")?;
    stage.flights.clear();
    stage.now = Now::at(Timestamp::ZERO + Span::from_secs(20), WALL);
    for node in [a, b, a, b] {
        stage.handle(node, Input::Wake)?;
        stage.deliver_all(|_, _| false)?;
    }
    let namespace = NamespaceId::named(DEFAULT_NAMESPACE);
    let knows = |node: &Node| node.store(namespace).map(|store| store.context().clone());
    if knows(&stage.nodes[a]) == knows(&stage.nodes[b]) {
        return Ok(());
    }
    Err(Violation {
        property: "convergence",
        node: b,
        what: "ten seconds later a lost write has not come".to_owned(),
    })
}

/// Of three peers, node 0 pushes to the two beside it on the ring. The three lose sight of each other, so the
/// third learns what is written by the session that goes to a random peer, a second later.
fn one_is_no_neighbour() -> Result<(), Violation> {
    let limits = Limits { full_mesh_peers_max: 1, overlay_degree: 2, ..Limits::default() };
    let mut stage = Stage::with_limits(4, &[], &limits);
    for (one, other) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
        stage.connect(one, other)?;
        stage.deliver_all(|_, _| false)?;
    }
    // Each of the three has one peer left, wants its pushes, and says so; that is lost here.
    let wish = |frame: &Frame, to| to == 0 && matches!(frame, Frame::Root(_, root) if root.neighbour);
    for (one, other) in [(1, 2), (1, 3), (2, 3)] {
        let [of_one, of_other] = [one, other].map(|node: usize| stage.nodes[node].id());
        stage.handle(one, Input::Disconnected { peer: of_other })?;
        stage.handle(other, Input::Disconnected { peer: of_one })?;
        stage.deliver_all(wish)?;
    }
    stage.add(0, "x")?;
    stage.deliver_all(wish)?;
    stage.now = Now::at(Timestamp::ZERO + Span::from_millis(1_500), WALL);
    stage.handle(0, Input::Wake)?;
    stage.deliver_all(wish)?;
    let namespace = NamespaceId::named(DEFAULT_NAMESPACE);
    let knows = |node: &Node| node.store(namespace).is_some_and(|store| !store.context().is_empty());
    match stage.nodes.iter().position(|node| !knows(node)) {
        None => Ok(()),
        Some(node) => Err(Violation {
            property: "random-session",
            node,
            what: "a second and a half later a write has not come".to_owned(),
        }),
    }
}

/// The middle of a star pushes to two of its three leaves by its own choice, and to the third because that
/// one, which sees nobody else, has chosen it.
fn star_of_four() -> Result<(), Violation> {
    let limits = Limits { full_mesh_peers_max: 1, overlay_degree: 2, ..Limits::default() };
    let mut stage = Stage::with_limits(4, &[], &limits);
    for leaf in 1..4 {
        stage.connect(0, leaf)?;
        stage.deliver_all(|_, _| false)?;
    }
    stage.add(0, "x")?;
    stage.deliver_all(|_, _| false)?;
    let namespace = NamespaceId::named(DEFAULT_NAMESPACE);
    let knows = |node: &Node| node.store(namespace).is_some_and(|store| !store.context().is_empty());
    match stage.nodes.iter().position(|node| !knows(node)) {
        None => Ok(()),
        Some(node) => {
            let what = "a link that it has chosen is not used by the other end".to_owned();
            Err(Violation { property: "overlay", node, what })
        }
    }
}

/// A life that was set back and does not notice joins a push that leaves out what it had taught the sender.
fn set_back_between_pushes() -> Result<(), Violation> {
    let (a, b) = (0, 1);
    let mut stage = Stage::new(2, &[]);
    stage.connect(a, b)?;
    stage.deliver_all(|_, _| false)?;
    // Both have a cursor of the other.
    stage.now = Now::at(Timestamp::ZERO + Span::from_secs(10), WALL);
    for node in [a, b, a, b] {
        stage.handle(node, Input::Wake)?;
        stage.deliver_all(|_, _| false)?;
    }
    let earlier = stage.nodes[a].clone();
    stage.add(a, "x")?;
    stage.deliver_all(|_, _| false)?;
    stage.flights.clear();
    stage.suite.crashed(a);
    stage.nodes[a] = earlier;
    stage.suite.started(&stage.history, a, Origin::Fresh, &mut stage.nodes[a])?;
    stage.add(b, "y")?;
    stage.deliver_all(|_, _| false).map(drop)
}

/// The folder of node 0 was copied, and both places count under its owner until they hear of each other; what they
/// count afterwards is not lost.
fn one_owner_two_places() -> Result<(), Violation> {
    let namespace = NamespaceId::named(DEFAULT_NAMESPACE);
    let mut stage = Stage { judged: false, ..Stage::new(2, &[]) };
    let now = stage.now;
    let count = |stage: &mut Stage, at: usize, by: i64| {
        let written = stage.nodes[at].write(now, namespace, |group| pn_counter::add(group, "count", by));
        written.expect("an empty store has room");
        stage.handle(at, Input::Wake)
    };
    count(&mut stage, 0, 10)?;
    let image = stage.nodes[0].image();
    let copied = Config { owner: image.owner(), ..Stage::config(1, 7) };
    stage.nodes[1] = Node::restart(copied, image, now);
    count(&mut stage, 0, 3)?;
    count(&mut stage, 1, 5)?;
    stage.connect(0, 1)?;
    stage.deliver_all(|_, _| false)?;
    for at in [0, 1] {
        if let Some((object, other)) = stage.nodes[at].counted_elsewhere(namespace) {
            let what = format!("{other} counts in {object:?} under the owner of this node");
            return Err(Violation { property: "one place an owner", node: at, what });
        }
        count(&mut stage, at, 1)?;
    }
    stage.deliver_all(|_, _| false)?;
    for at in [0, 1] {
        // Of what both counted under one owner the larger is read, and all of what came after.
        let value = stage.nodes[at].store(namespace).and_then(|store| pn_counter::value(store, "count"));
        if value != Some(10 + 5 + 1 + 1) {
            let what = format!("the counter reads {value:?}");
            return Err(Violation { property: "counts after a copy", node: at, what });
        }
    }
    Ok(())
}

/// Runs the directed scenario of `mutant`, if it has one; its name and the violation.
pub fn kill(mutant: Mutant) -> Option<(&'static str, Violation)> {
    let (name, script): (_, fn() -> Result<(), Violation>) = if mutant == Mutant::OtherLivesAccepted {
        ("answer-across-a-crash", answer_across_a_crash)
    } else if mutant == Mutant::PushNotRepeated {
        ("last-push-lost", last_push_lost)
    } else if mutant == Mutant::UnprovenEndsDone {
        ("lost-and-pushed", || lost_and_pushed(true))
    } else if mutant == Mutant::RandomSessionNeverRuns {
        ("one-is-no-neighbour", one_is_no_neighbour)
    } else if mutant == Mutant::OverlayOneSided {
        ("star-of-four", star_of_four)
    } else if [Mutant::NeverFenced, Mutant::SetBackUnnoticed].contains(&mutant) {
        ("set-back-between-pushes", set_back_between_pushes)
    } else if mutant == Mutant::DoubledOwnerKept {
        ("one-owner-two-places", one_owner_two_places)
    } else {
        return None;
    };
    let without = mutant::with(None, script);
    let with = mutant::with(Some(mutant), script);
    with.err().filter(|_| without.is_ok()).map(|violation| (name, violation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_another_life_is_dropped() {
        answer_across_a_crash().expect("the frame names the life that it is for");
        assert!(kill(Mutant::OtherLivesAccepted).is_some());
    }

    #[test]
    fn a_peer_that_is_no_neighbour_learns_by_the_random_session() {
        one_is_no_neighbour().expect("a root goes to a random peer once a second");
        assert!(kill(Mutant::RandomSessionNeverRuns).is_some());
    }

    #[test]
    fn a_link_that_one_end_has_chosen_is_used_by_both() {
        star_of_four().expect("the leaf says in its root that it has chosen the middle");
        assert!(kill(Mutant::OverlayOneSided).is_some());
    }

    #[test]
    fn a_machine_that_was_set_back_notices_before_it_joins_anything() {
        set_back_between_pushes()
            .expect("every frame says how many of the receiver's events its sender knows");
        assert!(kill(Mutant::SetBackUnnoticed).is_some() && kill(Mutant::NeverFenced).is_some());
    }

    #[test]
    fn a_copied_owner_is_left_by_both_places() {
        one_owner_two_places().expect("each learns that the other counts");
        assert!(kill(Mutant::DoubledOwnerKept).is_some());
    }

    #[test]
    fn an_item_that_its_sender_lost_is_spared() {
        lost_and_pushed(true).expect("nothing in the push could have ended it");
        assert!(kill(Mutant::UnprovenEndsDone).is_some());
        let violation = lost_and_pushed(false).expect_err("without damage nothing is ever spared");
        assert_eq!(violation.property, "every end has its cause");
    }

    #[test]
    fn a_lost_push_is_sent_again() {
        last_push_lost().expect("it is sent again after five seconds");
        assert!(kill(Mutant::PushNotRepeated).is_some());
    }
}
