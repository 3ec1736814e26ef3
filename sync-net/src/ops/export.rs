//! What a store reads as, as the operations that make it anew: one a line, in JSON.
//!
//! A line is a request of the local endpoint, so `import` has no format of its own. What is kept is what readers see: not who wrote
//! it and when, marks and floors, or which of several concurrent values is whose. An import is new writes.

use serde_json::{Map, Value as Json, json};
use sync_core::cell::TypeTag;
use sync_core::store::{Items, Store};
use sync_core::types::or_map::{self, Map as Nested};
use sync_core::types::{
    At, bounded_counter, disable_flag, enable_flag, g_counter, log, lww_map, lww_register, max_register,
    min_register, multimap, mv_register, pn_counter, rw_set, user,
};

use super::reading::{ALL, NAMES_MAX};
use crate::value::Stored;

/// What went into an export, told in its last line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exported {
    /// Lines, each an operation.
    pub(crate) ops: u64,
    /// CRDTs that no operation can make: of types that this version does not know, or below names that are not text.
    pub(crate) left_out: u64,
    /// Values that stood beside others, written at once: after an import only the last one of them is read.
    pub(crate) settled: u64,
}

/// CRDTs as lines, given away one by one.
pub(crate) struct Exporter<'a> {
    store: &'a Store,
    /// Takes a line; false if no more is wanted.
    line: &'a mut dyn FnMut(&Json) -> bool,
    wanted: bool,
    exported: Exported,
    /// The name of a type of the application's.
    name_of: &'a dyn Fn(TypeTag) -> String,
}

/// A place under way: its key and the names of the maps around it.
#[derive(Clone, Copy)]
struct Under<'a> {
    key: &'a str,
    names: &'a [String],
}

impl<'a> Exporter<'a> {
    pub(crate) fn new(
        store: &'a Store,
        name_of: &'a dyn Fn(TypeTag) -> String,
        line: &'a mut dyn FnMut(&Json) -> bool,
    ) -> Self {
        Self { store, line, wanted: true, exported: Exported::default(), name_of }
    }

    /// The lines of the CRDT of type `ty` at `key`; false if no more is wanted.
    pub(crate) fn object(&mut self, key: &str, ty: TypeTag) -> bool {
        self.place(Under { key, names: &[] }, At::from(key), ty);
        self.wanted
    }

    /// What it came to.
    pub(crate) fn done(self) -> Exported {
        self.exported
    }

    fn op(&mut self, under: Under<'_>, ty: TypeTag, op: &str, args: Json) {
        let mut line = Map::new();
        line.insert("type".into(), ty.name().map_or_else(|| (self.name_of)(ty), str::to_owned).into());
        line.insert("op".into(), op.into());
        line.insert("key".into(), under.key.into());
        if !under.names.is_empty() {
            line.insert("at".into(), json!(under.names));
        }
        if let Json::Object(args) = args {
            line.extend(args);
        }
        self.wanted = self.wanted && (self.line)(&Json::Object(line));
        self.exported.ops += 1;
    }

    fn place(&mut self, under: Under<'_>, at: At<'_>, ty: TypeTag) {
        let store = self.store;
        match ty {
            TypeTag::OR_SET | TypeTag::GROW_SET => {
                for (element, items) in at.cells_of(ty).cells(store) {
                    self.op(under, ty, "add", expiring(json!({"element": stored(element)}), items));
                }
            }
            TypeTag::RW_SET => {
                for element in rw_set::elements(store, at) {
                    let items = at.cells_of(ty).items(store, element);
                    self.op(under, ty, "add", expiring(json!({"element": stored(element)}), items));
                }
            }
            TypeTag::LWW_MAP => {
                for (field, items) in at.cells_of(ty).cells(store) {
                    self.settle(items);
                    let Some(winner) = lww_map::winner(items) else { continue };
                    let mut args =
                        json!({"field": stored(field), "value": stored(winner.payload.as_bytes())});
                    expires(&mut args, winner.expires.0);
                    self.op(under, ty, "put", args);
                }
            }
            TypeTag::MULTIMAP => {
                for (path, items) in at.cells_of(ty).cells(store) {
                    let Some((field, value)) = multimap::pair(path) else { continue };
                    let args = json!({"field": stored(field), "value": stored(value)});
                    self.op(under, ty, "add", expiring(args, items));
                }
            }
            TypeTag::LWW_REGISTER => {
                let items = at.cells_of(ty).items(store, &[]);
                self.settle(items);
                if let (Some(value), Some(winner)) = (lww_register::get(store, at), lww_map::winner(items)) {
                    let mut args = json!({"value": stored(value)});
                    expires(&mut args, winner.expires.0);
                    self.op(under, ty, "set", args);
                }
            }
            TypeTag::MV_REGISTER => {
                let items = at.cells_of(ty).items(store, &[]);
                let values = mv_register::values(store, at);
                self.exported.settled += (values.len() as u64).saturating_sub(1);
                for value in values {
                    self.op(under, ty, "set", expiring(json!({"value": stored(value)}), items));
                }
            }
            TypeTag::ENABLE_FLAG if enable_flag::is_on(store, at) => {
                let items = at.cells_of(ty).items(store, &[]);
                self.op(under, ty, "enable", expiring(json!({}), items));
            }
            TypeTag::DISABLE_FLAG if disable_flag::is_on(store, at) => {
                let items = at.cells_of(ty).items(store, &[]);
                self.op(under, ty, "enable", expiring(json!({}), items));
            }
            TypeTag::DISABLE_FLAG => self.op(under, ty, "disable", json!({})),
            TypeTag::ENABLE_FLAG => {}
            TypeTag::PN_COUNTER => self.count(under, ty, "add", pn_counter::value(store, at)),
            TypeTag::G_COUNTER => self.count(under, ty, "add", g_counter::value(store, at)),
            TypeTag::BOUNDED_COUNTER => self.count(under, ty, "gain", bounded_counter::value(store, at)),
            TypeTag::MAX_REGISTER => self.number(under, ty, max_register::get(store, at)),
            TypeTag::MIN_REGISTER => self.number(under, ty, min_register::get(store, at)),
            TypeTag::LOG => {
                for entry in log::entries(store, at, ALL) {
                    let items = at.cells_of(ty).items(store, &log::path(entry.hlc, entry.dot));
                    self.op(under, ty, "append", expiring(json!({"value": stored(entry.value)}), items));
                }
            }
            TypeTag::OR_MAP => self.nested(under, at),
            ty if user::UserTag::new(ty.0).is_some() => {
                for (path, items) in at.cells_of(ty).cells(store) {
                    self.settle(items);
                    for item in items {
                        let mut args =
                            json!({"path": stored(path), "value": stored(item.payload.as_bytes())});
                        expires(&mut args, item.expires.0);
                        self.op(under, ty, "cell", args);
                    }
                }
            }
            TypeTag(_) => self.exported.left_out += 1,
        }
    }

    fn settle(&mut self, items: Items<'_>) {
        self.exported.settled += (items.len() as u64).saturating_sub(1);
    }

    /// A counter's value; one that an operation cannot hold takes several.
    fn count(&mut self, under: Under<'_>, ty: TypeTag, op: &str, value: Option<i128>) {
        let mut left = value.unwrap_or(0);
        while left != 0 {
            let by = left.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
            left -= by;
            self.op(under, ty, op, json!({"by": i64::try_from(by).expect("it was clamped")}));
        }
    }

    fn number(&mut self, under: Under<'_>, ty: TypeTag, number: Option<i64>) {
        if let Some(number) = number {
            self.op(under, ty, "write", json!({"number": number}));
        }
    }

    fn nested(&mut self, under: Under<'_>, at: At<'_>) {
        let map = Nested::at_place(at);
        for field in or_map::fields(self.store, &map) {
            let name = std::str::from_utf8(field.name).ok().filter(|_| under.names.len() < NAMES_MAX);
            let Some(name) = name else {
                self.exported.left_out += 1;
                continue;
            };
            let names: Vec<String> = under.names.iter().cloned().chain([name.to_owned()]).collect();
            self.place(Under { names: &names, ..under }, map.at(field.name), field.ty);
        }
    }
}

fn stored(bytes: &[u8]) -> Stored {
    Stored::of(bytes)
}

/// Writes of one thing die with the last of them.
fn expiring(mut args: Json, items: Items<'_>) -> Json {
    let never = items.iter().any(|item| item.expires.0 == 0);
    let last = items.iter().map(|item| item.expires.0).max().unwrap_or(0);
    expires(&mut args, if never { 0 } else { last });
    args
}

fn expires(args: &mut Json, at_ms: u64) {
    if at_ms != 0 {
        args["expires_ms"] = at_ms.into();
    }
}
