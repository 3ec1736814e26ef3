//! Convergence of all nodes that this one is linked with, not only with this one.
//!
//! What counts is the union of what every node knew when it was first asked. All are asked again until
//! each of them, this one too, has said in one round that it knows all of that, so that each fulfils the
//! definition of DESIGN section 5 towards every other. State is a function of the context: nodes that say
//! the same context must show the same root, and one that does not is named. This node exchanges roots
//! with all meanwhile, so that what only one of them knows passes through here.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sync_core::causal::CausalContext;
use sync_core::id::NodeId;
use sync_core::node::{Input, PeerStatus, Prospect, Surveyed};

use super::{AskAgain, ConvergeError, ConvergedPeer, PendingPeer};
use crate::namespace::Namespace;
use crate::survey::{self, Answers};
use crate::transport::LinkStatus;

/// A round ends after this time even if a peer has not answered: the next one asks for what holds then.
const ROUND: Duration = Duration::from_secs(1);

/// Every node linked with this one holds what any of them held when it was asked first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterReport {
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// This node's Merkle root at the end, in hex.
    pub root: String,
    /// This node's state id at the end, in hex: equal ids, identical stores.
    pub state_id: String,
    /// The other nodes.
    pub peers: Vec<ConvergedPeer>,
    /// Of these, the node ids of those with more links than there are nodes seen from here: some nodes were
    /// not asked.
    pub links_elsewhere: Vec<String>,
    /// Nodes that were linked before, are not now, and are not configured here: nobody waited for them.
    pub away: Vec<String>,
}

/// What the nodes knew when each was asked first.
#[derive(Debug)]
struct Known {
    context: CausalContext,
    asked: BTreeSet<NodeId>,
}

impl Known {
    /// Adds what nodes knew that had not been asked before.
    fn add(&mut self, answers: &Answers) {
        for (node, answer) in answers {
            if let Surveyed::Told(told) = answer
                && self.asked.insert(*node)
            {
                self.context.join(&told.context);
            }
        }
    }
}

/// Waits, see [`crate::Node::converge_cluster`].
pub(crate) async fn converge(
    namespace: &Namespace,
    timeout: Duration,
) -> Result<ClusterReport, ConvergeError> {
    let begun = Instant::now();
    let shared = namespace.shared();
    let context = own_context(namespace);
    let (mut known, mut again) = (Known { context, asked: BTreeSet::new() }, AskAgain::after(begun));
    loop {
        let until = begun + timeout;
        let answers = survey::round(namespace, false, until.min(Instant::now() + ROUND)).await?;
        known.add(&answers);
        let own = own_context(namespace);
        let statuses = shared.core().peers(namespace.id());
        let mut assessed = assess(&shared.links(), &answers, &statuses, &known.context);
        if !own.covers(&known.context) {
            assessed.pending.push(PendingPeer {
                peer: Some(shared.id.to_hex()),
                address: shared.listen.to_string(),
                reason: format!("this node, {}", lacks(&known.context, &own)),
            });
        }
        if assessed.pending.is_empty() {
            return report(namespace, begun, assessed);
        }
        let elapsed = begun.elapsed();
        if elapsed >= timeout {
            return Err(ConvergeError::TimedOut { after: elapsed, pending: assessed.pending });
        }
        let now = Instant::now();
        if again.is_due(now) {
            shared.core().handle(shared.clock.now(), Input::SyncNow);
            shared.work.notify_one();
        }
        tokio::time::sleep(again.pause(now).min(timeout - elapsed)).await;
    }
}

fn own_context(namespace: &Namespace) -> CausalContext {
    let shared = namespace.shared();
    shared.store(&shared.core(), namespace.id()).context().clone()
}

fn lacks(goal: &CausalContext, context: &CausalContext) -> String {
    format!("lacks {} events that were known when this began", goal.minus(context).len())
}

/// Who is there, who is not, and who does not count.
#[derive(Debug, Default)]
struct Assessed {
    done: Vec<ConvergedPeer>,
    pending: Vec<PendingPeer>,
    links_elsewhere: Vec<String>,
    away: Vec<String>,
}

fn assess(
    links: &[LinkStatus],
    answers: &Answers,
    statuses: &[PeerStatus],
    goal: &CausalContext,
) -> Assessed {
    let without = super::without(statuses);
    let mut assessed = Assessed::default();
    let told: Vec<(NodeId, &Prospect)> = answers.iter().filter_map(told).collect();
    let counts = |link: &&LinkStatus| {
        (link.configured || link.connected) && link.id.is_none_or(|id| !without.contains(&id))
    };
    for link in links.iter().filter(counts) {
        let answer = answers.iter().find(|(node, _)| Some(*node) == link.id);
        let reason = match answer.and_then(|answer| told_by(answer, link)) {
            Some((_, prospect)) if !prospect.context.covers(goal) => {
                Some(format!("connected, {}", lacks(goal, &prospect.context)))
            }
            Some((node, prospect)) => disagrees(node, prospect, &told),
            None => Some(survey::why_silent(link, answer.map(|(_, answer)| answer))),
        };
        let peer = link.id.map(|id| id.to_hex());
        match (reason, peer) {
            (None, Some(peer)) => {
                let (name, address) = (link.name.clone(), link.addr.clone());
                assessed.done.push(ConvergedPeer { peer, name, address });
            }
            (reason, peer) => assessed.pending.push(PendingPeer {
                peer,
                address: link.addr.clone(),
                reason: reason.unwrap_or_else(|| "connected, has not introduced itself yet".to_owned()),
            }),
        }
    }
    let seen = told.len() as u64;
    let elsewhere = told.iter().filter(|(_, prospect)| prospect.links > seen);
    assessed.links_elsewhere = elsewhere.map(|(node, _)| node.to_hex()).collect();
    let linked = |node: &NodeId| links.iter().any(|link| link.id == Some(*node));
    let away = answers.iter().filter(|(node, _)| !linked(node));
    assessed.away = away.map(|(node, _)| node.to_hex()).collect();
    assessed
}

fn told((node, answer): &(NodeId, Surveyed)) -> Option<(NodeId, &Prospect)> {
    match answer {
        Surveyed::Told(prospect) => Some((*node, prospect)),
        Surveyed::Pending | Surveyed::Speaks(_) | Surveyed::Unreachable => None,
    }
}

fn told_by<'a>(answer: &'a (NodeId, Surveyed), link: &LinkStatus) -> Option<(NodeId, &'a Prospect)> {
    told(answer).filter(|_| link.connected)
}

/// Names a node that knows the same events and holds another state.
fn disagrees(node: NodeId, prospect: &Prospect, told: &[(NodeId, &Prospect)]) -> Option<String> {
    let same_events = |other: &Prospect| {
        other.context == prospect.context && other.horizon == prospect.horizon && other.root != prospect.root
    };
    let other = told.iter().find(|(other, with)| *other != node && same_events(with));
    let whom = match other {
        _ if prospect.same_events && !prospect.same_root => "this node".to_owned(),
        Some((other, _)) => other.short(),
        None => return None,
    };
    Some(format!(
        "connected, knows the same events as {whom} and holds another state: damage or a bug; `sync-cli diff` shows \
         where"
    ))
}

fn report(namespace: &Namespace, begun: Instant, assessed: Assessed) -> Result<ClusterReport, ConvergeError> {
    let (root, state_id) = super::state(namespace)?;
    Ok(ClusterReport {
        elapsed_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        root,
        state_id,
        peers: assessed.done,
        links_elsewhere: assessed.links_elsewhere,
        away: assessed.away,
    })
}
