//! A row for each type.

use sync_core::cell::TypeTag;
use sync_core::types::or_map::Map;
use sync_core::types::{
    bounded_counter, disable_flag, enable_flag, g_counter, grow_set, log, lww_map, lww_register,
    max_register, min_register, multimap, mv_register, or_map, or_set, pn_counter, rw_set,
};

use super::reading::{self, Reading};
use super::{Arg, Op, Run, Type};

/// A row's operation that writes. What a core function counts or finds is not told: tools tell whether anything changed.
macro_rules! writes {
    ($name:literal, [$($arg:ident),*], $about:literal, $run:expr) => {
        Op { name: $name, about: $about, args: &[$(Arg::$arg),*], run: Run::Write($run) }
    };
}

/// A row's operation that reads.
macro_rules! reads {
    ($name:literal, [$($arg:ident),*], $label:literal, $about:literal, $run:expr) => {
        Op { name: $name, about: $about, args: &[$(Arg::$arg),*], run: Run::Read($label, $run) }
    };
}

/// Every type of the engine, by tag.
pub const TYPES: &[Type] = &[
    Type {
        tag: TypeTag::OR_SET,
        about: "A set: of an add and a remove at once, the add wins",
        ops: &[
            writes!("add", [Element, ExpiresInMs], "Add ELEMENT to the set at KEY", |g, at, a| or_set::add(
                g, at, &a.element
            )),
            writes!("rm", [Element], "Remove ELEMENT, as far as this node has seen it added", |g, at, a| {
                or_set::remove(g, at, &a.element).map(drop)
            }),
            writes!("clear", [], "Remove every element that this node sees", |g, at, _| {
                or_set::clear(g, at).map(drop)
            }),
            reads!("ls", [], "elements", "List the elements of the set at KEY, one a line", |s, at, _| {
                reading::elements(or_set::elements(s, at))
            }),
        ],
        read: |s, at| reading::elements(or_set::elements(s, at)),
    },
    Type {
        tag: TypeTag::LWW_MAP,
        about: "A map from fields to values: of two writes at once, the later is read",
        ops: &[
            writes!(
                "put",
                [Field, Value, ExpiresInMs],
                "Put VALUE at FIELD of the map at KEY",
                |g, at, a| { lww_map::put(g, at, &a.field, &a.value) }
            ),
            writes!("rm", [Field], "Remove FIELD, as far as this node has seen it written", |g, at, a| {
                lww_map::remove(g, at, &a.field).map(drop)
            }),
            writes!("clear", [], "Remove every field that this node sees", |g, at, _| {
                lww_map::clear(g, at).map(drop)
            }),
            reads!(
                "get",
                [Field],
                "value",
                "Print the value at FIELD; exit code 1 if there is none",
                |s, at, a| { Reading::value(lww_map::get(s, at, &a.field)) }
            ),
            reads!("ls", [], "entries", "List the fields of the map at KEY with their values", |s, at, _| {
                reading::fields(lww_map::entries(s, at))
            }),
        ],
        read: |s, at| reading::fields(lww_map::entries(s, at)),
    },
    Type {
        tag: TypeTag::PN_COUNTER,
        about: "A counter, up and down",
        ops: &[
            writes!("add", [By], "Add BY, which may be negative, to the counter at KEY", |g, at, a| {
                pn_counter::add(g, at, a.by)
            }),
            writes!("reset", [], "Take back what this node has seen added", |g, at, _| {
                pn_counter::reset(g, at).map(drop)
            }),
            reads!(
                "get",
                [],
                "value",
                "Print the counter at KEY; one that nobody has written is 0",
                |s, at, _| { Reading::Count(pn_counter::value(s, at).unwrap_or(0)) }
            ),
        ],
        read: |s, at| Reading::Count(pn_counter::value(s, at).unwrap_or(0)),
    },
    Type {
        tag: TypeTag::LWW_REGISTER,
        about: "One value: of two writes at once, the later is read",
        ops: &[
            writes!("set", [Value, ExpiresInMs], "Set the register at KEY to VALUE", |g, at, a| {
                lww_register::set(g, at, &a.value)
            }),
            writes!("clear", [], "Clear the register, as far as this node has seen it set", |g, at, _| {
                lww_register::clear(g, at).map(drop)
            }),
            reads!(
                "get",
                [],
                "value",
                "Print the register at KEY; exit code 1 if nothing was set",
                |s, at, _| { Reading::value(lww_register::get(s, at)) }
            ),
        ],
        read: |s, at| Reading::value(lww_register::get(s, at)),
    },
    Type {
        tag: TypeTag::MV_REGISTER,
        about: "One value, or every one of those written at once",
        ops: &[
            writes!(
                "set",
                [Value, ExpiresInMs],
                "Set the register at KEY to VALUE, which settles what this node sees",
                |g, at, a| { mv_register::set(g, at, &a.value) }
            ),
            writes!("clear", [], "Clear the register, as far as this node has seen it set", |g, at, _| {
                mv_register::clear(g, at).map(drop)
            }),
            reads!("ls", [], "values", "List the values at KEY, one a line", |s, at, _| {
                reading::elements(mv_register::values(s, at))
            }),
        ],
        read: |s, at| reading::elements(mv_register::values(s, at)),
    },
    Type {
        tag: TypeTag::ENABLE_FLAG,
        about: "A flag: turned on and off at once, it is on",
        ops: &[
            writes!("enable", [ExpiresInMs], "Turn the flag at KEY on", |g, at, _| enable_flag::enable(
                g, at
            )),
            writes!(
                "disable",
                [],
                "Turn the flag off, as far as this node has seen it turned on",
                |g, at, _| { enable_flag::disable(g, at).map(drop) }
            ),
            reads!(
                "get",
                [],
                "value",
                "Print true or false; a flag that nobody has touched is off",
                |s, at, _| { Reading::Flag(enable_flag::is_on(s, at)) }
            ),
        ],
        read: |s, at| Reading::Flag(enable_flag::is_on(s, at)),
    },
    Type {
        tag: TypeTag::DISABLE_FLAG,
        about: "A flag: turned on and off at once, it is off",
        ops: &[
            writes!(
                "enable",
                [ExpiresInMs],
                "Turn the flag at KEY on, unless it is turned off at once",
                |g, at, _| { disable_flag::enable(g, at) }
            ),
            writes!("disable", [], "Turn the flag at KEY off", |g, at, _| disable_flag::disable(g, at)),
            writes!("clear", [], "Forget all that this node sees of the flag", |g, at, _| {
                disable_flag::clear(g, at).map(drop)
            }),
            reads!(
                "get",
                [],
                "value",
                "Print true or false; a flag that nobody has touched is off",
                |s, at, _| { Reading::Flag(disable_flag::is_on(s, at)) }
            ),
        ],
        read: |s, at| Reading::Flag(disable_flag::is_on(s, at)),
    },
    Type {
        tag: TypeTag::GROW_SET,
        about: "A set that only grows",
        ops: &[
            writes!("add", [Element, ExpiresInMs], "Add ELEMENT to the set at KEY", |g, at, a| {
                grow_set::add(g, at, &a.element).map(drop)
            }),
            reads!("ls", [], "elements", "List the elements of the set at KEY, one a line", |s, at, _| {
                reading::elements(grow_set::elements(s, at))
            }),
        ],
        read: |s, at| reading::elements(grow_set::elements(s, at)),
    },
    Type {
        tag: TypeTag::G_COUNTER,
        about: "A counter, up only",
        ops: &[
            writes!("add", [Amount], "Add BY to the counter at KEY", |g, at, a| g_counter::add(
                g, at, a.amount
            )),
            writes!("reset", [], "Take back what this node has seen added", |g, at, _| {
                g_counter::reset(g, at).map(drop)
            }),
            reads!(
                "get",
                [],
                "value",
                "Print the counter at KEY; one that nobody has written is 0",
                |s, at, _| { Reading::Count(g_counter::value(s, at).unwrap_or(0)) }
            ),
        ],
        read: |s, at| Reading::Count(g_counter::value(s, at).unwrap_or(0)),
    },
    Type {
        tag: TypeTag::MAX_REGISTER,
        about: "The largest number written",
        ops: &[
            writes!("write", [Number], "Write NUMBER to the register at KEY", |g, at, a| {
                max_register::write(g, at, a.number)
            }),
            writes!(
                "clear",
                [],
                "Clear the register, as far as this node has seen it written",
                |g, at, _| { max_register::clear(g, at).map(drop) }
            ),
            reads!(
                "get",
                [],
                "value",
                "Print the largest number; exit code 1 if none was written",
                |s, at, _| { Reading::number(max_register::get(s, at)) }
            ),
        ],
        read: |s, at| Reading::number(max_register::get(s, at)),
    },
    Type {
        tag: TypeTag::MIN_REGISTER,
        about: "The smallest number written",
        ops: &[
            writes!("write", [Number], "Write NUMBER to the register at KEY", |g, at, a| {
                min_register::write(g, at, a.number)
            }),
            writes!(
                "clear",
                [],
                "Clear the register, as far as this node has seen it written",
                |g, at, _| { min_register::clear(g, at).map(drop) }
            ),
            reads!(
                "get",
                [],
                "value",
                "Print the smallest number; exit code 1 if none was written",
                |s, at, _| { Reading::number(min_register::get(s, at)) }
            ),
        ],
        read: |s, at| Reading::number(min_register::get(s, at)),
    },
    Type {
        tag: TypeTag::RW_SET,
        about: "A set: of an add and a remove at once, the remove wins",
        ops: &[
            writes!(
                "add",
                [Element, ExpiresInMs],
                "Add ELEMENT to the set at KEY, unless it is removed at once",
                |g, at, a| { rw_set::add(g, at, &a.element) }
            ),
            writes!(
                "rm",
                [Element],
                "Remove ELEMENT, also against adds that this node has not seen",
                |g, at, a| { rw_set::remove(g, at, &a.element).map(drop) }
            ),
            writes!("clear", [], "Forget all that this node sees of the set, removes too", |g, at, _| {
                rw_set::clear(g, at).map(drop)
            }),
            reads!("ls", [], "elements", "List the elements of the set at KEY, one a line", |s, at, _| {
                reading::elements(rw_set::elements(s, at))
            }),
        ],
        read: |s, at| reading::elements(rw_set::elements(s, at)),
    },
    Type {
        tag: TypeTag::MULTIMAP,
        about: "A map from fields to sets of values",
        ops: &[
            writes!(
                "add",
                [Field, Value, ExpiresInMs],
                "Add VALUE to FIELD of the map at KEY",
                |g, at, a| { multimap::add(g, at, &a.field, &a.value) }
            ),
            writes!(
                "rm",
                [Field, Value],
                "Remove VALUE of FIELD, as far as this node has seen it added",
                |g, at, a| { multimap::remove(g, at, &a.field, &a.value).map(drop) }
            ),
            writes!("rm-field", [Field], "Remove every value of FIELD that this node sees", |g, at, a| {
                multimap::remove_field(g, at, &a.field).map(drop)
            }),
            writes!("clear", [], "Remove everything that this node sees", |g, at, _| {
                multimap::clear(g, at).map(drop)
            }),
            reads!("get", [Field], "values", "List the values of FIELD, one a line", |s, at, a| {
                reading::elements(multimap::values(s, at, &a.field))
            }),
            reads!("ls", [], "entries", "List the fields of the map at KEY with their values", |s, at, _| {
                reading::pairs(multimap::entries(s, at))
            }),
        ],
        read: |s, at| reading::pairs(multimap::entries(s, at)),
    },
    Type {
        tag: TypeTag::BOUNDED_COUNTER,
        about: "A counter that never goes below 0: each node counts down by the rights that it holds",
        ops: &[
            writes!(
                "gain",
                [Amount],
                "Count up by BY; this node holds the rights to spend it",
                |g, at, a| { bounded_counter::gain(g, at, a.amount) }
            ),
            writes!(
                "spend",
                [Amount],
                "Count down by BY, which takes as many of this node's rights",
                |g, at, a| { bounded_counter::spend(g, at, a.amount) }
            ),
            writes!(
                "send",
                [To, Count],
                "Give COUNT of this node's rights to the owner TO (see `rights`)",
                |g, at, a| { bounded_counter::send(g, at, a.to, a.count) }
            ),
            reads!(
                "get",
                [],
                "value",
                "Print the counter at KEY; one that nobody has written is 0",
                |s, at, _| { Reading::Count(bounded_counter::value(s, at).unwrap_or(0)) }
            ),
            reads!("rights", [], "rights", "List the owners with the rights that each holds", |s, at, a| {
                reading::rights(bounded_counter::holders(s, at), a.own)
            }),
        ],
        read: |s, at| Reading::Count(bounded_counter::value(s, at).unwrap_or(0)),
    },
    Type {
        tag: TypeTag::OR_MAP,
        about: "A map whose fields hold any of the other types: name a place in it with --at",
        ops: &[
            writes!(
                "rm",
                [Name],
                "Remove the field NAME and all below it that this node sees",
                |g, at, a| { or_map::remove(g, &Map::at_place(at), a.name.as_bytes()).map(drop) }
            ),
            writes!("clear", [], "Remove every field that this node sees", |g, at, _| {
                or_map::clear(g, &Map::at_place(at)).map(drop)
            }),
            reads!("get", [], "value", "Print the map at KEY as JSON", |s, at, _| reading::nested(s, at)),
            reads!("ls", [], "fields", "List the fields of the map at KEY with their types", |s, at, _| {
                reading::field_types(s, at)
            }),
        ],
        read: reading::nested,
    },
    Type {
        tag: TypeTag::LOG,
        about: "A log of the newest entries, in one order on all nodes",
        ops: &[
            writes!(
                "append",
                [Value, Keep, KeepMs, ExpiresInMs],
                "Append VALUE to the log at KEY",
                |g, at, a| { log::append(g, at, &a.value, a.bound) }
            ),
            writes!("clear", [], "Remove every entry that this node sees", |g, at, _| log::clear(g, at)
                .map(drop)),
            reads!(
                "ls",
                [Keep, KeepMs],
                "entries",
                "List the entries of the log at KEY, oldest first",
                |s, at, a| { reading::entries(log::entries(s, at, a.bound)) }
            ),
        ],
        read: |s, at| reading::entries(log::entries(s, at, reading::ALL)),
    },
];
