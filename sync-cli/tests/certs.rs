//! Certificates of running nodes by the tool: renewed, moved to another authority, revoked.

mod support;

use support::{Place, eventually};

fn ids(node: &support::Running<'_>) -> Vec<String> {
    let peers = node.sync(&["peers", "--json"]).json();
    let linked = peers.as_array().unwrap().iter().filter(|peer| peer["connected"] == true);
    linked.map(|peer| peer["peer"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_running_node_takes_a_renewed_certificate_and_keeps_its_id_and_its_links() {
    let place = Place::with(&["a", "b"]);
    let (ca, dir) = (place.at("ca"), place.at("a"));
    let a = place.run("a", &[]);
    let b = place.run("b", &[&a.listen]);
    b.has_links(1);
    let before = a.sync(&["certs", "reload", "--json"]).json();
    let said = place.done(&["certs", "renew", "--ca", &ca, "--dir", &dir]);
    assert!(said.starts_with(&a.id), "{said}");
    let after = eventually("the new certificate is in force", || {
        let now = a.sync(&["certs", "reload", "--json"]).json();
        (now["serial"] != before["serial"]).then_some(now)
    });
    assert!(said.contains(after["serial"].as_str().unwrap()) && after["cut"] == 0, "{said} {after}");
    assert_eq!(ids(&b), [&*a.id]);

    // A file that is no certificate changes nothing and is told of.
    std::fs::write(format!("{dir}/node.pem"), "nothing").unwrap();
    let refused = a.sync(&["certs", "reload"]);
    assert!(refused.code == 1 && refused.complaint().contains("node.pem"), "{refused:?}");
    assert!(a.sync(&["health"]).out.contains("certificate_refused"));
    assert_eq!(ids(&b), [&*a.id]);
}

#[test]
fn a_revoked_node_is_cut_by_its_name_and_told_why() {
    let place = Place::with(&["a", "b", "c"]);
    let a = place.run("a", &[]);
    let b = place.run("b", &[&a.listen]);
    let c = place.run("c", &[&a.listen]);
    a.has_links(2);
    let (ca, dir) = (place.at("ca"), place.at("a"));
    let said = place.done(&["certs", "revoke", "b", "--ca", &ca, "--dir", &dir]);
    assert!(said.starts_with(&b.id), "{said}");
    eventually("b is cut off", || (ids(&a) == [&*c.id]).then_some(()));
    eventually("b is told", || {
        let peers = b.sync(&["peers", "--json"]).json();
        peers[0]["failure"].as_str().is_some_and(|why| why.contains("revoked")).then_some(())
    });
    assert!(a.process.stderr().contains("revoked"));
    let unknown = place.sync(&["certs", "revoke", "nobody", "--ca", &ca]);
    assert!(unknown.code == 1 && unknown.complaint().contains("64 digits"), "{unknown:?}");
    let wrong = place.sync(&["certs", "revoke", "xyz", "--serial", "--ca", &ca]);
    assert!(wrong.code == 1 && wrong.complaint().contains("no serial number"), "{wrong:?}");
}

#[test]
fn a_cluster_moves_to_another_authority_while_it_runs() {
    let place = Place::with(&["a", "b"]);
    place.authority("new");
    let new = place.at("new");
    let a = place.run("a", &[]);
    let b = place.run("b", &[&a.listen]);
    a.has_links(1);
    let nodes = [(&a, place.at("a")), (&b, place.at("b"))];
    for (node, dir) in &nodes {
        assert!(place.done(&["certs", "trust", "--ca", &new, "--dir", dir]).contains("2 authorities"));
        node.done(&["certs", "reload"]);
    }
    for (node, dir) in &nodes {
        place.done(&["certs", "renew", "--ca", &new, "--dir", dir]);
        node.done(&["certs", "reload"]);
    }
    for (node, dir) in &nodes {
        assert!(
            place.done(&["certs", "trust", "--ca", &new, "--dir", dir, "--only"]).contains("1 authorities")
        );
        node.done(&["certs", "reload"]);
    }
    a.done(&["set", "add", "moved", "yes"]);
    a.has_links(1);
    a.done(&["converge"]);
    b.shows(&["set", "ls", "moved"], "yes");
    // Who has only the old authority's certificate is a stranger now.
    place.issue("ca", "late");
    let late = place.run("late", &[&a.listen]);
    eventually("it is refused", || {
        let peers = late.sync(&["peers", "--json"]).json();
        peers[0]["failure"].as_str().is_some_and(|why| why.contains("cluster CA")).then_some(())
    });
}
