//! Links come, stay single, go and come back; frames keep their order.

use std::collections::BTreeSet;

use super::*;

#[tokio::test]
async fn frames_of_all_sizes_arrive_in_order_and_are_reported_written_before_the_next_frame() {
    let (mut a, to_b, mut b, to_a) = pair().await;
    let lens = [1, 2, 3, 65_535, 1_000_000, 7, 300_000, 1];
    for (n, len) in (0u8..).zip(lens) {
        assert!(a.transport.send(&b.id, to_b, Class::Urgent, vec![n; len]));
    }
    for (n, len) in (0u8..).zip(lens) {
        assert_eq!(b.frame(a.id).await, vec![n; len]);
    }
    a.watch(Duration::from_millis(50)).await;
    assert!(b.transport.send(&a.id, to_a, Class::Urgent, vec![9]));
    assert_eq!(a.frame(b.id).await, [9]);
    let written = a.seen.iter().filter_map(|event| match event {
        TransportEvent::Written { frames, bytes, .. } => Some((*frames, *bytes)),
        _ => None,
    });
    let written = written.fold((0, 0), |sum, (frames, bytes)| (sum.0 + frames, sum.1 + bytes));
    assert_eq!(written, (lens.len(), lens.iter().sum()));
    assert!(!a.transport.send(&b.id, to_b, Class::Urgent, vec![0; 1_000_001]), "above message_bytes_max");
    assert!(!a.transport.send(&b.id, to_b, Class::Urgent, Vec::new()));
    assert!(!a.transport.send(&b.id, LinkId(to_b.0 + 1), Class::Urgent, vec![1]), "another link");
    assert!(!a.transport.send(&a.id, to_b, Class::Urgent, vec![1]), "nobody is linked by this id");
}

#[tokio::test]
async fn a_peer_at_rest_is_told_to_have_nothing_waiting() {
    let (mut a, to_b, mut b, _) = pair().await;
    for class in Class::ALL {
        assert!(a.transport.send(&b.id, to_b, class, vec![7; 10]));
        assert_eq!(b.frame(a.id).await, [7; 10]);
        // Nothing comes from the other side with which it could be told.
        let written = a.until("Written", |event| match event {
            TransportEvent::Written { class: of, frames, bytes, .. } if *of == class => {
                Some((*frames, *bytes))
            }
            _ => None,
        });
        assert_eq!(written.await, (1, 10), "of class {class}");
    }
    assert_eq!(a.check_order(b.id), 1);
}

#[tokio::test]
async fn two_nodes_that_dial_each_other_keep_one_link_and_the_same() {
    for _ in 0..5 {
        let (low, high) = two();
        let addrs = [free_addr(), free_addr()];
        let mut configs = [config(&low, &[addrs[1]]), config(&high, &[addrs[0]])];
        (configs[0].listen, configs[1].listen) = (addrs[0], addrs[1]);
        let [low, high] = configs;
        let (mut low, mut high) = tokio::join!(Side::start(low), Side::start(high));
        low.up(high.id).await;
        high.up(low.id).await;
        let span = Duration::from_millis(500);
        tokio::join!(low.watch(span), high.watch(span));
        let ups = (low.check_order(high.id), high.check_order(low.id));
        assert_eq!(ups, (1, 1), "low: {:?}, high: {:?}", low.seen, high.seen);
        let current = |side: &Side, of: NodeId| side.transport.shared.current(&of).expect("linked");
        let (at_low, at_high) = (current(&low, high.id), current(&high, low.id));
        assert!(low.transport.send(&high.id, at_low.id, Class::Urgent, b"down".to_vec()));
        assert!(high.transport.send(&low.id, at_high.id, Class::Urgent, b"up".to_vec()));
        assert_eq!(high.frame(low.id).await, b"down");
        assert_eq!(low.frame(high.id).await, b"up");
        assert_eq!(low.transport.endpoint.open_connections(), 1);
    }
}

#[tokio::test]
async fn two_addresses_of_one_peer_make_one_link() {
    let (a, b) = two();
    let mut a = Side::start(config(&a, &[])).await;
    let addr = a.transport.local_addr();
    let other = SocketAddr::from(([127, 0, 0, 1], addr.port()));
    let mut b = Side::start(config(&b, &[addr, other])).await;
    a.up(b.id).await;
    b.up(a.id).await;
    let span = Duration::from_millis(500);
    tokio::join!(a.watch(span), b.watch(span));
    assert_eq!((a.check_order(b.id), b.check_order(a.id)), (1, 1));
    assert!(b.transport.links().iter().all(|row| row.id == Some(a.id) && row.connected));
}

#[tokio::test]
async fn blocked_peers_stay_cut_and_come_back() {
    let (mut a, _, mut b, to_a) = pair().await;
    a.transport.set_blocked(BTreeSet::from([b.id]));
    assert!(a.down(b.id).await.contains("cut off"));
    assert!(b.down(a.id).await.contains("cut off"));
    assert!(!b.transport.send(&a.id, to_a, Class::Urgent, vec![1]));
    let span = Duration::from_millis(700);
    tokio::join!(a.watch(span), b.watch(span));
    assert_eq!((a.check_order(b.id), b.check_order(a.id)), (1, 1), "b dials in vain: {:?}", b.seen);
    assert!(b.seen.iter().any(|event| matches!(event, TransportEvent::DialFailed { .. })), "{:?}", b.seen);
    assert!(b.transport.links()[0].failure.as_ref().is_some_and(|why| why.contains("cut off")));
    a.transport.set_blocked(BTreeSet::new());
    a.up(b.id).await;
    let link = b.up(a.id).await;
    assert!(b.transport.send(&a.id, link, Class::Urgent, b"again".to_vec()));
    assert_eq!(a.frame(b.id).await, b"again");
    assert_eq!(b.transport.links()[0].failure, None);
}

#[tokio::test]
async fn a_disconnected_peer_reads_the_reason_and_comes_back_on_a_new_link() {
    let (mut a, old, mut b, _) = pair().await;
    a.transport.disconnect(&b.id, "label \"x\"\nis not ours");
    let reason = b.down(a.id).await;
    assert!(reason.contains("is not ours") && !reason.contains('\n'), "{reason}");
    a.down(b.id).await;
    let new = a.up(b.id).await;
    assert_ne!(old, new);
    assert!(
        !a.transport.send(&b.id, old, Class::Urgent, vec![1]),
        "what was built for the old link stays off the new one"
    );
    a.check_order(b.id);
}

#[tokio::test]
async fn a_peer_that_stops_in_good_order_is_down_at_once_and_linked_again_when_it_is_back() {
    let (a, b) = two();
    let mut a = Side::start(config(&a, &[])).await;
    let to_a = [a.transport.local_addr()];
    let mut first = Side::start(config(&b, &to_a)).await;
    let link = first.up(a.id).await;
    a.up(first.id).await;
    for n in 0..100 {
        assert!(first.transport.send(&a.id, link, Class::Urgent, vec![n; 10_000]));
    }
    let began = std::time::Instant::now();
    first.transport.shutdown().await;
    assert!(began.elapsed() < Duration::from_secs(2));
    for n in 0..100 {
        assert_eq!(a.frame(first.id).await, vec![n; 10_000], "what was queued is still written");
    }
    assert!(a.down(first.id).await.contains("shutting down"));
    let mut second = Side::start(config(&b, &to_a)).await;
    second.up(a.id).await;
    a.up(second.id).await;
    assert_eq!(a.check_order(second.id), 2);
}

/// A node that can be killed: it lives on a thread and a runtime of its own, and dies with them without a
/// word to its peers, as a process does.
struct Mortal {
    addr: SocketAddr,
    kill: tokio::sync::oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Mortal {
    async fn start(config: TransportConfig) -> Self {
        let (kill, killed) = tokio::sync::oneshot::channel();
        let (bound, addr) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let side = runtime.block_on(async {
                let side = Side::start(config).await;
                bound.send(side.transport.local_addr()).unwrap();
                killed.await.unwrap();
                side
            });
            // First the tasks, so that nobody is left to send what dropping the transport wants to say.
            drop(runtime);
            drop(side);
        });
        Self { addr: addr.await.unwrap(), kill, thread }
    }

    fn kill(self) {
        self.kill.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

/// The successor of a killed peer is known by its life and takes the link over. The old link would else
/// stay for the idle time-out, here longer than the test's patience.
#[tokio::test]
async fn a_killed_peer_that_is_back_replaces_its_dead_link_at_once() {
    let (low, high) = two();
    for (stays, dies) in [(&low, &high), (&high, &low)] {
        let mut patient = config(stays, &[]);
        patient.idle_timeout = Duration::from_secs(120);
        let mut stays = Side::start(patient).await;
        let to = [stays.transport.local_addr()];
        let first = Mortal::start(config(dies, &to)).await;
        stays.up(dies.node_id()).await;
        first.kill();
        let mut second = Side::start(config(dies, &to)).await;
        second.up(stays.id).await;
        assert!(stays.down(second.id).await.contains("newer process"));
        stays.up(second.id).await;
        assert_eq!(stays.check_order(second.id), 2);
    }
}

/// The killed peer dials nobody: its successor on the same port knows nothing of the link, and says so.
#[tokio::test]
async fn a_killed_peer_that_does_not_dial_is_noticed_by_a_stateless_reset() {
    let (a, b) = two();
    let first = Mortal::start(config(&a, &[])).await;
    let mut patient = config(&b, &[first.addr]);
    patient.idle_timeout = Duration::from_secs(120);
    let mut b = Side::start(patient).await;
    let link = b.up(a.node_id()).await;
    let mut again = config(&a, &[]);
    again.listen = first.addr;
    first.kill();
    let mut second = Side::start(again).await;
    assert!(b.transport.send(&second.id, link, Class::Urgent, vec![0; 100]));
    let reason = b.down(second.id).await;
    assert!(reason.contains("restarted"), "{reason}");
    b.up(second.id).await;
    second.up(b.id).await;
}

#[tokio::test]
async fn a_peer_that_is_not_there_yet_is_named_and_found_later() {
    let (a, b) = two();
    let addr = free_addr();
    let mut dialler = config(&b, &[addr]);
    dialler.handshake_timeout = Duration::from_millis(300);
    let mut b = Side::start(dialler).await;
    assert!(b.dial_failed().await.contains("no answer"));
    let row = &b.transport.links()[0];
    assert!(row.configured && !row.connected && row.attempts > 0 && row.failure.is_some(), "{row:?}");
    let mut late = config(&a, &[]);
    late.listen = addr;
    let mut a = Side::start(late).await;
    a.up(b.id).await;
    b.up(a.id).await;
}

#[tokio::test]
async fn dropping_the_receiver_or_the_transport_ends_the_links() {
    let (a, _, mut b, _) = pair().await;
    let id = a.id;
    drop(a.events);
    b.down(id).await;
    drop(a.transport);
    let (c, _, mut d, _) = pair().await;
    let id = c.id;
    drop(c.transport);
    d.down(id).await;
}
