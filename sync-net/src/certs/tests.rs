//! What certificates and their files promise.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn a_saved_ca_issues_for_the_same_cluster_after_loading() {
    let dir = tempfile::tempdir().unwrap();
    let ca = ClusterCa::create("shop").unwrap();
    ca.save(dir.path()).unwrap();
    let loaded = ClusterCa::load(dir.path()).unwrap();
    assert_eq!(loaded.certificate_pem(), ca.certificate_pem());
    // `issue` checks the new certificate against the CA certificate exactly as a peer does.
    let node = loaded.issue("till-1").unwrap();
    assert_eq!(node.name(), "till-1");
}

#[test]
fn an_identity_is_the_same_after_saving_and_loading() {
    let dir = tempfile::tempdir().unwrap();
    let node = ClusterCa::create("shop").unwrap().issue("till-1").unwrap();
    node.save(&dir.path().join("new/deep")).unwrap();
    let loaded = Identity::load(&dir.path().join("new/deep")).unwrap();
    assert_eq!(loaded.node_id(), node.node_id());
    assert_eq!(loaded.not_after(), node.not_after());
}

#[test]
fn keys_are_readable_by_their_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let ca = ClusterCa::create("shop").unwrap();
    ca.save(dir.path()).unwrap();
    let node = dir.path().join("node");
    ca.issue("a").unwrap().save(&node).unwrap();
    assert_eq!(mode(&dir.path().join("ca.key")), 0o600);
    assert_eq!(mode(&node.join("node.key")), 0o600);
    assert_eq!(mode(&dir.path().join("ca.pem")) & 0o400, 0o400);
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_command_that_mends_it() {
    let dir = tempfile::tempdir().unwrap();
    ClusterCa::create("shop").unwrap().issue("a").unwrap().save(dir.path()).unwrap();
    let key = dir.path().join("node.key");
    for mode in [0o640, 0o604, 0o666] {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        let error = Identity::load(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("chmod 600 {}", key.display())), "{error}");
        assert!(error.contains(&format!("{mode:04o}")), "{error}");
    }
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o400)).unwrap();
    Identity::load(dir.path()).unwrap();
}

#[test]
fn nothing_is_ever_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let ca = ClusterCa::create("shop").unwrap();
    ca.save(dir.path()).unwrap();
    let before = std::fs::read(dir.path().join("ca.key")).unwrap();
    assert!(matches!(ClusterCa::create("x").unwrap().save(dir.path()), Err(CertError::Exists { .. })));
    // ca.pem is there: the node's files are not begun.
    assert!(matches!(ca.issue("a").unwrap().save(dir.path()), Err(CertError::Exists { .. })));
    assert!(!dir.path().join("node.key").exists());
    assert_eq!(std::fs::read(dir.path().join("ca.key")).unwrap(), before);
}

#[test]
fn parts_of_two_issues_do_not_make_an_identity() {
    let ca = ClusterCa::create("shop").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    ca.issue("a").unwrap().save(&a).unwrap();
    // The same label: only the key tells the two clusters apart.
    ClusterCa::create("shop").unwrap().issue("b").unwrap().save(&b).unwrap();
    std::fs::copy(b.join("node.key"), a.join("node.key")).unwrap();
    let error = Identity::load(&a).unwrap_err();
    assert!(matches!(error, CertError::Mismatch { .. }), "{error}");
    std::fs::copy(a.join("ca.pem"), b.join("ca.pem")).unwrap();
    let error = Identity::load(&b).unwrap_err();
    assert!(matches!(error, CertError::Mismatch { .. }), "{error}");
}

#[test]
fn debug_shows_no_key() {
    let ca = ClusterCa::create("shop").unwrap();
    let node = ca.issue("a").unwrap();
    let shown = format!("{node:?} {ca:?}");
    assert!(!shown.contains("PRIVATE") && !shown.contains("key"), "{shown}");
}

#[test]
fn files_that_hold_something_else_are_refused_by_name_and_never_panic() {
    let dir = tempfile::tempdir().unwrap();
    ClusterCa::create("shop").unwrap().issue("a").unwrap().save(dir.path()).unwrap();
    let good = std::fs::read(dir.path().join("node.pem")).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for bad in [&b""[..], b"\xff\xfe", b"-----BEGIN CERTIFICATE-----\n", &flipped, &vec![b'a'; 70_000]] {
        std::fs::write(dir.path().join("node.pem"), bad).unwrap();
        let error = Identity::load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("node.pem") && !error.contains('\n'), "{error}");
    }
    assert!(matches!(Identity::load(&dir.path().join("none")), Err(CertError::Io { .. })));
}

#[test]
fn names_that_would_spoil_a_log_or_a_certificate_are_refused() {
    let ca = ClusterCa::create("shop").unwrap();
    for bad in ["", "a\nb", "\u{1b}[31m", &"x".repeat(65)] {
        assert!(matches!(ca.issue(bad), Err(CertError::Name { .. })), "{bad:?}");
    }
    assert!(ClusterCa::create(&"x".repeat(41)).is_err());
    assert_eq!(ca.issue("Käse 1").unwrap().name(), "Käse 1");
}

#[test]
fn validity_is_ten_years_for_the_ca_and_one_for_a_node() {
    let ca = ClusterCa::create("shop").unwrap();
    let left = |to: SystemTime| to.duration_since(SystemTime::now()).unwrap().as_secs() / DAY.as_secs();
    assert_eq!(left(ca.not_after), 3_652);
    assert_eq!(left(ca.issue("a").unwrap().not_after()), 364);
}
