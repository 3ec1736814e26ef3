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
    assert!(a.down(raw.id).await.contains("came too slowly"));
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

#[tokio::test]
async fn a_frame_that_comes_a_byte_at_a_time_closes_the_link() {
    let (a, b) = two();
    let mut impatient = config(&a, &[]);
    impatient.frame_stall = Duration::from_millis(300);
    let mut a = Side::start(impatient).await;
    let mut raw = Raw::admitted(&mut a, &b).await;
    raw.stream.write_all(&1_000u32.to_le_bytes()).await.unwrap();
    let loris = async {
        // Never silent for as long as a stall may be.
        while raw.stream.write_all(&[1]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    let (down, ()) = tokio::join!(a.down(b.node_id()), loris);
    assert!(down.contains("came too slowly"), "{down}");
}

#[tokio::test]
async fn a_peer_has_two_connections_at_most_and_makes_few_links_a_second() {
    let (a, b) = two();
    let mut a = Side::start(config(&a, &[])).await;
    let to = a.transport.local_addr();
    let linked = Raw::admitted(&mut a, &b).await;
    let stranger = Stranger::new(Some(&b), b"sync/1");
    // The second one says nothing and waits for its time to be over.
    let silent = stranger.connect(to).await.unwrap();
    a.watch(Duration::from_millis(100)).await;
    let third = stranger.refusal(to).await;
    assert!(in_words(&third).contains("2 connections"), "{third}");
    drop(silent);
    drop(linked);
    // Each takes the place of the one before.
    let mut admitted = 1;
    let refused = loop {
        // Somebody reads what the links tell.
        a.watch(Duration::from_millis(5)).await;
        let stranger = Stranger::new(Some(&b), b"sync/1");
        let Ok(connection) = stranger.connect(to).await else { continue };
        let Ok(mut stream) = connection.open_uni().await else { continue };
        let _ = stream.write_all(&[7; 16]).await;
        // Admitted, if a stream comes back.
        match timeout(PATIENCE, connection.accept_uni()).await.unwrap() {
            Ok(_) => admitted += 1,
            Err(error) if in_words(&error).contains("2 connections") => {}
            Err(error) => break in_words(&error),
        }
        assert!(admitted < 200, "nothing bounds how often a peer links");
    };
    assert!(refused.contains("too often"), "{refused}");
    assert!(admitted >= 20, "{admitted}");
}

#[tokio::test]
async fn a_flood_of_questions_is_read_slowly_and_other_peers_do_not_wait() {
    let ca = ClusterCa::create("test").unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| ca.issue(name).unwrap());
    let mut a = Side::start(config(&a, &[])).await;
    let mut raw = Raw::admitted(&mut a, &b).await;
    let mut honest = Side::start(config(&c, &[a.transport.local_addr()])).await;
    let link = {
        a.up(c.node_id()).await;
        honest.up(a.id).await
    };
    // A pull by its kind, and no more: the transport looks at no more of it.
    let flood = async move {
        let pulls = [2, 0, 0, 0, 2, 5].repeat(1_000);
        while raw.stream.write_all(&pulls).await.is_ok() {}
    };
    let flood = tokio::spawn(flood);
    a.watch(Duration::from_secs(1)).await;
    assert!(honest.transport.send(&a.id, link, Class::Urgent, vec![9]));
    assert_eq!(a.frame(c.node_id()).await, [9]);
    let of_flood =
        |event: &&TransportEvent| matches!(event, TransportEvent::Frame { peer, .. } if *peer == b.node_id());
    let came = a.seen.iter().filter(of_flood).count();
    assert!((200..1_000).contains(&came), "{came} pulls came in a second or so");
    let down = a.down(b.node_id()).await;
    assert!(down.contains("20 pulls a second"), "{down}");
    let last = a.seen.last();
    assert!(matches!(last, Some(TransportEvent::Down { failure: Some(Failure::Violation), .. })), "{last:?}");
    flood.abort();
}

/// DESIGN section 6 lists them; QUIC's own defaults cost a hundred times as much.
#[tokio::test]
async fn every_limit_of_quic_is_set() {
    let (a, _) = two();
    let (endpoint, tls) = crate::transport::endpoint::open(&config(&a, &[])).unwrap();
    drop(endpoint);
    let shown = format!("{:?} {:?}", tls.server, tls.server.transport);
    for set in [
        "max_concurrent_bidi_streams: 8",
        "max_concurrent_uni_streams: 4",
        "stream_receive_window: 262144",
        "receive_window: 1048576",
        "send_window: 1048576",
        "datagram_receive_buffer_size: None",
        "datagram_send_buffer_size: 65536",
        "max_idle_timeout: Some(30000)",
        "max_incoming: 256",
        "incoming_buffer_size: 65536",
        "incoming_buffer_size_total: 4194304",
        "migration: false",
    ] {
        assert!(shown.contains(set), "{set} is not in {shown}");
    }
}

#[tokio::test]
async fn peers_are_told_that_no_datagram_is_taken() {
    let (a, b) = two();
    let mut a = Side::start(config(&a, &[])).await;
    let raw = Raw::admitted(&mut a, &b).await;
    assert_eq!(raw.connection.max_datagram_size(), None, "an honest peer knows that it may not");
}
