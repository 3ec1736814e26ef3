//! A group of 100 writes over 20 keys, over QUIC: whoever reads on another node, and whoever watches there, sees all
//! of it or nothing. The interleavings that no network shows are the simulator's (`simulations groups`).

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{PATIENCE, cluster, cut, eventually, heal};
use sync_net::{Mirror, Node, Visibility, WatchEvent, Written};

const KEYS: u32 = 20;
const FIELDS: u32 = 5;
const GROUPS: u32 = 200;

fn write(node: &Node, number: u32) -> Written {
    let written = node.transaction(|tx| {
        for key in 0..KEYS {
            let map = tx.lww_map::<u32, u32>(&format!("group/{key}"));
            for field in 0..FIELDS {
                map.put(&field, &number)?;
            }
        }
        Ok(())
    });
    written.expect("a group of 100 small writes has room").1
}

/// The number in all 100 fields; `None` if there is none in any.
///
/// # Panics
/// If it sees a part of a group.
fn read(node: &Node) -> Option<u32> {
    let seen: Vec<Option<u32>> = node.read(|view| {
        let fields = (0..KEYS).flat_map(|key| (0..FIELDS).map(move |field| (key, field)));
        fields
            .map(|(key, field)| {
                view.lww_map(&format!("group/{key}")).get(&field).expect("numbers were written")
            })
            .collect()
    });
    assert!(seen.iter().all(|number| *number == seen[0]), "a part of a group is visible: {seen:?}");
    seen[0]
}

/// Reads without a pause until told to stop; how many different groups it saw.
fn reader(node: Node, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<u32> {
    std::thread::spawn(move || {
        let (mut last, mut different) = (None, 0);
        while !stop.load(Ordering::Relaxed) {
            let seen = read(&node);
            different += u32::from(seen != last);
            last = seen;
        }
        different
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_group_is_visible_on_other_nodes_whole_or_not_at_all() {
    let nodes = cluster(3).await;
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = nodes[1..].iter().map(|node| reader(node.clone(), stop.clone())).collect();
    let mut watch = nodes[1].watch("group/");
    let batches = tokio::spawn(async move {
        let (mut mirror, mut batches) = (Mirror::default(), 0u32);
        while let Some(event) = watch.next().await {
            batches += u32::from(matches!(event, WatchEvent::Batch { .. }));
            mirror.apply(&event);
            let mut shown = mirror.iter().map(|(_, reading)| reading);
            let first = shown.next();
            assert!(shown.all(|reading| Some(reading) == first), "a part of a group was told");
            assert!([0, (KEYS * FIELDS) as usize].contains(&mirror.len()), "a batch holds whole groups");
        }
        batches
    });

    for number in 1..=GROUPS {
        match number {
            60 => cut(&nodes[1], &[nodes[0].clone(), nodes[2].clone()]),
            // The other side of the cut writes too: concurrent groups, of which one wins in all fields.
            90 => drop(write(&nodes[1], 1_000)),
            120 => heal(&nodes),
            _ => {}
        }
        let written = write(&nodes[0], number);
        if number % 10 == 0 {
            let token = written.token();
            let visible = nodes[0].visible(&token, Visibility::Peers(1), PATIENCE).await;
            visible.expect("one of the two is always linked");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    eventually("all show the last group", || nodes.iter().all(|node| read(node) == Some(GROUPS))).await;
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        let different = reader.join().expect("no part of a group was seen");
        println!("a reader saw {different} of {GROUPS} groups");
        assert!(different > 1);
    }
    nodes[1].shutdown().await;
    let batches = batches.await.expect("no batch held a part of a group");
    println!("a watcher was told in {batches} batches");
    assert!(batches > 10);
}
