//! The local endpoint over a real Unix socket: each route, each refusal, and bytes as curl sends them.

mod common;

use std::path::Path;
use std::time::Duration;

use common::{PATIENCE, builder, ca, cluster};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sync_net::local::{LocalServer, serve};
use sync_net::{Limits, Node};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

struct Endpoint {
    node: Node,
    server: LocalServer,
    _dir: TempDir,
}

async fn endpoint(node: Node) -> Endpoint {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let server = serve(node.clone(), &dir.path().join("s")).await.expect("nothing is in the way");
    Endpoint { node, server, _dir: dir }
}

async fn alone() -> Endpoint {
    endpoint(builder(&ca(), "alone").start().await.expect("starts")).await
}

impl Endpoint {
    async fn get(&self, uri: &str) -> (StatusCode, Value) {
        request(self.server.path(), Method::GET, uri, String::new()).await
    }

    async fn post(&self, uri: &str, body: Value) -> (StatusCode, Value) {
        request(self.server.path(), Method::POST, uri, body.to_string()).await
    }

    async fn ok(&self, uri: &str) -> Value {
        let (status, body) = self.get(uri).await;
        assert_eq!(status, StatusCode::OK, "{uri}: {body}");
        body
    }

    /// The answer without its token, which is never twice the same.
    async fn done(&self, uri: &str, body: Value) -> Value {
        let (status, mut body) = self.post(uri, body).await;
        assert_eq!(status, StatusCode::OK, "{uri}: {body}");
        body.as_object_mut().map(|fields| fields.remove("token"));
        body
    }
}

async fn request(socket: &Path, method: Method, uri: &str, body: String) -> (StatusCode, Value) {
    let stream = UnixStream::connect(socket).await.expect("the endpoint listens");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    let driven = tokio::spawn(connection);
    let request = Request::builder().method(method).uri(uri).header("host", "localhost");
    let request = request.body(Full::new(Bytes::from(body))).expect("a request");
    let response = sender.send_request(request).await.expect("an answer");
    let status = response.status();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    driven.abort();
    (status, serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {body:?}")))
}

fn assert_refused((status, body): (StatusCode, Value), expected: StatusCode, kind: &str) {
    assert_eq!(status, expected, "{body}");
    assert_eq!(body["kind"], kind, "{body}");
    let error = body["error"].as_str().expect("an explanation");
    assert!(!error.is_empty() && !error.contains('\n'), "one line: {error:?}");
}

#[tokio::test]
async fn a_set_is_written_and_read() {
    let api = alone().await;
    assert_eq!(api.ok("/v1/set?key=cart").await, json!({"key": "cart", "elements": []}));
    let tea = json!({"key": "cart", "element": "tea"});
    assert_eq!(api.done("/v1/set/add", tea.clone()).await, json!({"changed": true}));
    assert_eq!(api.ok("/v1/set?key=cart").await, json!({"key": "cart", "elements": ["tea"]}));
    assert_eq!(api.done("/v1/set/remove", tea.clone()).await, json!({"changed": true}));
    assert_eq!(api.done("/v1/set/remove", tea).await, json!({"changed": false}));
    assert_eq!(api.ok("/v1/set?key=cart").await["elements"], json!([]));
}

#[tokio::test]
async fn a_map_is_written_and_read() {
    let api = alone().await;
    let entry = json!({"key": "p 1", "field": "country", "value": "Côte d’Ivoire"});
    assert_eq!(api.done("/v1/map/put", entry).await, json!({"changed": true}));
    assert_eq!(
        api.ok("/v1/map?key=p%201").await,
        json!({"key": "p 1", "entries": {"country": "Côte d’Ivoire"}})
    );
    assert_eq!(api.ok("/v1/map?key=p%201&field=country").await["value"], "Côte d’Ivoire");
    assert_eq!(api.ok("/v1/map?key=p%201&field=city").await["value"], Value::Null);
    let field = json!({"key": "p 1", "field": "country"});
    assert_eq!(api.done("/v1/map/remove", field.clone()).await, json!({"changed": true}));
    assert_eq!(api.done("/v1/map/remove", field).await, json!({"changed": false}));
    assert_eq!(api.ok("/v1/map?key=p%201").await["entries"], json!({}));
}

#[tokio::test]
async fn a_register_is_set_read_and_cleared() {
    let api = alone().await;
    assert_eq!(api.ok("/v1/register?key=title").await, json!({"key": "title", "value": null}));
    let set = json!({"key": "title", "value": "tea"});
    assert_eq!(api.done("/v1/register/set", set).await, json!({"changed": true}));
    assert_eq!(api.ok("/v1/register?key=title").await["value"], "tea");
    assert_eq!(api.done("/v1/register/clear", json!({"key": "title"})).await, json!({"changed": true}));
    assert_eq!(api.ok("/v1/register?key=title").await["value"], json!(null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_waited_for_where_it_is_carried_to() {
    let nodes = cluster(2).await;
    let (here, there) = (endpoint(nodes[0].clone()).await, endpoint(nodes[1].clone()).await);
    let (_, written) = here.post("/v1/set/add", json!({"key": "cart", "element": "tea"})).await;
    let token = written["token"].as_str().expect("a write gives a token");
    let read = there.ok(&format!("/v1/set?key=cart&after={token}")).await;
    assert_eq!(read["elements"], json!(["tea"]));
    let visible = json!({"token": token, "to": "all", "timeout_ms": 10_000});
    let (status, body) = here.post("/v1/visible", visible).await;
    assert_eq!((status, body["holders"][0]["name"].as_str()), (StatusCode::OK, Some("node-2")), "{body}");

    let two = json!({"token": token, "to": "2", "timeout_ms": 50});
    let (status, body) = here.post("/v1/visible", two).await;
    assert_eq!((status, body["kind"].as_str()), (StatusCode::GATEWAY_TIMEOUT, Some("not_visible")), "{body}");
    let text = body["error"].as_str().expect("a line");
    assert!(text.starts_with("visible at 1 of the 2 peers needed (2) after "), "{text}");
    let refused = here.post("/v1/visible", json!({"token": token, "to": "most", "timeout_ms": 50})).await;
    assert_refused(refused, StatusCode::BAD_REQUEST, "bad_visibility");
    for after in ["xyz", &token[..8], &"0".repeat(9_999)] {
        assert_refused(
            there.get(&format!("/v1/counter?key=k&after={after}")).await,
            StatusCode::BAD_REQUEST,
            "bad_token",
        );
    }
}

#[tokio::test]
async fn a_counter_is_written_and_read() {
    let api = alone().await;
    assert_eq!(api.ok("/v1/counter?key=stock").await, json!({"key": "stock", "value": 0}));
    assert_eq!(
        api.done("/v1/counter/add", json!({"key": "stock", "by": -7})).await,
        json!({"changed": true})
    );
    assert_eq!(
        api.done("/v1/counter/add", json!({"key": "stock", "by": 0})).await,
        json!({"changed": false})
    );
    assert_eq!(api.ok("/v1/counter?key=stock").await["value"], -7);
    assert_eq!(api.done("/v1/counter/reset", json!({"key": "stock"})).await, json!({"changed": true}));
    assert_eq!(api.ok("/v1/counter?key=stock").await["value"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_one_group_all_of_it_or_nothing() {
    let api = alone().await;
    let add = |element: &str| json!({"type": "set", "op": "add", "key": "s", "element": element});
    let count = json!({"type": "counter", "op": "add", "key": "c", "by": 2});
    let ops = json!({"ops": [add("tea"), count, add("milk")]});
    assert_eq!(api.done("/v1/batch", ops).await, json!({"changed": true}));
    let state = api.ok("/v1/status").await["state_id"].clone();
    let read = json!({"type": "counter", "op": "get", "key": "c"});
    let spend = json!({"type": "bounded-counter", "op": "spend", "key": "b", "by": 1});
    let unknown = json!({"type": "set", "op": "fly", "key": "s"});
    for (last, kind) in [(read, "bad_line"), (spend, "rights"), (unknown, "no_op"), (json!(5), "bad_line")] {
        let (status, refused) = api.post("/v1/batch", json!({"ops": [add("lost"), last]})).await;
        assert!(!status.is_success());
        assert_eq!(refused["kind"], kind, "{refused}");
    }
    let many: Vec<Value> = (0..4_097).map(|at| add(&at.to_string())).collect();
    let (_, refused) = api.post("/v1/batch", json!({"ops": many})).await;
    assert_eq!(refused["kind"], "too_many", "{refused}");
    assert_eq!(api.ok("/v1/status").await["state_id"], state, "nothing of what was refused is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_peers_keys_and_inspection_are_served() {
    let nodes = cluster(2).await;
    let api = endpoint(nodes[0].clone()).await;
    api.done("/v1/set/add", json!({"key": "cart/1", "element": "tea"})).await;
    api.done("/v1/counter/add", json!({"key": "stock/1", "by": 1})).await;

    let status = api.ok("/v1/status").await;
    assert_eq!(status["node"], nodes[0].id().to_hex());
    assert_eq!((&status["crdts"], &status["peers_connected"]), (&json!(2), &json!(1)));
    assert!(status["totals"]["bytes_sent"].is_u64());
    let peers = &status["pressure"][10];
    assert_eq!(*peers, json!({"bound": "peers_max", "used": 1, "max": 100, "pressure": 0.01}));
    let peers = api.ok("/v1/peers").await;
    assert_eq!(peers[0]["peer"], nodes[1].id().to_hex());
    assert_eq!(peers[0]["connected"], true);
    let keys = api.ok("/v1/keys?prefix=cart/").await;
    assert_eq!(keys.as_array().map(Vec::len), Some(1));
    assert_eq!((&keys[0]["key"], &keys[0]["type"]), (&json!("cart/1"), &json!("set")));
    assert_eq!(api.ok("/v1/keys").await.as_array().map(Vec::len), Some(2));
    let inspection = api.ok("/v1/inspect?key=cart/1").await;
    assert_eq!(inspection["objects"][0]["key"], "cart/1");
    assert_eq!(inspection["objects"][0]["shown"][0]["path"], json!({"text": "tea"}));
    assert_eq!(api.ok("/v1/inspect").await["objects"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn converge_answers_with_a_report_or_names_who_is_missing() {
    let nodes = cluster(2).await;
    let api = endpoint(nodes[1].clone()).await;
    let timeout = u64::try_from(PATIENCE.as_millis()).expect("seconds");
    let report = api.done("/v1/converge", json!({"timeout_ms": timeout})).await;
    assert_eq!(report["peers"][0]["peer"], nodes[0].id().to_hex());
    assert_eq!(report["root"], nodes[1].status().root);

    nodes[0].shutdown().await;
    let (status, body) = api.post("/v1/converge", json!({"timeout_ms": 300})).await;
    assert_eq!(body["pending"][0]["address"], nodes[0].listen_addr().to_string(), "{body}");
    assert_refused((status, body), StatusCode::GATEWAY_TIMEOUT, "not_converged");
    let long = api.post("/v1/converge", json!({"timeout_ms": 600_001})).await;
    assert_refused(long, StatusCode::BAD_REQUEST, "timeout_too_long");
}

#[tokio::test]
async fn what_is_not_understood_is_refused_in_json() {
    let api = alone().await;
    assert_refused(api.get("/v2/set").await, StatusCode::NOT_FOUND, "no_such_route");
    assert_refused(api.get("/v1/set/add").await, StatusCode::METHOD_NOT_ALLOWED, "wrong_method");
    assert_refused(api.get("/v1/set").await, StatusCode::BAD_REQUEST, "bad_query");
    assert_refused(api.get("/v1/set?key=a&kye=b").await, StatusCode::BAD_REQUEST, "bad_query");
    assert_refused(api.get("/v1/status?verbose=1").await, StatusCode::BAD_REQUEST, "bad_query");
    let unknown = api.post("/v1/counter/add", json!({"key": "a", "by": 1, "to": 2})).await;
    assert_refused(unknown, StatusCode::BAD_REQUEST, "bad_body");
    let wide = api.post("/v1/counter/add", json!({"key": "a", "by": 9_300_000_000_000_000_000_u64})).await;
    assert_refused(wide, StatusCode::BAD_REQUEST, "bad_body");
    let empty = request(api.server.path(), Method::POST, "/v1/set/add", String::new()).await;
    assert_refused(empty, StatusCode::BAD_REQUEST, "bad_body");
}

/// What `POST /v1/op` takes.
fn op(ty: &str, op: &str, key: &str, more: Value) -> Value {
    let mut body = json!({"type": ty, "op": op, "key": key});
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    body
}

#[tokio::test]
async fn any_operation_is_done_by_its_name_and_applications_see_the_same() {
    let api = alone().await;
    let add = op("set", "add", "cart", json!({"element": "tea"}));
    assert_eq!(api.done("/v1/op", add).await, json!({"changed": true}));
    assert!(api.node.or_set::<String>("cart").contains(&"tea".to_owned()), "text is a String");
    assert_eq!(api.ok("/v1/set?key=cart").await["elements"], json!(["tea"]));

    let value = json!({"price": 250, "note": null, "icon": {"$bytes": "AAE="}});
    api.done("/v1/op", op("map", "put", "m", json!({"field": 7, "value": value}))).await;
    let read = api.done("/v1/op", op("map", "get", "m", json!({"field": 7}))).await;
    assert_eq!(read, json!({"key": "m", "field": 7, "value": value}));
    let map = api.node.lww_map::<sync_net::Value, sync_net::Value>("m");
    assert_eq!(map.get(&7.into()).expect("a value").expect("it is there").to_json(), value_json(&value));
    assert_eq!(api.ok("/v1/get?key=m").await, json!({"key": "m", "type": "map", "value": {"$7": value}}));
    api.done("/v1/op", op("register", "set", "r", json!({"value": null}))).await;
    assert_eq!(
        api.node.lww_register::<sync_net::Value>("r").get().expect("a value"),
        Some(sync_net::Value::Null),
        "null is a value"
    );

    api.node.or_set::<(u16, bool)>("foreign").add(&(300, true)).expect("there is room");
    let shown = api.ok("/v1/get?key=foreign").await;
    assert_eq!(shown["value"], json!([{"$raw": "rAIB"}]));
    let rm = op("set", "rm", "foreign", json!({"element": {"$raw": "rAIB"}}));
    assert_eq!(api.done("/v1/op", rm).await, json!({"changed": true}));
    assert!(api.node.or_set::<(u16, bool)>("foreign").is_empty());
}

fn value_json(value: &Value) -> String {
    sync_net::Value::from_json(&value.to_string()).expect("a value").to_json()
}

#[tokio::test]
async fn places_in_nested_maps_are_written_shown_and_removed() {
    let api = alone().await;
    let at = |names: Value, more: Value| {
        let mut more = more;
        more["at"] = names;
        more
    };
    api.done(
        "/v1/op",
        op("register", "set", "user", at(json!(["address", "city"]), json!({"value": "London"}))),
    )
    .await;
    api.done("/v1/op", op("counter", "add", "user", at(json!(["logins"]), json!({"by": 2})))).await;
    api.done("/v1/op", op("set", "add", "user", at(json!(["logins"]), json!({"element": "web"})))).await;
    assert_eq!(
        api.ok("/v1/get?key=user").await["value"],
        json!({"logins": {"$types": {"set": ["web"], "counter": 2}}, "address": {"city": "London"}})
    );
    let city = api.ok("/v1/get?key=user&at=[%22address%22,%22city%22]").await;
    assert_eq!((&city["type"], &city["value"]), (&json!("register"), &json!("London")));
    let logins = api.ok("/v1/get?key=user&at=[%22logins%22]").await;
    assert_eq!((&logins["type"], &logins["others"]), (&json!("set"), &json!(["counter"])));
    let removed = api.done("/v1/remove", json!({"key": "user", "at": ["logins"], "type": "set"})).await;
    assert_eq!(removed, json!({"changed": true}));
    assert_eq!(
        api.ok("/v1/get?key=user").await["value"],
        json!({"logins": 2, "address": {"city": "London"}})
    );
    assert_eq!(api.done("/v1/remove", json!({"key": "user"})).await, json!({"changed": true}));
    assert_eq!(api.done("/v1/remove", json!({"key": "user"})).await, json!({"changed": false}));
    assert_refused(api.get("/v1/get?key=user").await, StatusCode::NOT_FOUND, "nothing");
}

#[tokio::test]
async fn a_type_of_an_application_is_shown_by_its_cells_and_removed() {
    use sync_core::types::user::UserTag;
    struct Vote;
    impl sync_net::CustomType for Vote {
        const TAG: UserTag = UserTag::new(200).expect("from 128 on");
        const NAME: &str = "vote";
        type Op = ();
        type Value = u64;
        fn apply(
            group: &mut sync_core::store::Group<'_>,
            cells: &sync_core::types::Spot<'_>,
            (): &(),
        ) -> Result<u64, sync_net::WriteError> {
            cells.put(group, b"\x03ada", &[7, 7]).map(|_| 0)
        }
        fn read(store: &sync_core::store::Store, cells: &sync_core::types::Spot<'_>) -> u64 {
            cells.cell_count(store)
        }
    }
    for (api, name) in [
        (
            endpoint(builder(&ca(), "knows").custom_type::<Vote>().start().await.expect("starts")).await,
            "vote",
        ),
        (alone().await, "type200"),
    ] {
        api.node.custom::<Vote>("lunch").apply(&()).expect("there is room");
        let shown = api.ok("/v1/get?key=lunch").await;
        let cells = json!([{"path": "ada", "writes": [{"$raw": "Bwc="}]}]);
        assert_eq!(shown, json!({"key": "lunch", "type": name, "value": cells}));
        let refused = api.post("/v1/op", op(name, "add", "lunch", json!({}))).await;
        assert_refused(refused, StatusCode::BAD_REQUEST, "no_type");
        let removed = api.done("/v1/remove", json!({"key": "lunch", "type": name})).await;
        assert_eq!(removed, json!({"changed": true}));
        assert_eq!(api.node.custom::<Vote>("lunch").read(), 0);
    }
}

#[tokio::test]
async fn an_operation_that_is_none_is_refused_and_nothing_changes() {
    let api = alone().await;
    let bad = StatusCode::BAD_REQUEST;
    for (body, kind) in [
        (op("basket", "add", "k", json!({})), "no_type"),
        (op("set", "put", "k", json!({})), "no_op"),
        (op("set", "add", "k", json!({})), "bad_args"),
        (op("set", "add", "k", json!({"element": 1, "value": 2})), "bad_args"),
        (op("set", "add", "k", json!({"elment": 1})), "bad_body"),
        (op("set", "add", "k", json!({"element": {"$what": "x"}})), "bad_body"),
        (op("set", "add", "k", json!({"element": {"a": 1}, "at": "x"})), "bad_body"),
        (op("counter", "add", "k", json!({"by": 9_300_000_000_000_000_000_u64})), "range"),
        (op("grow-counter", "add", "k", json!({"by": -1})), "range"),
        (op("set", "add", "k", json!({"element": 1, "after": "x"})), "bad_args"),
        (op("set", "ls", "k", json!({"after": "x"})), "bad_token"),
        (op("bounded-counter", "send", "k", json!({"to": "ab", "count": 1})), "no_owner"),
    ] {
        let answer = api.post("/v1/op", body.clone()).await;
        assert_eq!(answer.1["kind"], kind, "{body}: {answer:?}");
        assert_refused(answer, bad, kind);
    }
    let deep =
        format!(r#"{{"type":"set","op":"add","key":"k","element":{}1{}}}"#, "[".repeat(33), "]".repeat(33));
    let answer = request(api.server.path(), Method::POST, "/v1/op", deep).await;
    assert!(answer.1["error"].as_str().expect("text").contains("more than 32 deep"), "{answer:?}");
    assert_refused(answer, bad, "bad_body");
    // Deeper than the stack of who reads it.
    let deep = format!(r#"{{"type":"set","op":"add","key":"k","element":{}"#, "[".repeat(500_000));
    assert_refused(request(api.server.path(), Method::POST, "/v1/op", deep).await, bad, "bad_body");
    let names = vec!["n"; 257];
    let answer = api.post("/v1/op", op("set", "add", "k", json!({"element": 1, "at": names}))).await;
    assert_refused(answer, StatusCode::PAYLOAD_TOO_LARGE, "too_deep");
    let answer = api.post("/v1/op", op("set", "add", "k", json!({"element": 1, "at": vec!["n"; 20]}))).await;
    assert_refused(answer, StatusCode::PAYLOAD_TOO_LARGE, "too_deep");
    assert_refused(api.get("/v1/get?key=k&type=basket").await, bad, "no_type");
    assert_refused(api.get("/v1/get?key=k&at=x").await, bad, "bad_query");
    assert_eq!(api.ok("/v1/keys").await, json!([]));
}

#[tokio::test]
async fn limits_and_foreign_types_are_refused_with_their_kind() {
    let limits = Limits { crdts_max: 1, ..Limits::default() };
    let api = endpoint(builder(&ca(), "small").limits(limits).start().await.expect("starts")).await;
    api.done("/v1/counter/add", json!({"key": "a", "by": 1})).await;
    let full = api.post("/v1/counter/add", json!({"key": "b", "by": 1})).await;
    assert_refused(full, StatusCode::INSUFFICIENT_STORAGE, "full");
    let limits = Limits { crdt_cells_max: 1, crdt_bytes_max: 300, ..Limits::default() };
    let crowded = endpoint(builder(&ca(), "crowded").limits(limits).start().await.expect("starts")).await;
    crowded.done("/v1/set/add", json!({"key": "a", "element": "x"})).await;
    let full = crowded.post("/v1/set/add", json!({"key": "a", "element": "y"})).await;
    assert_refused(full, StatusCode::INSUFFICIENT_STORAGE, "crdt_cells");
    let wide = json!({"key": "b", "field": "f", "value": "v".repeat(300)});
    assert_refused(crowded.post("/v1/map/put", wide).await, StatusCode::INSUFFICIENT_STORAGE, "crdt_bytes");
    let long = api.post("/v1/counter/add", json!({"key": "k".repeat(600), "by": 1})).await;
    assert_refused(long, StatusCode::PAYLOAD_TOO_LARGE, "key_too_long");
    let wide = api.post("/v1/map/put", json!({"key": "a", "field": "f", "value": "v".repeat(70_000)})).await;
    assert_refused(wide, StatusCode::PAYLOAD_TOO_LARGE, "value_too_long");
    let huge =
        api.post("/v1/map/put", json!({"key": "a", "field": "f", "value": "v".repeat(1_200_000)})).await;
    assert_refused(huge, StatusCode::PAYLOAD_TOO_LARGE, "body_too_large");

    let api = alone().await;
    api.node.or_set::<u64>("numbers").add(&300).expect("there is room");
    assert_refused(api.get("/v1/set?key=numbers").await, StatusCode::CONFLICT, "not_text");
    api.node.shutdown().await;
    let closed = api.post("/v1/counter/add", json!({"key": "a", "by": 1})).await;
    assert_refused(closed, StatusCode::SERVICE_UNAVAILABLE, "closed");
}

#[tokio::test]
async fn bytes_as_curl_sends_them_are_understood() {
    let api = alone().await;
    let mut stream = UnixStream::connect(api.server.path()).await.expect("the endpoint listens");
    let body = r#"{"key":"cart","element":"tea"}"#;
    let head = format!(
        "POST /v1/set/add HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\
         Content-Length: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("writes");
    stream.write_all(body.as_bytes()).await.expect("writes");
    stream
        .write_all(b"GET /v1/set?key=cart HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .expect("the connection is kept");
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("in time").expect("text");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"), "{answer}");
    assert!(answer.contains(r#"{"changed":true,"token":""#), "{answer}");
    assert!(answer.ends_with(r#"{"key":"cart","elements":["tea"]}"#), "{answer}");
}

#[tokio::test]
async fn bytes_that_are_no_http_end_the_connection_and_nothing_else() {
    let api = alone().await;
    for junk in [b"\x00\xff\x00\xff\r\n\r\n".as_slice(), b"GET / HTTP/9.9\r\n\r\n", &[b'x'; 100_000]] {
        let mut stream = UnixStream::connect(api.server.path()).await.expect("the endpoint listens");
        let _ = stream.write_all(junk).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it is closed");
    }
    api.ok("/v1/status").await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let api = alone().await;
    let mut idle = Vec::new();
    for _ in 0..64 {
        idle.push(UnixStream::connect(api.server.path()).await.expect("the endpoint listens"));
    }
    let early = tokio::time::timeout(Duration::from_millis(300), api.get("/v1/status")).await;
    assert!(early.is_err(), "the 65th waits");
    idle.pop();
    let answer = tokio::time::timeout(PATIENCE, api.get("/v1/status")).await;
    assert_eq!(answer.expect("there is a place").0, StatusCode::OK);
}

#[tokio::test]
async fn the_socket_goes_with_the_endpoint() {
    let Endpoint { node, server, _dir } = alone().await;
    let path = server.path().to_owned();
    let second = serve(node.clone(), &path).await.expect_err("the first one answers");
    assert!(second.to_string().contains("in use"), "{second}");
    server.shutdown().await;
    assert!(!path.exists());
    drop(serve(node, &path).await.expect("the place is free"));
    assert!(!path.exists());
}

#[tokio::test]
async fn a_request_means_the_namespace_that_it_names() {
    let api = alone().await;
    let open = json!({"name": "alarms 1", "class": "urgent", "max_crdts": 1});
    let (status, opened) = api.post("/v1/namespaces/open", open.clone()).await;
    assert_eq!((status, &opened["class"], &opened["open"]), (StatusCode::OK, &json!("urgent"), &json!(true)));
    assert_refused(api.post("/v1/namespaces/open", open).await, StatusCode::CONFLICT, "namespace_open");
    let fast = json!({"name": "x", "class": "fast"});
    assert_refused(api.post("/v1/namespaces/open", fast).await, StatusCode::BAD_REQUEST, "bad_class");

    let smoke = json!({"key": "raised", "element": "smoke"});
    assert_eq!(api.done("/v1/set/add?namespace=alarms%201", smoke).await, json!({"changed": true}));
    let op = json!({"type": "set", "op": "add", "key": "raised", "element": "fire"});
    assert_eq!(api.done("/v1/op?namespace=alarms%201", op).await["changed"], true);
    let read = api.ok("/v1/set?key=raised&namespace=alarms%201").await;
    assert_eq!(read["elements"], json!(["fire", "smoke"]));
    assert_eq!(api.ok("/v1/set?namespace=alarms+1&key=raised").await["elements"], json!(["fire", "smoke"]));
    assert_eq!(api.ok("/v1/set?key=raised").await["elements"], json!([]));
    assert_eq!(api.ok("/v1/keys?namespace=alarms%201").await.as_array().map(Vec::len), Some(1));
    let second = json!({"key": "second", "element": "x"});
    let full = api.post("/v1/set/add?namespace=alarms%201", second).await;
    assert_refused(full, StatusCode::INSUFFICIENT_STORAGE, "full");
    assert_eq!(
        api.ok("/v1/knowledge?namespace=alarms%201").await["context"].as_array().map(Vec::len),
        Some(1)
    );

    let listed = api.ok("/v1/namespaces").await;
    let named: Vec<_> = listed.as_array().expect("a list").iter().map(|info| info["name"].clone()).collect();
    assert_eq!((named, &listed[0]["items"]), (vec![json!("alarms 1"), json!("default")], &json!(2)));
    assert_eq!(api.ok("/v1/status").await["namespaces"], listed);

    let (nowhere, twice) = ("/v1/keys?namespace=nowhere", "/v1/keys?namespace=a&namespace=b");
    assert_refused(api.get(nowhere).await, StatusCode::NOT_FOUND, "no_namespace");
    assert_refused(api.get(twice).await, StatusCode::BAD_REQUEST, "bad_query");
    let of_the_node = "/v1/status?namespace=alarms%201";
    assert_refused(api.get(of_the_node).await, StatusCode::BAD_REQUEST, "bad_query");

    let close = json!({"name": "alarms 1"});
    assert_eq!(api.done("/v1/namespaces/close", close.clone()).await["open"], false);
    assert_refused(api.post("/v1/namespaces/close", close).await, StatusCode::CONFLICT, "namespace_closed");
    let water = json!({"key": "raised", "element": "water"});
    let closed = api.post("/v1/set/add?namespace=alarms%201", water).await;
    assert_refused(closed, StatusCode::CONFLICT, "namespace_closed");
    assert_eq!(api.ok("/v1/set?key=raised&namespace=alarms%201").await["elements"], json!(["fire", "smoke"]));
    let default = api.post("/v1/namespaces/close", json!({"name": "default"})).await;
    assert_refused(default, StatusCode::CONFLICT, "default_namespace");
    api.node.shutdown().await;
}
