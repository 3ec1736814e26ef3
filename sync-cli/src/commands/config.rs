//! `config`: what a node would be set up with, and every mistake in it. No node is asked.

use serde_json::{Value as Json, json};
use sync_net::settings::{self, Reload, Resolved, SETTINGS, Setting, Value};

use crate::args::{ConfigArgs, ConfigCommand};
use crate::failure::Failure;
use crate::{config, output};

pub(super) fn config(command: ConfigCommand, json: bool) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check { file, config } => {
            check(&ConfigArgs { config: file.or(config.config), ..config }, json)
        }
        ConfigCommand::Show { config } => show(&config::read(&config)?, json),
        ConfigCommand::Default if json => output::json(&json!({ "file": settings::default_file() })),
        ConfigCommand::Default => output::line(settings::default_file().trim_end()),
    }
}

fn check(args: &ConfigArgs, json: bool) -> Result<(), Failure> {
    let file = config::file(args).map(|file| file.display().to_string());
    match config::read(args) {
        Ok(resolved) => {
            let count = SETTINGS.iter().filter(|setting| is_set(&resolved, setting)).count();
            let file = file.as_deref();
            match json {
                true => output::json(&json!({ "file": file, "settings": count, "mistakes": [] })),
                false => output::line(&format!(
                    "{}: no mistakes, {count} settings are not the default",
                    file.map_or("no file".to_owned(), output::shown)
                )),
            }
        }
        Err(mistakes) => {
            if json {
                let told =
                    mistakes.iter().map(|mistake| json!({ "place": mistake.place, "text": mistake.text }));
                output::json(&json!({ "file": file, "mistakes": told.collect::<Vec<_>>() }))?;
            }
            Err(mistakes.into())
        }
    }
}

fn is_set(resolved: &Resolved, setting: &Setting) -> bool {
    *resolved.origin(setting.key) != settings::Origin::Default
}

fn show(resolved: &Resolved, json: bool) -> Result<(), Failure> {
    let shown = SETTINGS.iter().map(|setting| {
        let value = setting.get(&resolved.settings);
        let origin = resolved.origin(setting.key).to_string();
        (setting, value, origin)
    });
    if json {
        let one = |(setting, value, origin): (&Setting, Value, String)| {
            json!({
                "key": setting.key, "value": as_json(&value), "origin": origin,
                "reloads": setting.reload == Reload::Now
            })
        };
        return output::json(&shown.map(one).collect());
    }
    let row = |(setting, value, origin): (&Setting, Value, String)| {
        // In words what follows from something that is no setting.
        let value = if value == Value::Unset { setting.default.to_owned() } else { value.to_string() };
        vec![setting.key.to_owned(), output::shown(&value), output::shown(&origin)]
    };
    output::line(&output::table(&["SETTING", "VALUE", "FROM"], shown.map(row)))
}

fn as_json(value: &Value) -> Json {
    match value {
        Value::Unset => Json::Null,
        Value::Count(n) => json!(n),
        Value::Flag(flag) => json!(flag),
        Value::List(texts) => json!(texts),
        Value::Size(_) | Value::Time(_) | Value::Text(_) => json!(value.to_string()),
    }
}
