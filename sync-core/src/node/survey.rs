//! Surveys: what a repair with each peer would carry, asked for without one.
//!
//! `Survey` states what is known here, `Quote` tells what the peer would send for it and what it knows
//! itself; what would go the other way is counted here. No cursor, no base and no event moves: what was
//! told is for the operator, the protocol never reads it. One survey a peer is under way and one quote
//! is due, later ones take their place; figures are counted once in [`crate::limits::Timing::survey_pause`].

use super::fill::{Shows, Touched};
use super::{Node, Peer};
use crate::causal::CausalContext;
use crate::dictionary::{Route, Version};
use crate::error::{FrameError, WriteError};
use crate::id::{NamespaceId, NodeId};
use crate::merkle::Fingerprint;
use crate::message::{Frame, Quote, Survey};
use crate::store::Load;
use crate::time::{Now, Timestamp, WallMillis};

/// What [`Node::survey_begin`] remembers.
#[derive(Clone, Debug)]
pub struct SurveyGoal {
    namespace: NamespaceId,
    /// The first survey that counts.
    number: u64,
    counts: bool,
}

/// What one peer told, and how it compares with what was known here when it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prospect {
    /// What the peer would send here; `None` if it was not counted.
    pub incoming: Option<Load>,
    /// What would go from here to the peer; `None` if it was not counted.
    pub outgoing: Option<Load>,
    /// True if both know the same events and hold the same horizon.
    pub same_events: bool,
    /// True if the Merkle roots are equal. With [`Self::same_events`] they must be: else one side is
    /// damaged.
    pub same_root: bool,
    /// What the peer knows.
    pub context: CausalContext,
    /// Its horizon.
    pub horizon: WallMillis,
    /// Its root.
    pub root: Fingerprint,
    /// Nodes that it is linked with, this one among them.
    pub links: u64,
}

/// How far the survey of one peer has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Surveyed {
    /// It has told.
    Told(Box<Prospect>),
    /// Not yet.
    Pending,
    /// It cannot tell: the version that it speaks has no surveys.
    Speaks(Version),
    /// No connection is up.
    Unreachable,
}

/// The surveys of one link, both ways.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surveying {
    /// A survey is to be sent: its number, and whether to count.
    due: Option<(u64, bool)>,
    /// The survey that is not answered yet.
    asked: Option<u64>,
    /// The peer's latest survey, not yet answered.
    quote_due: Option<Survey>,
    /// Until then no figures are counted for the peer.
    quote_at: Option<Timestamp>,
    /// The latest answer to a survey with this number.
    told: Option<(u64, Box<Prospect>)>,
}

impl Surveying {
    /// True if nothing is to be sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.due.is_none() && self.quote_due.is_none()
    }

    /// When a quote that waits may go.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.quote_at.filter(|_| self.quote_due.is_some())
    }

    /// Lets a quote go whose time has come.
    pub(crate) fn wake(&mut self, now: Timestamp) {
        self.quote_at.take_if(|at| *at <= now);
    }

    /// Until when counting for the peer waits, if it does at `now`.
    pub(crate) fn waits_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.quote_at.filter(|at| *at > now)
    }

    /// What decides which frames are sent next, for the node's state key.
    pub(crate) fn due(&self) -> [([bool; 2], Option<&CausalContext>); 2] {
        let quote = self.quote_due.as_ref();
        [
            ([self.due.is_some(), self.due.is_some_and(|(_, counts)| counts)], None),
            ([quote.is_some(), quote.is_some_and(|due| due.counts)], quote.map(|due| &due.context)),
        ]
    }

    fn told(&self, goal: &SurveyGoal) -> Option<&Prospect> {
        let told = self.told.as_ref().filter(|(number, _)| *number >= goal.number);
        told.map(|(_, prospect)| &**prospect).filter(|told| !goal.counts || told.incoming.is_some())
    }
}

impl Node {
    /// Asks every connected peer what a repair would carry; with `counts`, how much of it. Changes nothing
    /// here or there.
    ///
    /// # Errors
    /// [`WriteError::NoNamespace`].
    pub fn survey_begin(
        &mut self,
        now: Now,
        namespace: NamespaceId,
        counts: bool,
    ) -> Result<SurveyGoal, WriteError> {
        if self.open_space(namespace).is_none() {
            return Err(WriteError::NoNamespace { namespace });
        }
        self.surveys += 1;
        let goal = SurveyGoal { namespace, number: self.surveys, counts };
        self.survey_again(now, &goal);
        Ok(goal)
    }

    /// Asks again who has not told: its connection broke meanwhile, or it came later.
    pub fn survey_again(&mut self, now: Now, goal: &SurveyGoal) {
        for peer in self.peers.values_mut().filter(|peer| peer.connected) {
            let Some(link) = peer.links.get_mut(&goal.namespace) else { continue };
            let surveying = &mut link.surveying;
            if surveying.told(goal).is_none() {
                let (number, counts) = surveying.due.unwrap_or_default();
                surveying.due = Some((number.max(goal.number), counts || goal.counts));
            }
        }
        self.fill_due = true;
        self.fill(now, Touched::Nobody);
    }

    /// What each peer kept has told, ascending by node.
    pub fn survey_check(&self, goal: &SurveyGoal) -> Vec<(NodeId, Surveyed)> {
        let state = |(node, peer): (&NodeId, &Peer)| {
            let told = peer.links.get(&goal.namespace).and_then(|link| link.surveying.told(goal));
            let state = match told {
                _ if !peer.is_up() => Surveyed::Unreachable,
                Some(told) => Surveyed::Told(Box::new(told.clone())),
                None if peer.version < Version::DIFFERENCES => Surveyed::Speaks(peer.version),
                None => Surveyed::Pending,
            };
            (*node, state)
        };
        self.peers.iter().map(state).collect()
    }

    pub(super) fn on_survey(&mut self, peer: NodeId, route: Route, survey: Survey) -> Result<(), FrameError> {
        self.own_events_are_minted(route, &survey.context)?;
        self.link_mut(peer, route.namespace).surveying.quote_due = Some(survey);
        Ok(())
    }

    pub(super) fn on_quote(&mut self, peer: NodeId, route: Route, quote: Quote) -> Result<(), FrameError> {
        self.own_events_are_minted(route, &quote.context)?;
        let Quote { number, root, horizon, links, load, context } = quote;
        let surveying = &mut self.link_mut(peer, route.namespace).surveying;
        if surveying.asked != Some(number) {
            return Ok(()); // late, or never asked for
        }
        surveying.asked = None;
        let items_max = self.config.limits.survey_items_max;
        let store =
            &mut self.spaces.get_mut(&route.namespace).expect("routed frames are of open namespaces").store;
        let prospect = Prospect {
            incoming: load,
            outgoing: load.map(|_| store.load_for(&context, items_max)),
            same_events: context == *store.context() && horizon == store.horizon(),
            same_root: root == store.root(),
            context,
            horizon,
            root,
            links,
        };
        self.link_mut(peer, route.namespace).surveying.told = Some((number, Box::new(prospect)));
        Ok(())
    }

    /// Whoever knows events of this life that it has not minted met another one under its id.
    fn own_events_are_minted(&self, route: Route, theirs: &CausalContext) -> Result<(), FrameError> {
        let store = &self.spaces[&route.namespace].store;
        let (claimed, minted) = (theirs.get(self.replica), store.context().get(self.replica));
        if claimed > minted { Err(FrameError::OwnDots { claimed, minted }) } else { Ok(()) }
    }

    pub(super) fn build_survey(&mut self, peer: NodeId, namespace: NamespaceId) -> bool {
        let speaks = self.peers[&peer].version >= Version::DIFFERENCES;
        let surveying = &mut self.link(peer, namespace).surveying;
        let Some((number, counts)) = surveying.due.take().filter(|_| speaks) else { return false };
        surveying.asked = Some(number);
        let (route, context) = (self.route(peer, namespace), self.spaces[&namespace].store.context().clone());
        let survey = Survey { number, counts, context };
        self.send(peer, namespace, &Frame::Survey(route, survey), Shows::Nothing);
        true
    }

    pub(super) fn build_quote(&mut self, now: Now, peer: NodeId, namespace: NamespaceId) -> bool {
        let pause = self.config.timing.survey_pause;
        let surveying = &self.link(peer, namespace).surveying;
        if surveying.quote_due.is_none() || !self.may_hash(now, peer, namespace) {
            return false;
        }
        let surveying = &mut self.link(peer, namespace).surveying;
        let waits = surveying.waits_until(now.mono).is_some();
        let Some(survey) = surveying.quote_due.take_if(|survey| !(survey.counts && waits)) else {
            return false;
        };
        if survey.counts {
            surveying.quote_at = Some(now.mono + pause);
        }
        let route = self.route(peer, namespace);
        let links = self.peers.values().filter(|peer| peer.is_up()).count() as u64;
        let items_max = self.config.limits.survey_items_max;
        let store = &mut self.spaces.get_mut(&namespace).expect("links are of open namespaces").store;
        let quote = Quote {
            number: survey.number,
            root: store.root(),
            horizon: store.horizon(),
            links,
            load: survey.counts.then(|| store.load_for(&survey.context, items_max)),
            context: store.context().clone(),
        };
        self.send(peer, namespace, &Frame::Quote(route, Box::new(quote)), Shows::State);
        true
    }
}
