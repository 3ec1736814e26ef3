//! Every setting of the default file has a test that changes it and sees the effect: in what a node does, not in what
//! was parsed. The way is the product's own: text of a configuration file, [`Settings`], limits and times, behaviour.
//!
//! `store`, `links`, `lanes` and `breaker` look at nodes in simulated time, `net` at real ones; what only a process has is in
//! `sync-cli/tests/config.rs`. [`EFFECTS`] names the test of each setting.

mod breaker;
mod lanes;
mod links;
mod net;
mod reload;
mod store;

use std::path::Path;

use sync_core::node::{Bound, Config, Event, Reading};
use sync_net::settings::{File, Layers, Reload, SETTINGS, Settings};
use sync_tests::{Cluster, config, namespace};

/// The settings of a configuration file with this text.
fn settings(text: &str) -> Settings {
    let file = Some(File { name: "sync.toml", bytes: text.as_bytes() });
    let layers = Layers { file, ..Layers::default() };
    layers.resolve().unwrap_or_else(|mistakes| panic!("{text}: {mistakes}")).settings
}

/// The `index`-th node, set up by such a text.
fn node(index: u8, text: &str) -> Config {
    let settings = settings(text);
    Config { limits: settings.limits, timing: settings.timing, ..config(index, 0) }
}

/// Two nodes of such a text, linked.
fn pair(text: &str) -> Cluster {
    let mut cluster = Cluster::apart([node(0, text), node(1, text)]);
    cluster.connect(0, 1);
    cluster.settle();
    cluster.events();
    cluster
}

fn reading(cluster: &mut Cluster, node: u8, bound: Bound) -> Reading {
    cluster.node(node).pressure(namespace()).expect("every node opens the default namespace").of(bound)
}

/// The events that `wanted` finds something in.
fn told<T>(cluster: &mut Cluster, wanted: impl Fn(Event) -> Option<T>) -> Vec<T> {
    cluster.events().into_iter().filter_map(|(_, event)| wanted(event)).collect()
}

/// Of each setting the test that changes it and sees the effect, in the order of the table.
const EFFECTS: &[(&str, &str)] = &[
    ("dir", "the_folder_of_certificates_says_who_a_node_is"),
    ("data", "the_data_folder_keeps_the_state_and_memory_does_not"),
    ("memory", "the_data_folder_keeps_the_state_and_memory_does_not"),
    ("durability", "on_a_disk_that_fails_a_write_is_answered_only_where_nothing_durable_is_asked_for"),
    ("listen", "a_node_listens_where_it_is_told_to_and_dials_the_peers_it_is_given"),
    ("peers", "a_node_listens_where_it_is_told_to_and_dials_the_peers_it_is_given"),
    ("namespaces", "a_node_opens_the_namespaces_that_it_is_told_to"),
    ("cluster", "nodes_of_another_cluster_label_are_refused"),
    ("socket", "the_socket_is_where_the_file_says"),
    ("log", "the_log_tells_more_when_it_is_asked_to_also_while_the_node_runs"),
    ("log_format", "a_log_of_json_is_an_object_a_line"),
    ("max_crdts", "a_fourth_crdt_is_refused_where_three_may_be"),
    ("max_bytes", "a_write_that_grows_a_full_store_is_refused"),
    ("max_bytes_ceiling", "what_comes_from_a_peer_is_refused_above_the_ceiling"),
    ("max_namespaces", "a_namespace_more_than_there_may_be_is_not_opened"),
    ("max_node_bytes", "namespaces_that_do_not_fit_together_are_not_opened"),
    ("max_crdt_bytes", "a_crdt_that_has_its_bytes_grows_no_more"),
    ("max_crdt_cells", "a_set_that_has_its_cells_takes_no_more_elements"),
    ("max_group_size", "a_group_longer_than_it_may_be_is_refused_whole"),
    ("max_log_entries", "a_short_log_forgets_what_a_peer_missed_and_it_is_repaired"),
    ("max_records", "no_more_records_are_kept_than_may_be"),
    ("max_records_bytes", "no_more_bytes_of_records_are_kept_than_may_be"),
    ("max_staging_bytes", "a_large_answer_is_dropped_where_too_little_may_be_staged"),
    ("max_peers", "a_peer_more_than_there_may_be_is_refused"),
    ("max_message_size", "a_message_longer_than_it_may_be_is_refused"),
    ("max_queue_size", "no_more_messages_are_built_for_a_peer_that_does_not_read"),
    ("max_queue_bytes", "no_more_bytes_are_built_for_a_peer_that_does_not_read"),
    ("urgent_rate", "a_class_with_a_rate_sends_no_faster"),
    ("normal_rate", "a_class_with_a_rate_sends_no_faster"),
    ("bulk_rate", "a_class_with_a_rate_sends_no_faster"),
    ("rate_burst", "a_longer_burst_lets_more_go_at_once"),
    ("sync_interval", "a_shorter_interval_sends_more_roots"),
    ("sync_timeout", "a_shorter_timeout_sends_again_sooner"),
    ("catch_up_spread", "a_crowd_is_brought_forward_over_as_long_as_is_set"),
    ("cleanup_interval", "a_shorter_cleanup_ends_marks_sooner"),
    ("scrub_period", "a_shorter_period_looks_at_the_whole_store_sooner"),
    ("breaker_failures", "one_breach_opens_where_one_may"),
    ("breaker_open", "a_peer_that_misbehaved_is_shut_out_for_as_long_as_is_set"),
    ("breaker_open_max", "the_time_out_is_doubled_no_further_than_is_set"),
    ("breaker_successes", "one_answer_closes_a_breaker_where_one_may"),
    ("breaker_removal", "a_peer_that_opens_as_often_as_is_set_is_removed"),
    ("breaker_probe_min", "probes_wait_at_least_and_at_most_as_long_as_is_set"),
    ("breaker_probe_max", "probes_wait_at_least_and_at_most_as_long_as_is_set"),
];

#[test]
fn every_setting_has_a_test_that_sees_its_effect() {
    let settings: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
    let tested: Vec<&str> = EFFECTS.iter().map(|(key, _)| *key).collect();
    assert_eq!(settings, tested);
    let sources = [
        include_str!("breaker.rs"),
        include_str!("lanes.rs"),
        include_str!("links.rs"),
        include_str!("net.rs"),
        include_str!("store.rs"),
        include_str!("../../../sync-cli/tests/config.rs"),
    ]
    .concat();
    for (key, test) in EFFECTS {
        let is_there = ["#[test]\nfn", "#[tokio::test]\nasync fn"].iter();
        let is_there =
            is_there.map(|begin| format!("{begin} {test}()")).any(|begin| sources.contains(&begin));
        assert!(is_there, "{key}: there is no test {test}");
    }
}

#[test]
fn every_setting_is_documented_as_the_table_has_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("docs/configuration.md")).expect("the page is there");
    let row = |setting: &sync_net::settings::Setting| {
        let default = match (setting.default, setting.get(&Settings::default()).to_string()) {
            ("", value) => value,
            (words, _) => words.to_owned(),
        };
        let reload = if setting.reload == Reload::Now { "at SIGHUP" } else { "restart" };
        let what = [setting.about, setting.edge].join(" ");
        let field = if setting.field.is_empty() { String::new() } else { format!("`{}`", setting.field) };
        let form = setting.kind.form();
        let form = form.split(", such as").next().unwrap_or_default();
        let key = format!("`{}`", setting.key);
        let cells = [key.as_str(), form, &default, reload, &field, what.trim()];
        format!("| {} |", cells.join(" | "))
    };
    let expected: Vec<String> = SETTINGS.iter().map(row).collect();
    let section = page.lines().skip_while(|line| *line != "## Settings").skip(1);
    let section = section.take_while(|line| !line.starts_with("## "));
    let found: Vec<&str> = section.filter(|line| line.starts_with("| `")).collect();
    assert!(found == expected, "docs/configuration.md should have these rows:\n{}", expected.join("\n"));
}

#[test]
fn the_default_file_in_the_documentation_is_the_one_that_the_tool_prints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let file = std::fs::read_to_string(root.join("docs/sync.toml")).expect("the file is there");
    assert!(
        file == sync_net::settings::default_file(),
        "docs/sync.toml should be what `sync-cli config default` prints"
    );
}
