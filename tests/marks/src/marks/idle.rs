//! Three idle nodes: bytes of UDP payload a second on each link, both ways together.
//!
//! Each link goes through a [`Relay`] that counts. The default timing: a root round each 30 s, a QUIC
//! keep-alive each 10 s. Ten seconds, as `--quick` takes, see a keep-alive and mostly no root round.

use std::time::{Duration, Instant};

use super::Settings;
use crate::cluster;
use crate::relay::Relay;
use crate::report::{Report, Row};

/// Entries that all three hold.
const ENTRIES: usize = 10_000;

/// Runs the mark.
pub fn run(report: &mut Report, settings: Settings) {
    let seconds = if settings.quick { 10 } else { 120 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let rates = runtime.expect("a runtime").block_on(measure(Duration::from_secs(seconds)));
    for (link, rate) in ["1-2", "1-3", "2-3"].into_iter().zip(rates) {
        report.add(Row::new(format!("idle/link {link}"), rate, "bytes/s of UDP payload").at_most(100.0));
    }
    report.table(&format!("idle: three nodes at rest for {seconds} s"));
}

async fn measure(span: Duration) -> [f64; 3] {
    let ca = cluster::ca();
    let one = cluster::builder(&ca, "1").start().await.expect("it starts");
    let one_two = Relay::start(one.listen_addr()).await;
    let two = cluster::builder(&ca, "2").peer(cluster::via(&one, one_two.addr()));
    let two = two.start().await.expect("it starts");
    let (one_three, two_three) =
        (Relay::start(one.listen_addr()).await, Relay::start(two.listen_addr()).await);
    let three = cluster::builder(&ca, "3")
        .peer(cluster::via(&one, one_three.addr()))
        .peer(cluster::via(&two, two_three.addr()));
    let three = three.start().await.expect("it starts");
    for node in [&one, &two, &three] {
        cluster::linked(node, 2).await;
    }
    cluster::fill(&one, 0..ENTRIES);
    for node in [&one, &two, &three] {
        node.converge(cluster::PATIENCE).await.expect("all are there");
    }
    cluster::assert_one_state(&[&one, &two, &three]);
    // Path probes and the last acknowledgements are not rest.
    tokio::time::sleep(Duration::from_secs(3)).await;

    let relays = [one_two, one_three, two_three];
    let before = relays.each_ref().map(Relay::total);
    let begun = Instant::now();
    tokio::time::sleep(span).await;
    let seconds = begun.elapsed().as_secs_f64();
    let after = relays.each_ref().map(Relay::total);
    let rates = [0, 1, 2].map(|link: usize| (after[link] - before[link]) as f64 / seconds);
    for node in [&one, &two, &three] {
        node.shutdown().await;
    }
    rates
}
