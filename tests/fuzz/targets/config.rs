//! The configuration file of an operator.

use sync_net::settings::{FILE_BYTES_MAX, File, Layers, default_file};

use super::Target;
use crate::judge::Seen;
use crate::mutate::Form;

const WORDS: Form = Form::Text(&[
    "=",
    "\n",
    "\"",
    "[",
    "]",
    "#",
    "_",
    "max_crdts",
    "sync_interval = \"30s\"",
    "peers = [\"a:1\"]",
    "namespaces = [\"a=bulk\"]",
    "1MB",
    "64MiB",
    "-1",
    "9223372036854775808",
    "true",
    "1e9",
    "0x10",
    "1979-05-27",
    "[[x]]",
    "{ a = 1 }",
    "\\u0000",
    "é",
]);

/// Every setting of the default file, with its comment taken off.
fn files() -> Vec<Vec<u8>> {
    let all = default_file();
    let set: String =
        all.lines().map(|line| format!("{}\n", line.strip_prefix('#').unwrap_or(line))).collect();
    let one = |line: &str| line.strip_prefix('#').filter(|line| line.contains(" = ")).map(str::to_owned);
    let singles = all.lines().filter_map(one).map(String::into_bytes);
    [all.clone().into_bytes(), set.into_bytes(), Vec::new()].into_iter().chain(singles).collect()
}

pub(crate) const CONFIG: Target = Target {
    name: "config",
    form: WORDS,
    corpus: files,
    begin: || {
        Box::new(|input| {
            let bytes = &input[..input.len().min(FILE_BYTES_MAX)];
            let file = Some(File { name: "sync.toml", bytes });
            match (Layers { file, ..Layers::default() }).resolve() {
                Err(mistakes) => Seen::refused(&mistakes.iter().next().expect("a refusal names a mistake")),
                Ok(resolved)
                    if resolved.settings.limits.group_bytes_max
                        >= resolved.settings.limits.message_bytes_max =>
                {
                    Err("a group is let be as long as a message".to_owned())
                }
                Ok(_) => Ok(Seen::read("a configuration", 0)),
            }
        })
    },
};
