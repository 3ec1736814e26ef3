//! A node that is revoked, or whose certificate ends, while its link is up.

use std::sync::atomic::Ordering;

use super::trust::Stranger;
use super::*;
use crate::certs::Revoked;
use crate::transport::refusal::in_words;

fn list(of: &Identity, by_serial: bool) -> Revoked {
    let mut revoked = Revoked::default();
    if by_serial {
        revoked.revoke_serial(of.serial().clone());
    } else {
        revoked.revoke_node(of.node_id());
    }
    revoked
}

#[tokio::test]
async fn a_revoked_node_is_cut_off_and_told_why_whoever_dialled() {
    for by_serial in [false, true] {
        for dialler_revokes in [false, true] {
            let (a, b) = two();
            let (mut revoker, mut revoked) = if dialler_revokes {
                let revoked = Side::start(config(&b, &[])).await;
                (Side::start(config(&a, &[revoked.transport.local_addr()])).await, revoked)
            } else {
                let revoker = Side::start(config(&a, &[])).await;
                let revoked = Side::start(config(&b, &[revoker.transport.local_addr()])).await;
                (revoker, revoked)
            };
            revoker.up(revoked.id).await;
            revoked.up(revoker.id).await;
            assert_eq!(revoker.transport.set_revoked(list(&b, by_serial)), 1);
            let (here, there) = (revoker.down(revoked.id).await, revoked.down(revoker.id).await);
            assert!(here.contains("revoked") && there.contains("revoked"), "{here} / {there}");
            if !dialler_revokes {
                let told = revoked.dial_failed().await;
                assert!(told.contains("refused our certificate") && told.contains("revoked"), "{told}");
                let said = revoker.refused().await;
                assert!(said.contains("is not usable: it is revoked"), "{said}");
            }
            revoker.watch(Duration::from_millis(500)).await;
            assert_eq!(revoker.check_order(revoked.id), 1, "it came back: {:?}", revoker.seen);
            // An empty list forgives.
            revoker.transport.set_revoked(Revoked::default());
            revoker.up(revoked.id).await;
        }
    }
}

/// The client keeps sessions and wants early data: with rustls' defaults at the server it comes back without its
/// certificate being looked at.
#[tokio::test]
async fn a_revoked_peer_that_tries_to_resume_is_refused() {
    let (a, b) = two();
    let mut a = Side::start(config(&a, &[])).await;
    let to = a.transport.local_addr();
    let stranger = Stranger::new(Some(&b), b"sync/1");
    let connection = stranger.connect(to).await.unwrap();
    let mut stream = connection.open_uni().await.unwrap();
    stream.write_all(&[7; 16]).await.unwrap();
    a.up(b.node_id()).await;
    // Room for tickets to arrive, were they sent.
    a.watch(Duration::from_millis(50)).await;
    a.transport.set_revoked(list(&b, false));
    let told = in_words(&timeout(PATIENCE, connection.closed()).await.unwrap());
    assert!(told.contains("revoked"), "{told}");
    for round in 2..=4 {
        let connecting = stranger.connect(to);
        let Err(connecting) = connecting.into_0rtt() else { panic!("0-RTT was possible") };
        // The client's side of the handshake ends before the server has seen its certificate.
        let told = match timeout(PATIENCE, connecting).await.unwrap() {
            Ok(connection) => timeout(PATIENCE, connection.closed()).await.unwrap(),
            Err(error) => error,
        };
        assert!(in_words(&told).contains("it is revoked: its node id"), "{told}");
        assert_eq!(stranger.looked.load(Ordering::Relaxed), round, "a handshake without certificates");
    }
    assert!(a.refused().await.contains("revoked"));
    assert_eq!(a.check_order(b.node_id()), 1);
}

/// A handshake that was done before the list came, and a link that is admitted after it.
#[tokio::test]
async fn a_peer_that_is_revoked_between_its_handshake_and_its_preface_is_not_let_in() {
    let (a, b) = two();
    let mut a = Side::start(config(&a, &[])).await;
    let stranger = Stranger::new(Some(&b), b"sync/1");
    let connection = stranger.connect(a.transport.local_addr()).await.unwrap();
    // Nothing tells the client when the server has looked; the preface comes after the list in any case.
    a.watch(Duration::from_millis(200)).await;
    a.transport.set_revoked(list(&b, false));
    let mut stream = connection.open_uni().await.unwrap();
    let _ = stream.write_all(&[7; 16]).await;
    let told = in_words(&timeout(PATIENCE, connection.closed()).await.unwrap());
    assert!(told.contains("revoked"), "{told}");
    assert!(a.refused().await.contains("revoked"));
    assert_eq!(a.check_order(b.node_id()), 0);
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_the_next_peer_and_closes_no_link() {
    let ca = ClusterCa::create("shop").unwrap();
    let [a, b] = ["a", "b"].map(|name| ca.issue(name).unwrap());
    let mut at = Side::start(config(&a, &[])).await;
    let mut from = Side::start(config(&b, &[at.transport.local_addr()])).await;
    let link = at.up(b.node_id()).await;
    from.up(a.node_id()).await;
    for (side, identity) in [(&at, &a), (&from, &b)] {
        let renewed = renewed(&ca, identity);
        assert_ne!(renewed.serial(), identity.serial());
        assert_eq!(side.transport.reload(renewed.clone()).unwrap(), 0);
        assert!(side.transport.identity().is_same(&renewed));
    }
    assert!(at.transport.send(&b.node_id(), link, Class::Urgent, vec![1]));
    assert_eq!(from.frame(a.node_id()).await, [1]);
    // The older serials are worthless now, and the next link is made with the new ones.
    let mut old = list(&a, true);
    old.revoke_serial(b.serial().clone());
    from.transport.set_revoked(old.clone());
    from.down(a.node_id()).await;
    at.transport.set_revoked(old);
    at.up(b.node_id()).await;
    from.up(a.node_id()).await;
    let stranger = ca.issue("c").unwrap();
    let error = at.transport.reload(stranger).unwrap_err().to_string();
    assert!(error.contains("a renewed certificate keeps its key"), "{error}");
}

fn renewed(ca: &ClusterCa, identity: &Identity) -> Identity {
    let dir = tempfile::tempdir().unwrap();
    identity.save(dir.path()).unwrap();
    ca.renew_in(dir.path()).unwrap();
    Identity::load(dir.path()).unwrap()
}

#[tokio::test]
async fn a_cluster_moves_to_another_authority_link_by_link() {
    let [old, new] = ["old", "new"].map(|label| ClusterCa::create(label).unwrap());
    let identities = ["a", "b"].map(|name| old.issue(name).unwrap());
    let dirs = identities.each_ref().map(|identity| {
        let dir = tempfile::tempdir().unwrap();
        identity.save(dir.path()).unwrap();
        dir
    });
    let load = |at: usize| Identity::load(dirs[at].path()).unwrap();
    let mut a = Side::start(config(&load(0), &[])).await;
    let mut b = Side::start(config(&load(1), &[a.transport.local_addr()])).await;
    a.up(b.id).await;
    b.up(a.id).await;
    // Each step on both nodes before the next one: both are accepted, then shown, then the old one is not any more.
    for dir in &dirs {
        assert_eq!(crate::certs::trust_in(dir.path(), new.certificate_pem(), false).unwrap(), 2);
    }
    assert_eq!((a.transport.reload(load(0)).unwrap(), b.transport.reload(load(1)).unwrap()), (0, 0));
    for dir in &dirs {
        new.renew_in(dir.path()).unwrap();
    }
    assert_eq!((a.transport.reload(load(0)).unwrap(), b.transport.reload(load(1)).unwrap()), (0, 0));
    for dir in &dirs {
        crate::certs::trust_in(dir.path(), new.certificate_pem(), true).unwrap();
    }
    // The link was made with certificates of the old one: a new link takes its place.
    let cut = a.transport.reload(load(0)).unwrap() + b.transport.reload(load(1)).unwrap();
    assert!(cut > 0);
    assert!(a.down(b.id).await.contains("not accepted"));
    a.up(b.id).await;
    b.down(a.id).await;
    b.up(a.id).await;
}

#[tokio::test]
async fn a_link_ends_with_the_peers_certificate() {
    let ca = ClusterCa::create("shop").unwrap();
    let a = ca.issue("a").unwrap();
    let short = ca.issue_for("b", Duration::from_secs(3)).unwrap();
    let ends = short.not_after();
    let mut a = Side::start(config(&a, &[])).await;
    let mut b = Side::start(config(&short, &[a.transport.local_addr()])).await;
    a.up(b.id).await;
    b.up(a.id).await;
    let reason = a.down(b.id).await;
    assert!(reason.contains("has expired"), "{reason}");
    assert!(std::time::SystemTime::now() >= ends, "not before its time");
    b.down(a.id).await;
    a.watch(Duration::from_millis(300)).await;
    assert_eq!(a.check_order(b.id), 1);
}
