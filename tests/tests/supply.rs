//! The dependency tree: every licence is on the list, and every duplicate is known.
//!
//! Reads `cargo metadata` of the locked tree, so it needs no network and no tool beside cargo. What it
//! does not do is compare with a database of advisories: that needs one to be fetched.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Licences that the product may ship with. `MPL-2.0` is per file and allowed for dependencies only.
const LICENCES: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unlicense",
    "CC0-1.0",
    "Unicode-3.0",
    "MIT-0",
    "0BSD",
    "MPL-2.0",
    "CDLA-Permissive-2.0",
    "BSL-1.0",
];

/// Crates of which two versions are linked, each with the reason. Keep it short.
const DUPLICATES: &[(&str, &str)] = &[
    ("embedded-io", "postcard names both, for features that are off"),
    ("getrandom", "0.2 is ring's, until its next release"),
    ("itertools", "0.13 is that of the benches' statistics, until their next release"),
    ("syn", "build time only: two generations of derive macros"),
];

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs the tests, so it runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

/// Name, version and licence of every package in the resolved tree of this platform.
fn packages(metadata: &Value) -> Vec<(&str, &str, &str)> {
    let resolved: BTreeSet<&str> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|node| node["id"].as_str())
        .collect();
    let all = metadata["packages"].as_array().unwrap();
    all.iter()
        .filter(|package| resolved.contains(package["id"].as_str().unwrap_or_default()))
        .map(|package| {
            let get = |name: &str| package[name].as_str().unwrap_or_default();
            (get("name"), get("version"), get("license"))
        })
        .collect()
}

/// True if the expression can be met from the list: `AND` needs all of its parts, `OR` and `/` one.
fn allowed(expression: &str) -> bool {
    let expression = expression.replace(['(', ')'], "").replace('/', " OR ");
    expression.split(" AND ").all(|part| part.split(" OR ").any(|licence| LICENCES.contains(&licence.trim())))
}

#[test]
fn every_licence_in_the_tree_is_on_the_list() {
    let metadata = metadata();
    let refused: Vec<_> = packages(&metadata).into_iter().filter(|(.., licence)| !allowed(licence)).collect();
    assert!(refused.is_empty(), "not on the list: {refused:?}");
    assert!(
        !allowed("GPL-3.0") && !allowed("MIT AND GPL-3.0") && allowed("GPL-3.0 OR MIT"),
        "the check bites"
    );
}

#[test]
fn every_crate_linked_twice_is_known() {
    let metadata = metadata();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, version, _) in packages(&metadata) {
        versions.entry(name).or_default().insert(version);
    }
    let twice: Vec<_> = versions
        .into_iter()
        .filter(|(name, versions)| versions.len() > 1 && !DUPLICATES.iter().any(|(known, _)| known == name))
        .collect();
    assert!(twice.is_empty(), "linked in more than one version: {twice:?}");
}
