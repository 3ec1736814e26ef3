//! A node on a file system that is really full: removes still work, growth is refused by name, and room heals it.
//!
//! The file system is a small one in memory, mounted in a namespace of its own. Where that is not allowed the test says
//! so and passes; a disk that is told to be full is in `sync-net/tests/faults.rs`.

mod support;

use std::fs;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use support::http::Http;
use support::{Place, eventually};

/// Mounts, leaves little room, and starts the node again whenever it ends. Files named `go` and `kill` are what it is
/// told by.
const SCRIPT: &str = r#"
mount -t tmpfs -o size=24m tmpfs "$DATA" || exit 77
head -c 12582912 /dev/zero > "$DATA/ballast"
( while sleep 0.05; do
    if [ -e "$TELL/go" ]; then rm -f "$DATA/ballast"; fi
    if [ -e "$TELL/kill" ]; then rm "$TELL/kill"; kill -9 "$(cat "$TELL/pid")"; fi
  done ) &
while :; do "$@" & echo $! > "$TELL/pid"; wait $!; done
"#;

/// Ends with everything in its namespace.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn in_namespace() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c"]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn storage(socket: &str) -> Option<Value> {
    let status = Http::connect(socket).ok()?.get("/v1/status").ok()?;
    Some(status["storage"].clone())
}

#[test]
fn on_a_full_file_system_removes_work_growth_is_refused_and_room_heals_it() {
    let place = Place::with(&["a"]);
    let (dir, data, socket) = (place.at("a"), place.at("small"), place.at("a.sock"));
    fs::create_dir(&data).unwrap();
    let allowed = in_namespace().arg("mount -t tmpfs tmpfs \"$0\"").arg(&data).stderr(Stdio::null()).status();
    if !allowed.is_ok_and(|status| status.success()) {
        println!("no file system can be mounted here: nothing was tested");
        return;
    }
    let mut command = in_namespace();
    command.args([SCRIPT, "sh", env!("CARGO_BIN_EXE_sync-cli"), "run", "--dir", &dir, "--data", &data]);
    command.args(["--listen", "127.0.0.1:0", "--socket", &socket]);
    command.env("DATA", &data).env("TELL", place.path()).env_remove("RUST_LOG");
    let log = place.at("log");
    let machine = Machine(command.stderr(fs::File::create(&log).unwrap()).spawn().unwrap());
    let is_up = || storage(&socket).filter(|storage| storage["reserve"] == true);
    eventually("the node starts", is_up);

    let value = "v".repeat(8_000);
    let put = |http: &mut Http, field: u32| {
        let body = json!({"key": "map", "field": field.to_string(), "value": value});
        http.post("/v1/map/put", "immediate", &body).unwrap()
    };
    let mut http = Http::connect(&socket).unwrap();
    let (mut acknowledged, mut refused) = (Vec::new(), None);
    for field in 0..4_000 {
        match put(&mut http, field) {
            (200, _) => acknowledged.push(field),
            (503, _) => {}
            (status, body) => {
                refused = Some((status, body));
                break;
            }
        }
    }
    let (status, body) = refused.expect("the disk is full at some time");
    assert_eq!((status, &body["kind"]), (507, &json!("disk_full")), "{body}");
    assert!(acknowledged.len() > 20, "{} were acknowledged", acknowledged.len());
    let given_up =
        || storage(&socket).filter(|storage| storage["reserve"] == false && storage["failing"].is_null());
    eventually("the reserve has let the last step through", given_up);

    // Removes go to the disk, each for itself.
    let removed: Vec<u32> = acknowledged.iter().copied().take(10).collect();
    for field in &removed {
        let body = json!({"key": "map", "field": field.to_string()});
        let answer = http.post("/v1/map/remove", "immediate", &body).unwrap();
        assert_eq!(answer.0, 200, "{answer:?}");
    }
    assert_eq!(put(&mut http, 9_999).0, 507, "what grows still waits for room");

    // Full or not, a crash loses nothing.
    fs::write(place.path().join("kill"), "").unwrap();
    eventually("the node is gone", || Http::connect(&socket).is_err().then_some(()));
    let storage_now = eventually("the node is back", || storage(&socket));
    assert_eq!(storage_now["reserve"], false, "there is no room for it yet");
    let mut http = Http::connect(&socket).unwrap();
    let entries = http.get("/v1/map?key=map").unwrap()["entries"].clone();
    for field in &acknowledged {
        let there = entries.get(field.to_string()).is_some();
        assert_eq!(there, !removed.contains(field), "field {field}");
    }
    assert_eq!(put(&mut http, 9_999).0, 507, "what grows still waits for room");

    fs::write(place.path().join("go"), "").unwrap();
    eventually("there is room again", || storage(&socket).filter(|storage| storage["reserve"] == true));
    assert_eq!(put(&mut http, 9_999).0, 200);
    drop(machine);
}
