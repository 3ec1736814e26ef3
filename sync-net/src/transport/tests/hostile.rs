//! Peers with a valid certificate that break the rules, or only their own queue.

use sync_core::breaker::Failure;

use super::trust::Stranger;
use super::*;
use crate::transport::refusal::in_words;

/// An admitted link of which the test writes the bytes itself.
pub(super) struct Raw {
    _stranger: Stranger,
    pub(super) connection: quinn::Connection,
    /// The urgent one.
    pub(super) stream: quinn::SendStream,
    pub(super) id: NodeId,
}

impl Raw {
    /// Gets admitted by `to` as `identity`.
    pub(super) async fn admitted(to: &mut Side, identity: &Identity) -> Self {
        let stranger = Stranger::new(Some(identity), b"sync/2");
        let connection = stranger.connect(to.transport.local_addr()).await.unwrap();
        let mut stream = connection.open_uni().await.unwrap();
        stream.write_all(&[&[2, 0], &[7; 16][..]].concat()).await.unwrap();
        to.up(identity.node_id()).await;
        Self { _stranger: stranger, connection, stream, id: identity.node_id() }
    }

    pub(super) async fn closed(&self) -> String {
        in_words(&timeout(PATIENCE, self.connection.closed()).await.unwrap())
    }
}

#[tokio::test]
async fn a_length_above_the_limit_closes_the_link_and_both_sides_say_why() {
    let (a, b) = two();
    let mut a = Side::start(config(&a, &[])).await;
    for len in [1_000_001, u32::MAX] {
        let mut raw = Raw::admitted(&mut a, &b).await;
        raw.stream.write_all(&len.to_le_bytes()).await.unwrap();
        let (here, there) = (a.down(raw.id).await, raw.closed().await);
        let wanted = format!("a frame of {len} bytes was announced, the limit is 1000000");
        assert!(here.contains(&wanted) && there.contains(&wanted), "{here} / {there}");
        let last = a.seen.last();
        assert!(
            matches!(last, Some(TransportEvent::Down { failure: Some(Failure::Oversize), .. })),
            "{last:?}"
        );
    }
}

#[tokio::test]
async fn an_empty_frame_and_a_stream_that_ends_inside_one_close_the_link() {
    let (a, b) = two();
    let mut a = Side::start(config(&a, &[])).await;
    let mut raw = Raw::admitted(&mut a, &b).await;
    raw.stream.write_all(&0u32.to_le_bytes()).await.unwrap();
    assert!(a.down(raw.id).await.contains("0 bytes"));
    let mut raw = Raw::admitted(&mut a, &b).await;
    raw.stream.write_all(&[5, 0, 0, 0, 1]).await.unwrap();
    raw.stream.finish().unwrap();
    assert!(a.down(raw.id).await.contains("inside a frame"));
    raw.closed().await;
}

#[tokio::test]
async fn a_frame_that_begins_and_does_not_go_on_closes_the_link_but_silence_between_frames_does_not() {
    let (a, b) = two();
    let mut impatient = config(&a, &[]);
    impatient.frame_stall = Duration::from_millis(200);
    let mut a = Side::start(impatient).await;
    let mut raw = Raw::admitted(&mut a, &b).await;
    raw.stream.write_all(&[2, 0, 0, 0, 1, 1]).await.unwrap();
    assert_eq!(a.frame(raw.id).await, [1, 1]);
    a.watch(Duration::from_millis(500)).await;
    assert!(!a.seen.iter().any(|event| matches!(event, TransportEvent::Down { .. })), "{:?}", a.seen);
    raw.stream.write_all(&[2, 0, 0, 0, 1]).await.unwrap();
    assert!(a.down(raw.id).await.contains("no byte came"));
    raw.closed().await;
}

#[tokio::test]
async fn a_peer_that_says_nothing_after_the_handshake_is_refused() {
    let (a, b) = two();
    let mut impatient = config(&a, &[]);
    impatient.handshake_timeout = Duration::from_millis(500);
    let mut a = Side::start(impatient).await;
    let stranger = Stranger::new(Some(&b), b"sync/1");
    let connection = stranger.connect(a.transport.local_addr()).await.unwrap();
    assert!(a.refused().await.contains("preface"));
    timeout(PATIENCE, connection.closed()).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_stops_reading_fills_its_own_queue_and_send_says_so() {
    let (a, b) = two();
    let mut small = config(&a, &[]);
    small.bounds.outbox_frames_max = 50;
    let mut a = Side::start(small).await;
    // One event fits: the `Up`, which nobody reads. So nothing of the link is read either.
    let mut b = Side::with_events(config(&b, &[a.transport.local_addr()]), 1).await;
    let link = a.up(b.id).await;
    let (mut sent, mut written) = (0u32, 0);
    timeout(PATIENCE, async {
        while a.transport.send(&b.id, link, Class::Urgent, frame(sent)) {
            sent += 1;
            // Room for the writer, which stops only when QUIC's windows are full.
            if sent % 10 == 0 {
                a.watch(Duration::from_millis(20)).await;
            }
        }
    })
    .await
    .expect("the queue fills");
    for event in &a.seen {
        if let TransportEvent::Written { frames, .. } = event {
            written += u32::try_from(*frames).unwrap();
        }
    }
    assert!(sent - written <= 50 + 50 / 8 && written > 0, "sent {sent}, written {written}");
    assert!(a.transport.links().iter().any(|row| row.connected), "the link itself is well");
    // It reads again: everything accepted arrives, in order.
    for n in 0..sent {
        assert_eq!(b.frame(a.id).await, frame(n));
    }
    a.watch(Duration::from_millis(100)).await;
    assert!(a.transport.send(&b.id, link, Class::Urgent, frame(0)));
}

/// 20 kB that tell which frame they are.
fn frame(n: u32) -> Vec<u8> {
    n.to_le_bytes().repeat(5_000)
}

#[tokio::test]
async fn a_configuration_that_cannot_work_does_not_start() {
    let (a, _) = two();
    let mut taken = config(&a, &[]);
    let socket = std::net::UdpSocket::bind(ANY_PORT).unwrap();
    taken.listen = socket.local_addr().unwrap();
    let error = Transport::bind(taken, queues(1).0).await.unwrap_err().to_string();
    assert!(error.contains("cannot listen on UDP 127.0.0.1:"), "{error}");
    let mut odd = config(&a, &[]);
    odd.keep_alive = odd.idle_timeout;
    assert!(Transport::bind(odd, queues(1).0).await.is_err());
}

#[tokio::test]
async fn frames_that_the_engine_has_not_dropped_stop_the_reading_at_the_byte_limit() {
    let (a, b) = two();
    let mut a = Side::start(config(&a, &[])).await;
    let mut narrow = config(&b, &[a.transport.local_addr()]);
    narrow.inbox_bytes_max = 1_000_000;
    let mut b = Side::start(narrow).await;
    let (link, _) = (a.up(b.id).await, b.up(a.id).await);
    for n in 0..100 {
        assert!(a.transport.send(&b.id, link, Class::Urgent, frame(n)));
    }
    // `seen` holds each frame of 20 kB, as a slow engine would.
    for n in 0..50 {
        assert_eq!(b.frame(a.id).await, frame(n));
    }
    b.watch(Duration::from_millis(300)).await;
    let held = b.seen.iter().filter(|event| matches!(event, TransportEvent::Frame { .. })).count();
    assert_eq!(held, 50);
    b.seen.clear();
    for n in 50..100 {
        assert_eq!(b.frame(a.id).await, frame(n));
    }
}
