//! The scripts of a member that go to the streams of all classes, or keep just within what a peer may ask and so go on for
//! ever.

use std::collections::BTreeSet;
use std::time::Duration;

use sync_core::id::{NamespaceId, ReplicaId};
use sync_core::message::Namespaces;
use sync_core::time::WallMillis;
use tokio::time::{MissedTickBehavior, interval};

use super::Counts;
use super::client::{Attacker, Link, hello_with};
use super::members::{LONGEST, bytes_of, noise, pull};

/// Most namespaces that a greeting lists in each of its two lists.
const NAMESPACES_TOLD: usize = 256;

/// Greetings a second, a little below what a node answers for long (`transport/budget.rs`), and how many go at once.
const GREETINGS: (u32, u32) = (48, 2);

/// Lives that a node takes on one connection (`node/effort.rs` of the core).
const LIVES: u32 = 4;

/// Pulls a second; likewise.
const PULLS_PER_SECOND: u32 = 19;

/// How long frames stall before garbage follows.
const STALL: Duration = Duration::from_secs(3);

/// Random ids of namespaces, as many as a list has room for beside `own`.
fn strange(own: &[NamespaceId]) -> BTreeSet<NamespaceId> {
    let mut ids: BTreeSet<NamespaceId> = own.iter().copied().collect();
    while ids.len() < NAMESPACES_TOLD {
        ids.insert(NamespaceId(rand::random()));
    }
    ids
}

/// Sends what `next` makes, `at_once` at a time and `per_second` in all, and reads what comes back; until the link ends, or
/// there is no more.
async fn steadily(
    mut link: Link,
    is_urgent: bool,
    (per_second, at_once): (u32, u32),
    mut next: impl FnMut(&Link) -> Vec<u8>,
) {
    let mut frames = link.listen();
    let reading = async {
        while let Some(frames) = &mut frames
            && frames.next().await.is_some()
        {}
        std::future::pending::<()>().await;
    };
    let writing = async {
        let mut tick = interval(Duration::from_secs(1) * at_once / per_second);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let batch: Vec<u8> = (0..at_once).flat_map(|_| next(&link)).collect();
            if batch.is_empty() {
                return;
            }
            let goes_on = if is_urgent { link.write_urgent(&batch).await } else { link.write(&batch).await };
            if !goes_on {
                return;
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = writing => {}
    }
}

pub(super) async fn namespaces(attacker: &Attacker) {
    let mut link = attacker.link().await;
    let Some(route) = link.greet(&attacker.me, WallMillis(0)).await else { return };
    let mut turn = 0_u32;
    steadily(link, true, GREETINGS, |link| {
        // What the node itself exchanges is open, closed and gone in turns, so that links come and go.
        turn = turn.wrapping_add(1);
        let (open, closed) = match turn % 3 {
            0 => (strange(&link.others), strange(&[])),
            1 => (strange(&[]), strange(&link.others)),
            _ => (strange(&[]), strange(&[])),
        };
        bytes_of(&hello_with(&attacker.me, route.from, WallMillis(0), Namespaces { open, closed }))
    })
    .await;
}

/// What the others are to be compared with: each peer that shares a namespace is told what has been learned in it.
pub(super) async fn member(attacker: &Attacker) {
    let mut link = attacker.link().await;
    if link.greet(&attacker.me, WallMillis(0)).await.is_none() {
        return;
    }
    Counts::add(&attacker.counts.sent);
    while link.read().await.is_some() {}
    attacker.counts.ended(&link.connection.closed().await.to_string());
}

pub(super) async fn greeter(attacker: &Attacker) {
    let mut link = attacker.link().await;
    let Some(route) = link.greet(&attacker.me, WallMillis(0)).await else { return };
    let hello = bytes_of(&link.hello(&attacker.me, route.from, WallMillis(0)));
    steadily(link, true, GREETINGS, |_| hello.clone()).await;
}

pub(super) async fn changing_incarnation(attacker: &Attacker) {
    let mut link = attacker.link().await;
    if link.greet(&attacker.me, WallMillis(0)).await.is_none() {
        return;
    }
    let mut lives = 1;
    // As many as are taken, then another link; one more would be a breach.
    steadily(link, true, GREETINGS, |link| {
        lives += 1;
        if lives > LIVES {
            return Vec::new();
        }
        bytes_of(&link.hello(&attacker.me, ReplicaId(rand::random()), WallMillis(0)))
    })
    .await;
}

pub(super) async fn puller(attacker: &Attacker) {
    let mut link = attacker.link().await;
    let Some(route) = link.greet(&attacker.me, WallMillis(0)).await else { return };
    let mut routes = link.routes(route).into_iter().cycle();
    steadily(link, false, (PULLS_PER_SECOND, 1), |_| {
        routes.next().map_or_else(Vec::new, |route| bytes_of(&pull(route)))
    })
    .await;
}

/// First the longest frame on each stream, all but its last byte, so that each is kept; then garbage on each, as fast as
/// it is taken.
pub(super) async fn all_lanes(attacker: &Attacker) {
    let mut link = attacker.link().await;
    if link.greet(&attacker.me, WallMillis(0)).await.is_none() {
        return;
    }
    let Some((connection, mut lanes)) = link.into_lanes().await else { return };
    let mut begun = LONGEST.to_le_bytes().to_vec();
    begun.resize(begun.len() + LONGEST as usize - 1, 0);
    for lane in &mut lanes {
        if lane.write_all(&begun).await.is_err() {
            return;
        }
        Counts::add(&attacker.counts.sent);
    }
    let stalled = tokio::time::timeout(STALL, connection.closed()).await;
    let mut garbage = vec![0];
    while stalled.is_err() {
        for lane in &mut lanes {
            if lane.write_all(&garbage).await.is_err() {
                return attacker.counts.ended(&connection.closed().await.to_string());
            }
        }
        Counts::add(&attacker.counts.sent);
        garbage = noise();
    }
}
