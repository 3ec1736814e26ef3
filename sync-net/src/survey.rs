//! What a repair with each peer would move, in words and numbers; nothing moves.
//!
//! The core asks the peers and counts ([`sync_core::node::Node::survey_begin`]); this file waits for
//! their answers and names the peers that gave none.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sync_core::id::NodeId;
use sync_core::node::{SurveyGoal, Surveyed};
use sync_core::store::Load;

use crate::converge::{self, ConvergeError};
use crate::namespace::Namespace;
use crate::node::{Phase, Shared};
use crate::transport::LinkStatus;

/// Who has not told is asked again this often: its connection broke, or it came later.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// While waiting, the answers are looked at this often even if no frame arrives.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What repairs would move. Each peer is asked by itself: what two of them would send is counted twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SurveyReport {
    /// This node's Merkle root, in hex.
    pub root: String,
    /// Every configured and every connected peer.
    pub peers: Vec<PeerSurvey>,
}

/// What a repair with one peer would move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerSurvey {
    /// Its node id, in hex; `None` if it was never reached.
    pub peer: Option<String>,
    /// The name in its certificate.
    pub name: Option<String>,
    /// Where it is, or should be.
    pub address: String,
    /// What it told; `None` if it did not.
    pub told: Option<Movement>,
    /// Why it told nothing, in words.
    pub reason: Option<String>,
}

/// What a repair would move between this node and one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Movement {
    /// From the peer to this node.
    pub receive: Amount,
    /// From this node to the peer.
    pub send: Amount,
    /// True if both know the same events.
    pub same_events: bool,
    /// True if the Merkle roots are equal. If the events are the same and the roots are not, one side is
    /// damaged.
    pub roots_equal: bool,
}

/// What one answer would carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Events, among them those whose write is no longer live.
    pub events: u64,
    /// Keys, of each type.
    pub keys: u64,
    /// Items: elements, fields and counter rows, each concurrent write by itself.
    pub items: u64,
    /// Bytes of the items' keys, paths and values.
    pub bytes: u64,
    /// True if counting ended at its limit: keys, items and bytes are at least this.
    pub at_least: bool,
}

impl From<Load> for Amount {
    fn from(load: Load) -> Self {
        let Load { events, objects, items, bytes, is_partial } = load;
        Self { events, keys: objects, items, bytes, at_least: is_partial }
    }
}

/// What each peer answered, ascending by node.
pub(crate) type Answers = Vec<(NodeId, Surveyed)>;

/// Surveys every connected peer until all have answered that can, or `until` has come.
pub(crate) async fn round(
    namespace: &Namespace,
    counts: bool,
    until: Instant,
) -> Result<Answers, ConvergeError> {
    let shared = namespace.shared();
    let goal = {
        let mut core = shared.core();
        let goal = core.survey_begin(shared.clock.now(), namespace.id(), counts);
        // The only thing that it refuses.
        goal.map_err(|_| namespace.closed())?
    };
    shared.work.notify_one();
    let mut again = Instant::now() + ASK_AGAIN;
    loop {
        // Armed before the look, so that progress in between is not missed.
        let mut progress = std::pin::pin!(shared.progress.notified());
        progress.as_mut().enable();
        let (answers, statuses) = {
            let core = shared.core();
            (core.survey_check(&goal), core.peers(namespace.id()))
        };
        if *shared.phase.borrow() >= Phase::Closing {
            return Err(ConvergeError::Closed);
        }
        let now = Instant::now();
        if now >= until || !is_awaited(&shared.links(), &answers, &converge::without(&statuses)) {
            return Ok(answers);
        }
        if now >= again {
            again = now + ASK_AGAIN;
            ask_again(shared, &goal);
        }
        // Over in any case: then we look again.
        let _ = tokio::time::timeout(LOOK_AGAIN.min(until - now), progress).await;
    }
}

fn ask_again(shared: &Shared, goal: &SurveyGoal) {
    shared.core().survey_again(shared.clock.now(), goal);
    shared.work.notify_one();
}

/// True while a linked peer may still answer.
fn is_awaited(links: &[LinkStatus], answers: &[(NodeId, Surveyed)], without: &BTreeSet<NodeId>) -> bool {
    let shares = |link: &&LinkStatus| link.connected && link.id.is_none_or(|id| !without.contains(&id));
    links.iter().filter(shares).any(|link| {
        let answer = answers.iter().find(|(node, _)| Some(*node) == link.id);
        !matches!(answer, Some((_, Surveyed::Told(_) | Surveyed::Speaks(_))))
    })
}

/// Why a peer has told nothing, in words.
pub(crate) fn why_silent(link: &LinkStatus, answer: Option<&Surveyed>) -> String {
    match answer {
        _ if !link.connected => converge::why_not_connected(link),
        Some(Surveyed::Speaks(version)) => {
            format!("cannot tell: speaks version {}; update that node", version.0)
        }
        Some(Surveyed::Unreachable) | None => "connected, has not introduced itself yet".to_owned(),
        Some(Surveyed::Pending | Surveyed::Told(_)) => "connected, has not answered yet".to_owned(),
    }
}

/// See [`crate::Node::survey`].
pub(crate) async fn survey(namespace: &Namespace, timeout: Duration) -> Result<SurveyReport, ConvergeError> {
    let answers = round(namespace, true, Instant::now() + timeout).await?;
    let shared = namespace.shared();
    let statuses = shared.core().peers(namespace.id());
    shared.divergence.note(namespace.id(), &answers, &statuses);
    let root = shared.core().root(namespace.id()).ok_or_else(|| namespace.closed())?;
    let (links, without) = (shared.links(), converge::without(&statuses));
    let counted = links.iter().filter(|link| link.configured || link.connected);
    Ok(SurveyReport {
        root: crate::inspect::hex(&root.0),
        peers: counted.map(|link| peer_survey(link, &answers, &without)).collect(),
    })
}

fn peer_survey(link: &LinkStatus, answers: &[(NodeId, Surveyed)], without: &BTreeSet<NodeId>) -> PeerSurvey {
    let lacks_it = link.id.is_some_and(|id| without.contains(&id));
    let answer = answers.iter().find(|(node, _)| Some(*node) == link.id).map(|(_, answer)| answer);
    let told = match answer {
        Some(Surveyed::Told(told)) if link.connected => Some(Movement {
            receive: told.incoming.map(Amount::from).unwrap_or_default(),
            send: told.outgoing.map(Amount::from).unwrap_or_default(),
            same_events: told.same_events,
            roots_equal: told.same_root,
        }),
        Some(_) | None => None,
    };
    PeerSurvey {
        peer: link.id.map(|id| id.to_hex()),
        name: link.name.clone(),
        address: link.addr.clone(),
        reason: told.is_none().then(|| match lacks_it {
            true => "connected, does not have the namespace open".to_owned(),
            false => why_silent(link, answer),
        }),
        told,
    }
}
