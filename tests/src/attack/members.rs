//! The scripts of a member: a valid certificate, and no manners. Each goes on for ever; who runs it ends it.

use std::time::Duration;

use rand::RngExt as _;
use sync_core::causal::{CausalContext, DotSet};
use sync_core::class::Class;
use sync_core::dictionary::Route;
use sync_core::id::{NamespaceId, ReplicaId, StateId};
use sync_core::message::{Ack, Dialect, Frame, Pull, Root, Survey};
use sync_core::time::WallMillis;

use super::client::{Attacker, BYE, framed};
use super::{Alpn, Counts, lanes};

/// The longest frame that a node takes by default.
pub(super) const LONGEST: u32 = 1_000_000;

/// Frames that are written at once by those who write many.
pub(super) const BATCH: usize = 200;

/// A clock that no honest machine shows: some years ahead.
const FAR_AHEAD: WallMillis = WallMillis(4_000_000_000_000);

pub(super) async fn run(script: &str, attacker: Attacker) {
    loop {
        match script {
            "garbage" => garbage(&attacker).await,
            "huge-length" => announces(&attacker, u32::MAX, 0).await,
            "oversize" => announces(&attacker, LONGEST + 1, 2 << 20).await,
            "slow-loris" => slow_loris(&attacker).await,
            "stalled-frame" => stalled(&attacker).await,
            "reads-nothing" => reads_nothing(&attacker).await,
            "streams" => streams(&attacker).await,
            "malformed" => malformed(&attacker).await,
            "foreign" => foreign(&attacker).await,
            "replay" => replay(&attacker).await,
            "reconnect" => attacker.link().await.connection.close(BYE, b""),
            "silent" => silent(&attacker).await,
            "datagrams" => datagrams(&attacker).await,
            "clock-lies" => clock_lies(&attacker).await,
            "namespaces" => lanes::namespaces(&attacker).await,
            "all-lanes" => lanes::all_lanes(&attacker).await,
            "greeter" => lanes::greeter(&attacker).await,
            "changing-incarnation" => lanes::changing_incarnation(&attacker).await,
            "member" => lanes::member(&attacker).await,
            "puller" => lanes::puller(&attacker).await,
            flood => floods(&attacker, flood).await,
        }
    }
}

async fn garbage(attacker: &Attacker) {
    let mut link = attacker.link().await;
    while link.write(&noise()).await {}
}

/// Short frames of random bytes: the framing holds, and nothing else does.
pub(super) fn noise() -> Vec<u8> {
    let mut rng = rand::rng();
    let one = |_| {
        let len = rng.random_range(1..100);
        framed(&(0..len).map(|_| rng.random()).collect::<Vec<u8>>())
    };
    (0..BATCH).flat_map(one).collect()
}

async fn announces(attacker: &Attacker, len: u32, more: usize) {
    let mut link = attacker.link().await;
    if link.write(&len.to_le_bytes()).await && link.write(&vec![0; more]).await {
        attacker.counts.ended(&link.connection.closed().await.to_string());
    }
}

async fn slow_loris(attacker: &Attacker) {
    let mut link = attacker.link().await;
    let mut alive = link.write(&LONGEST.to_le_bytes()).await;
    while alive {
        alive = link.write(&[0]).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn stalled(attacker: &Attacker) {
    let mut link = attacker.link().await;
    if link.write(&LONGEST.to_le_bytes()).await && link.write(&[0; 500_000]).await {
        attacker.counts.ended(&link.connection.closed().await.to_string());
    }
}

pub(super) fn pull(route: Route) -> Frame {
    let pull = Pull {
        context: CausalContext::default(),
        horizon: WallMillis(0),
        listing: false,
        have: DotSet::default(),
    };
    Frame::Pull(route, pull)
}

fn root(route: Route, head: u64, clock: Option<WallMillis>) -> Frame {
    let state = StateId(rand::random());
    let root =
        Root { state, head, clock, behind: true, neighbour: true, wants_reply: true, wants_whole: true };
    Frame::Root(route, root)
}

pub(super) fn bytes_of(frame: &Frame) -> Vec<u8> {
    framed(&frame.encode(&Dialect::default()))
}

async fn reads_nothing(attacker: &Attacker) {
    let mut link = attacker.link().await;
    let Some(route) = link.greet(&attacker.me, WallMillis(0)).await else { return };
    let pulls = link.routes(route).into_iter().flat_map(|route| bytes_of(&pull(route))).collect::<Vec<u8>>();
    while link.write(&pulls).await {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn streams(attacker: &Attacker) {
    let link = attacker.link().await;
    let bidi = link.connection.clone();
    let fill = vec![0xa5; 300 << 10];
    let counts = &attacker.counts;
    let unis = async {
        let mut open = Vec::new();
        // Where streams have heads, those that it may open, so that these do not end it.
        let mut classes = vec![Class::Normal, Class::Bulk];
        while attacker.alpn() == Alpn::Sync1 || !classes.is_empty() {
            let class = classes.pop().unwrap_or(Class::Normal);
            let Some(mut stream) = link.open(class).await else { break };
            Counts::add(&counts.sent);
            let _ = tokio::time::timeout(Duration::from_millis(100), stream.write_all(&fill)).await;
            open.push(stream);
        }
    };
    let bidis = async {
        let mut open = Vec::new();
        while let Ok((mut stream, _recv)) = bidi.open_bi().await {
            Counts::add(&counts.sent);
            let _ = tokio::time::timeout(Duration::from_millis(100), stream.write_all(&fill)).await;
            open.push((stream, _recv));
        }
    };
    tokio::join!(unis, bidis);
    counts.ended(&link.connection.closed().await.to_string());
}

/// One frame as fast as the link takes it; what the node answers is read and dropped.
async fn floods(attacker: &Attacker, what: &str) {
    let mut link = attacker.link().await;
    let Some(route) = link.greet(&attacker.me, WallMillis(0)).await else { return };
    let frame = match what {
        "hello-flood" => link.hello(&attacker.me, route.from, WallMillis(0)),
        "root-flood" => root(route, 1, None),
        "survey-flood" => {
            let survey = Survey { number: 1, counts: true, context: CausalContext::default() };
            Frame::Survey(route, survey)
        }
        "acks" => Frame::Ack(route, Ack { hi: None, known: CausalContext::default() }),
        _ => pull(route),
    };
    let batch = bytes_of(&frame).repeat(BATCH);
    let mut frames = link.listen();
    let reading = async {
        while let Some(frames) = &mut frames
            && frames.next().await.is_some()
        {}
        std::future::pending::<()>().await;
    };
    let greets = matches!(frame, Frame::Hello(_));
    let writing =
        async { while if greets { link.write_urgent(&batch).await } else { link.write(&batch).await } {} };
    tokio::select! {
        () = reading => {}
        () = writing => {}
    }
}

async fn malformed(attacker: &Attacker) {
    let mut link = attacker.link().await;
    let Some(route) = link.greet(&attacker.me, WallMillis(0)).await else { return };
    let mut context = CausalContext::default();
    context.advance(route.from, 7);
    let seeds = [
        Frame::Pull(
            route,
            Pull { context: context.clone(), horizon: WallMillis(0), listing: true, have: DotSet::default() },
        ),
        Frame::Ack(route, Ack { hi: Some(u64::MAX - 1), known: context }),
        root(route, u64::MAX, None),
    ]
    .map(|frame| frame.encode(&Dialect::default()));
    loop {
        let batch: Vec<u8> = {
            let mut rng = rand::rng();
            let one = |_| {
                let mut bytes = seeds[rng.random_range(0..seeds.len())].clone();
                for _ in 0..rng.random_range(1..5) {
                    let at = rng.random_range(1..bytes.len());
                    bytes[at] ^= 1 << rng.random_range(0..8);
                }
                framed(&bytes)
            };
            (0..BATCH).flat_map(one).collect()
        };
        if !link.write(&batch).await {
            return;
        }
    }
}

async fn foreign(attacker: &Attacker) {
    let mut link = attacker.link().await;
    let Some(route) = link.greet(&attacker.me, WallMillis(0)).await else { return };
    loop {
        let strangers = (0..BATCH).map(|at| {
            let (namespace, to) = match at % 2 {
                0 => (NamespaceId(rand::random()), route.to),
                _ => (route.namespace, ReplicaId(rand::random())),
            };
            bytes_of(&root(Route { namespace, to, ..route }, 1, None))
        });
        let batch: Vec<u8> = strangers.flatten().collect();
        if !link.write(&batch).await {
            return;
        }
    }
}

async fn replay(attacker: &Attacker) {
    let mut link = attacker.link().await;
    let Some(route) = link.greet(&attacker.me, WallMillis(0)).await else { return };
    let mut seen = bytes_of(&pull(route));
    if !link.write(&seen).await {
        return;
    }
    loop {
        // Its greetings are left out: they name another node, and that alone would end it.
        if let Ok(Some(frame)) = tokio::time::timeout(Duration::from_millis(1), link.read()).await
            && seen.len() < 1 << 20
            && frame.get(1) != Some(&1)
        {
            seen.extend(framed(&frame));
        }
        if !link.write(&seen).await {
            return;
        }
    }
}

async fn silent(attacker: &Attacker) {
    let connection = attacker.connect().await;
    attacker.counts.ended(&connection.closed().await.to_string());
}

async fn datagrams(attacker: &Attacker) {
    let link = attacker.link().await;
    let Some(max) = link.connection.max_datagram_size() else {
        // quinn sends none to who takes none.
        attacker.counts.ended("the node takes no datagrams");
        return tokio::time::sleep(Duration::from_secs(1)).await;
    };
    let bytes: Vec<u8> = vec![0xa5; max.min(1_100)];
    while link.connection.send_datagram_wait(bytes.clone().into()).await.is_ok() {
        Counts::add(&attacker.counts.sent);
    }
    attacker.counts.ended(&link.connection.closed().await.to_string());
}

async fn clock_lies(attacker: &Attacker) {
    let mut link = attacker.link().await;
    let Some(route) = link.greet(&attacker.me, FAR_AHEAD).await else { return };
    loop {
        let ahead = Frame::Pull(
            route,
            Pull {
                context: CausalContext::default(),
                horizon: FAR_AHEAD,
                listing: false,
                have: DotSet::default(),
            },
        );
        let hello = bytes_of(&link.hello(&attacker.me, route.from, FAR_AHEAD));
        let batch = [bytes_of(&root(route, 1, Some(FAR_AHEAD))), bytes_of(&ahead)].concat();
        if !link.write_urgent(&hello.repeat(10)).await || !link.write(&batch.repeat(10)).await {
            return;
        }
    }
}
