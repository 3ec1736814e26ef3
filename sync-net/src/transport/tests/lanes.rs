//! The streams of a link: what is urgent is held up by nothing else, and nothing comes before the greeting.

use sync_core::breaker::Failure;

use super::hostile::Raw;
use super::trust::Stranger;
use super::*;

/// 20 kB that tell which frame they are.
fn frame(n: u32) -> Vec<u8> {
    n.to_le_bytes().repeat(5_000)
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Nobody takes what comes on the other two streams until both are full as far as they go, windows and all.
#[tokio::test]
async fn an_urgent_frame_overtakes_stalled_lanes_of_both_other_classes() {
    let (a, b) = two();
    let mut a = Side::start(config(&a, &[])).await;
    // Two events of a class fit.
    let mut b = Side::with_events(config(&b, &[a.transport.local_addr()]), 2).await;
    let (link, _) = (a.up(b.id).await, b.up(a.id).await);
    assert!(a.transport.send(&b.id, link, Class::Urgent, b"hello".to_vec()));
    assert_eq!(b.classed(a.id).await, (Class::Urgent, b"hello".to_vec()));
    let sent = 100;
    for n in 0..sent {
        for class in [Class::Normal, Class::Bulk] {
            assert!(a.transport.send(&b.id, link, class, frame(n)));
        }
    }
    let waiting = |side: &Side| side.transport.links()[0].queued_frames;
    for class in [Class::Normal, Class::Bulk] {
        eventually("the lane is full at the receiver", || b.events.waiting(class) == 2).await;
    }
    // Long enough for what still moves to stop at the windows.
    a.watch(Duration::from_millis(300)).await;
    let stalled = waiting(&a);
    a.watch(Duration::from_millis(300)).await;
    assert!(stalled > 2 * 50 && waiting(&a) == stalled, "{stalled} frames wait, then {}", waiting(&a));

    assert!(a.transport.send(&b.id, link, Class::Urgent, b"now".to_vec()));
    eventually("the urgent frame is there", || b.events.waiting(Class::Urgent) == 1).await;
    assert_eq!(waiting(&a), stalled, "nothing else moved");
    assert_eq!(b.classed(a.id).await, (Class::Urgent, b"now".to_vec()), "and it is given out first");

    // It reads again: everything comes, each lane in its order.
    let mut next = [0; 2];
    for _ in 0..2 * sent {
        let (class, bytes) = b.classed(a.id).await;
        let at = usize::from(class == Class::Bulk);
        assert_eq!(bytes, frame(next[at]), "of class {class}");
        next[at] += 1;
    }
    assert_eq!(next, [sent; 2]);
}

#[tokio::test]
async fn frames_of_other_classes_wait_for_the_greeting_and_not_for_ever() {
    let (a, b) = two();
    let mut impatient = config(&a, &[]);
    impatient.handshake_timeout = Duration::from_secs(2);
    let mut a = Side::start(impatient).await;
    let mut raw = Raw::admitted(&mut a, &b).await;
    let mut bulk = raw.connection.open_uni().await.unwrap();
    bulk.write_all(&[2, 2, 1, 0, 0, 0, 9]).await.unwrap();
    a.watch(Duration::from_millis(300)).await;
    assert!(!a.seen.iter().any(|event| matches!(event, TransportEvent::Frame { .. })), "{:?}", a.seen);
    raw.stream.write_all(&[1, 0, 0, 0, 1]).await.unwrap();
    assert_eq!(a.classed(raw.id).await, (Class::Urgent, vec![1]));
    assert_eq!(a.classed(raw.id).await, (Class::Bulk, vec![9]));
    drop(raw);

    let raw = Raw::admitted(&mut a, &b).await;
    let mut bulk = raw.connection.open_uni().await.unwrap();
    bulk.write_all(&[2, 2, 1, 0, 0, 0, 9]).await.unwrap();
    assert!(a.down(raw.id).await.contains("no greeting"));
    let last = a.seen.last();
    assert!(matches!(last, Some(TransportEvent::Down { failure: Some(Failure::TimedOut), .. })), "{last:?}");
}

#[tokio::test]
async fn a_stream_that_names_no_class_or_a_class_that_is_open_closes_the_link() {
    let (a, b) = two();
    let mut a = Side::start(config(&a, &[])).await;
    for (heads, wanted) in [
        (vec![[2, 3]], "version 2 and class 3"),
        (vec![[7, 1]], "version 7 and class 1"),
        (vec![[2, 0]], "a second stream of class urgent"),
        (vec![[2, 2], [2, 2]], "a second stream of class bulk"),
    ] {
        let raw = Raw::admitted(&mut a, &b).await;
        let mut streams = Vec::new();
        for head in heads {
            let mut stream = raw.connection.open_uni().await.unwrap();
            stream.write_all(&head).await.unwrap();
            streams.push(stream);
        }
        let (here, there) = (a.down(raw.id).await, raw.closed().await);
        assert!(here.contains(wanted) && there.contains(wanted), "{here} / {there}");
    }
}

#[tokio::test]
async fn a_node_of_the_first_release_gets_all_classes_on_its_one_stream() {
    let (a, b) = two();
    let mut a = Side::start(config(&a, &[])).await;
    let stranger = Stranger::new(Some(&b), b"sync/1");
    let connection = stranger.connect(a.transport.local_addr()).await.unwrap();
    let mut stream = connection.open_uni().await.unwrap();
    stream.write_all(&[7; 16]).await.unwrap();
    let link = a.up(b.node_id()).await;
    for class in [Class::Bulk, Class::Normal, Class::Urgent] {
        assert!(a.transport.send(&b.node_id(), link, class, class.as_str().as_bytes().to_vec()));
    }
    let mut from_a = connection.accept_uni().await.unwrap();
    let mut preface = [0; 16];
    from_a.read_exact(&mut preface).await.unwrap();
    let mut came = Vec::new();
    for _ in Class::ALL {
        let mut len = [0; 4];
        timeout(PATIENCE, from_a.read_exact(&mut len)).await.expect("a frame of each class comes").unwrap();
        let mut frame = vec![0; u32::from_le_bytes(len) as usize];
        from_a.read_exact(&mut frame).await.unwrap();
        came.push(String::from_utf8(frame).unwrap());
    }
    assert_eq!(came, ["urgent", "normal", "bulk"], "what is urgent goes first there too");
    stream.write_all(&[1, 0, 0, 0, 5]).await.unwrap();
    assert_eq!(a.classed(b.node_id()).await, (Class::Normal, vec![5]));
}
