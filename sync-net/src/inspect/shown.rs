//! Paths and payloads as people read them, type by type.
//!
//! A member may write anything: what cannot be read as its type is shown in hex.

use sync_core::cell::TypeTag;
use sync_core::id::OwnerId;
use sync_core::nested;
use sync_core::types::bounded_counter::Row;
use sync_core::types::pn_counter::{Contribution, Floor};
use sync_core::types::{disable_flag, extremum, log, multimap, rw_set};

use super::{Shown, hex};

/// A counter's cells lie at their owners, a log's at its appends, a nested map's at names and types; every other
/// path is an encoded value, and a register's is empty.
pub(crate) fn shown_path(ty: TypeTag, path: &[u8]) -> Shown {
    let or_hex = |text: Option<String>| text.map_or_else(|| Shown::Hex(hex(path)), Shown::Text);
    match ty {
        TypeTag::PN_COUNTER | TypeTag::G_COUNTER | TypeTag::BOUNDED_COUNTER => {
            or_hex(path.split_first_chunk().map(|(owner, rest)| {
                let owner = OwnerId(*owner).short();
                if rest.is_empty() { owner } else { format!("{owner} floor") }
            }))
        }
        TypeTag::MULTIMAP => {
            let pair = multimap::pair(path);
            or_hex(pair.map(|(field, value)| format!("{} = {}", Shown::of(field), Shown::of(value))))
        }
        TypeTag::LOG => {
            or_hex(log::parse(path).map(|(hlc, dot)| format!("{hlc:?} {}.{}", dot.replica.short(), dot.seq)))
        }
        TypeTag::OR_MAP => or_hex(nested::parse(path).map(|leaf| {
            let names: Vec<String> = leaf.names.iter().map(|name| name.escape_ascii().to_string()).collect();
            let way = format!("{} ({:?})", names.join("/"), leaf.ty);
            if leaf.rest.is_empty() { way } else { format!("{way} {}", shown_path(leaf.ty, leaf.rest)) }
        })),
        _ if path.is_empty() => Shown::Text(String::new()),
        _ => Shown::of(path),
    }
}

/// A counter's payload is a row of counts, a flag's a word; every other payload is an encoded value.
pub(super) fn shown_payload(ty: TypeTag, path: &[u8], payload: &[u8]) -> Shown {
    let text = match ty {
        TypeTag::PN_COUNTER | TypeTag::G_COUNTER if ty.is_presence(path) => {
            Contribution::decode(payload).ok().map(|Contribution { p, n, fp, fn_, .. }| match (fp, fn_) {
                (0, 0) => format!("+{p} -{n}"),
                (fp, fn_) => format!("+{p} -{n}, of these reset +{fp} -{fn_}"),
            })
        }
        TypeTag::PN_COUNTER | TypeTag::G_COUNTER => {
            Floor::decode(payload).ok().map(|Floor { p, n, .. }| format!("reset +{p} -{n}"))
        }
        TypeTag::BOUNDED_COUNTER => Row::decode(payload).ok().map(|Row { gained, spent, sent }| {
            let sent: Vec<String> =
                sent.iter().map(|(owner, count)| format!(", sent {count} to {}", owner.short())).collect();
            format!("gained {gained}, spent {spent}{}", sent.concat())
        }),
        TypeTag::MAX_REGISTER | TypeTag::MIN_REGISTER => extremum::decode(payload).map(|n| n.to_string()),
        TypeTag::DISABLE_FLAG => word(payload, &[(disable_flag::ON, "on"), (disable_flag::OFF, "off")]),
        TypeTag::RW_SET => word(payload, &[(rw_set::ADDED, "added"), (rw_set::REMOVED, "removed")]),
        TypeTag::OR_MAP => {
            return nested::parse(path)
                .map_or_else(|| Shown::Hex(hex(payload)), |leaf| shown_payload(leaf.ty, leaf.rest, payload));
        }
        _ => return Shown::of(payload),
    };
    text.map_or_else(|| Shown::Hex(hex(payload)), Shown::Text)
}

fn word(payload: &[u8], words: &[(&[u8], &str)]) -> Option<String> {
    words.iter().find(|(bytes, _)| *bytes == payload).map(|(_, word)| (*word).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sync_core::types::or_map::Map;

    fn text(shown: &str) -> Shown {
        Shown::Text(shown.to_owned())
    }

    #[test]
    fn a_counter_path_is_shown_by_its_owner() {
        assert_eq!(shown_path(TypeTag::PN_COUNTER, &[0xab; 16]), text("abababab"));
        let mut floor = [0xab; 17];
        floor[16] = b'F';
        assert_eq!(shown_path(TypeTag::PN_COUNTER, &floor), text("abababab floor"));
        assert_eq!(shown_payload(TypeTag::PN_COUNTER, &floor, &[1, 2]), Shown::Hex("0102".to_owned()));
        assert_eq!(shown_path(TypeTag::OR_SET, &[0xab; 2]), Shown::Hex("abab".to_owned()));
    }

    #[test]
    fn a_place_in_a_nested_map_is_shown_by_its_names_and_its_leaf() {
        let map = Map::at_key("user");
        let inner = map.map(b"address");
        let cells = inner.at(b"tags").cells_of(TypeTag::OR_SET);
        let cell = cells.cell(&postcard::to_stdvec("home").expect("text has bytes"));
        assert_eq!(shown_path(TypeTag::OR_MAP, cell.path.as_bytes()), text("address/tags (set) home"));
        let cell = inner.at(b"seen").cells_of(TypeTag::MAX_REGISTER).cell(&[]);
        let seven = [128, 0, 0, 0, 0, 0, 0, 7];
        assert_eq!(shown_payload(TypeTag::OR_MAP, cell.path.as_bytes(), &seven), text("7"));
        assert_eq!(shown_path(TypeTag::OR_MAP, &[9]), Shown::Hex("09".to_owned()), "no path of a map");
    }

    #[test]
    fn flags_marks_and_rights_are_words() {
        assert_eq!(shown_payload(TypeTag::DISABLE_FLAG, &[], &[0]), text("off"));
        assert_eq!(shown_payload(TypeTag::RW_SET, b"x", &[0]), text("removed"));
        assert_eq!(shown_payload(TypeTag::RW_SET, b"x", &[7]), Shown::Hex("07".to_owned()));
        let mut row = vec![9, 2, 1];
        row.extend([[0xcd; 16].as_slice(), &[4]].concat());
        let shown = shown_payload(TypeTag::BOUNDED_COUNTER, &[1; 16], &row);
        assert_eq!(shown, text("gained 9, spent 2, sent 4 to cdcdcdcd"));
    }
}
