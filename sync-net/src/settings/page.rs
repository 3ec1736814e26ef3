//! The default file: every setting with its default, in a comment each.
//!
//! Its lines are comments, so that a node whose operator copied it follows the defaults of later versions too.

use std::fmt::Write as _;

use super::table::{Reload, SETTINGS, Setting};
use super::{Settings, Value};

/// Columns of a line of text.
const COLUMNS: usize = 100;

const HEAD: &str = "Configuration of a node of sync. Take the # away from a setting to change it; the values below are the \
                    defaults, or examples where there is none. A variable (SYNC_ and the name in capitals) is stronger than \
                    this file, and a flag of `sync-cli run` (the name with hyphens) stronger than both. `sync-cli config \
                    check` finds mistakes, `sync-cli config show` says what is set and by what. docs/configuration.md.";

/// The default file, as `sync-cli config default` prints it.
pub fn default_file() -> String {
    let mut page = String::new();
    comment(&mut page, HEAD);
    let mut group = None;
    for setting in SETTINGS {
        if group.replace(setting.group) != Some(setting.group) {
            let _ = write!(page, "\n\n# ---- {} ----\n", setting.group.title());
        }
        page.push('\n');
        comment(&mut page, setting.about);
        comment(&mut page, setting.edge);
        comment(&mut page, &takes(setting));
        let _ = writeln!(page, "#{} = {}", setting.key, value(setting));
    }
    page
}

fn takes(setting: &Setting) -> String {
    let restart = match setting.reload {
        Reload::Now => "",
        Reload::Restart => " Needs a restart.",
    };
    let default = match setting.default {
        "" => String::new(),
        words => format!(" Default: {words}."),
    };
    let form = setting.kind.form();
    let (first, rest) = form.split_at(form.chars().next().map_or(0, char::len_utf8));
    format!("{}{rest}.{default}{restart}", first.to_uppercase())
}

/// What stands behind the key: the default, or an example.
fn value(setting: &Setting) -> String {
    match (setting.get(&Settings::default()), setting.example) {
        (value, "") => value.toml(),
        (_, example) if example.starts_with('[') => example.to_owned(),
        (_, example) => Value::Text(example.to_owned()).toml(),
    }
}

/// Appends `text` as comments of at most [`COLUMNS`] columns, if a word is no longer than that.
fn comment(page: &mut String, text: &str) {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.len() + word.len() + 3 > COLUMNS {
            let _ = writeln!(page, "# {line}");
            line.clear();
        }
        let between = if line.is_empty() { "" } else { " " };
        let _ = write!(line, "{between}{word}");
    }
    if !line.is_empty() {
        let _ = writeln!(page, "# {line}");
    }
}
