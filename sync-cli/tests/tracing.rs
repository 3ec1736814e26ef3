//! One trace through two processes: begun by a request at one node, named in the logs of both.

mod support;

use serde_json::Value;
use support::{Place, Process, eventually};

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn lines(process: &Process) -> Vec<Value> {
    let text = process.stderr();
    // The last line may still be on its way.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn of_trace(process: &Process) -> Vec<Value> {
    lines(process).into_iter().filter(|line| line["fields"]["trace_id"] == TRACE_ID).collect()
}

#[test]
fn a_trace_that_a_request_brings_is_named_by_both_nodes_and_by_the_session_it_causes() {
    let place = Place::with(&["a", "b"]);
    let traced = |command: &mut std::process::Command| {
        command.env("RUST_LOG", "info,sync_net::session=debug").env("SYNC_LOG_FORMAT", "json");
    };
    let a = place.run_adjusted("a", &[], &[], traced);
    a.done(&["set", "add", "s", "x"]);
    let b = place.run_adjusted("b", &[&a.listen], &[], traced);
    b.has_links(1);

    let parent = format!("00-{TRACE_ID}-00f067aa0ba902b7-01");
    let mut asked = Process::spawn_with(place.path(), &["converge", "--socket", &a.socket], |command| {
        command.env("TRACEPARENT", &parent);
    });
    assert!(asked.wait().success(), "{}", asked.stderr());

    let begun =
        eventually("node a says that a request brings a trace", || of_trace(&a.process).into_iter().next());
    assert_eq!(begun["fields"]["parent_id"], "00f067aa0ba902b7", "{begun}");
    let heard = eventually("node b says that its peer goes on with the trace", || {
        of_trace(&b.process).into_iter().find(|line| line["message"] == "a peer goes on with a trace")
    });
    assert_eq!(
        heard["fields"]["parent_id"], begun["fields"]["span_id"],
        "b is told of the span of a: {heard}"
    );
    assert_eq!((&heard["level"], &heard["target"]), (&"debug".into(), &"sync_net::session".into()));

    let over = eventually("node b tells of the session in which it fetched what a had", || {
        let joined =
            |line: &Value| line["message"] == "a session is over" && line["fields"]["outcome"] == "joined";
        lines(&b.process).into_iter().find(joined)
    });
    assert_eq!(over["spans"], serde_json::json!(["session"]), "{over}");
    assert_eq!(over["fields"]["namespace"], "default", "{over}");
    assert!(
        over["fields"]["bytes_out"].as_u64().is_some_and(|bytes| bytes > 0)
            && over["fields"]["outcome"].is_string(),
        "{over}"
    );
}

#[test]
fn sessions_of_two_namespaces_are_told_apart() {
    let place = Place::with(&["a", "b"]);
    let traced = |command: &mut std::process::Command| {
        command.env("RUST_LOG", "info,sync_net::session=debug").env("SYNC_LOG_FORMAT", "json");
    };
    let alarms = ["--namespace", "alarms=urgent"];
    let a = place.run_adjusted("a", &[], &alarms, traced);
    a.done(&["set", "add", "s", "x"]);
    a.done(&["set", "add", "s", "x", "--namespace", "alarms"]);
    let b = place.run_adjusted("b", &[&a.listen], &alarms, traced);
    b.has_links(1);
    for namespace in ["default", "alarms"] {
        let joined = |line: &Value| {
            let fields = &line["fields"];
            line["message"] == "a session is over"
                && fields["outcome"] == "joined"
                && fields["namespace"] == namespace
        };
        let over = eventually("b tells of the session that brought it", || {
            lines(&b.process).into_iter().find(joined)
        });
        assert_eq!(over["fields"]["items"], 1, "{over}");
        let answered = |line: &Value| {
            line["message"] == "a peer is answered" && line["fields"]["namespace"] == namespace
        };
        eventually("a tells that it answered", || lines(&a.process).into_iter().find(answered));
    }
}

#[test]
fn a_traceparent_that_is_none_is_refused_by_the_node_and_left_out_by_the_tool() {
    let place = Place::with(&["a"]);
    let a = place.run("a", &[]);
    let mut asked = Process::spawn_with(place.path(), &["converge", "--socket", &a.socket], |command| {
        command.env("TRACEPARENT", "00-0-0-00");
    });
    assert!(asked.wait().success(), "{}", asked.stderr());

    use std::io::{Read as _, Write as _};
    let mut stream = std::os::unix::net::UnixStream::connect(&a.socket).unwrap();
    let body = r#"{"timeout_ms": 10}"#;
    let request = format!(
        "POST /v1/converge HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntraceparent: 00-0-0-00\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("bad_traceparent"), "{answer}");
}
