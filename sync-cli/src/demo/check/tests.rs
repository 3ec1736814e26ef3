use super::*;
use crate::demo::record::{Minted, Seen};

/// Records a small history by hand: node `a` and node `b`, each step one event or group.
#[derive(Default)]
struct Shop {
    steps: [Vec<Step>; 2],
    minted: [u64; 2],
}

const NAMES: [&str; 2] = ["a", "b"];

fn seen(a: u64, b: u64) -> Seen {
    NAMES.iter().zip([a, b]).filter(|(_, n)| *n > 0).map(|(name, n)| ((*name).to_owned(), n)).collect()
}

impl Shop {
    /// Node `node` does `ops` as one group, knowing all of its own and `other` events of the other.
    fn group(&mut self, line: u64, node: usize, other: u64, ops: Vec<Op>) -> u64 {
        let own = self.minted[node];
        let count = u64::try_from(ops.len()).expect("a handful");
        let known = if node == 0 { seen(own, other) } else { seen(other, own) };
        let minted = Minted { replica: NAMES[node].to_owned(), first: own + 1, last: own + count };
        self.steps[node].push(Step { line, seen: known, minted: Some(minted), ops });
        self.minted[node] += count;
        self.minted[node]
    }

    fn read(&mut self, node: usize, other: u64, op: Op) {
        let own = self.minted[node];
        let known = if node == 0 { seen(own, other) } else { seen(other, own) };
        self.steps[node].push(Step { line: 2, seen: known, minted: None, ops: vec![op] });
    }
}

fn stock(product: &str, by: i64) -> Op {
    Op::StockAdd { product: product.into(), by }
}

fn add(product: &str) -> Op {
    Op::CartAdd { customer: "7".into(), product: product.into() }
}

fn remove(product: &str, ended: bool) -> Op {
    Op::CartRemove { customer: "7".into(), product: product.into(), ended }
}

fn put(value: &str) -> Op {
    Op::ProfilePut { customer: "7".into(), field: "last_invoice".into(), value: value.into() }
}

const BOOKS: &[u8] =
    b"header\n1,TEA,,2,D,1,7,UK\n1,POT,,1,D,1,7,UK\n2,TEA,,1,D,1,7,UK\nC3,POT,,-1,D,1,7,UK\n";

/// What the profile of 7 may read as in the end.
const PROFILE: [(&str, &str); 3] = [("country", "UK"), ("last_seen", "D"), ("last_invoice", "2")];

/// The events of `a` up to the end of line 3: all that `b` ever sees of it.
const A_LINE_3: u64 = 10;
/// The last event of `b`.
const B_END: u64 = 7;

fn writes(invoice: &str) -> [Op; 3] {
    [("country", "UK"), ("last_seen", "D"), ("last_invoice", invoice)].map(|(field, value)| Op::ProfilePut {
        customer: "7".into(),
        field: field.into(),
        value: value.into(),
    })
}

/// Lines 2 and 3 fill the cart on `a`; then line 4 checks it out and adds TEA on `b`, while on `a` line
/// 5 takes POT back. Neither knows of the other.
fn shop() -> (Shop, Holdings) {
    let mut shop = Shop::default();
    shop.group(2, 0, 0, [vec![add("TEA"), stock("TEA", -2)], writes("1").into()].concat());
    let first = shop.group(3, 0, 0, [vec![add("POT"), stock("POT", -1)], writes("1").into()].concat());
    shop.group(4, 1, first, vec![remove("TEA", true)]);
    shop.group(4, 1, first, vec![remove("POT", true)]);
    shop.group(4, 1, first, [vec![add("TEA"), stock("TEA", -1)], writes("2").into()].concat());
    shop.group(5, 0, 0, vec![remove("POT", true), stock("POT", 1), put("C3")]);
    let holdings = Holdings {
        carts: BTreeMap::from([("7".into(), BTreeSet::from(["TEA".into()]))]),
        stock: BTreeMap::from([("TEA".into(), -3), ("POT".into(), 0)]),
        profiles: BTreeMap::from([(
            "7".into(),
            PROFILE.map(|(field, value)| (field.into(), value.into())).into(),
        )]),
    };
    (shop, holdings)
}

fn judge(shop: &Shop, holdings: &Holdings) -> Verdict {
    check(&Ledger::read(BOOKS), &shop.steps, &[holdings.clone(), holdings.clone()])
}

/// The planted error must be found, and its text must hold `said`.
fn refuses(shop: &Shop, holdings: &Holdings, said: &str) {
    let verdict = judge(shop, holdings);
    assert!(!verdict.holds(), "{said:?} was not noticed");
    assert!(verdict.to_string().contains(said), "{said:?} is not in {verdict}");
}

#[test]
fn a_right_history_holds_with_either_of_two_concurrent_values() {
    let (shop, mut holdings) = shop();
    assert_eq!(judge(&shop, &holdings).to_string(), "ok");
    *holdings.profiles.get_mut("7").unwrap().get_mut("last_invoice").unwrap() = "C3".into();
    assert_eq!(judge(&shop, &holdings).to_string(), "ok");
    assert_eq!(judge(&shop, &holdings).operations, 20);
}

#[test]
fn a_lost_add_is_found() {
    let (shop, mut holdings) = shop();
    holdings.carts.clear();
    refuses(&shop, &holdings, "node 2: TEA is lost from the cart of 7");
}

#[test]
fn a_resurrected_line_is_found() {
    let (shop, mut holdings) = shop();
    holdings.carts.get_mut("7").unwrap().insert("POT".into());
    refuses(&shop, &holdings, "node 1: POT is back in the cart of 7");
}

#[test]
fn a_wrong_stock_is_found() {
    let (shop, mut holdings) = shop();
    holdings.stock.insert("TEA".into(), -2);
    refuses(&shop, &holdings, "the stock of TEA is -2, the books say -3");
    holdings.stock.remove("TEA");
    refuses(&shop, &holdings, "the stock of TEA is 0, the books say -3");
    holdings.stock.insert("TEA".into(), -3);
    holdings.stock.insert("GHOST".into(), 1);
    refuses(&shop, &holdings, "the stock of GHOST is 1, the books say 0");
}

#[test]
fn a_profile_value_that_was_replaced_or_never_written_is_found() {
    let (shop, mut holdings) = shop();
    for value in ["1", "9"] {
        holdings.profiles.get_mut("7").unwrap().insert("last_invoice".into(), value.into());
        refuses(&shop, &holdings, &format!("last_invoice of 7 is Some({value:?})"));
    }
    holdings.profiles.clear();
    refuses(&shop, &holdings, "last_invoice of 7 is None");
}

#[test]
fn nodes_that_hold_different_data_are_found_even_if_each_is_allowed() {
    let (shop, holdings) = shop();
    let mut other = holdings.clone();
    other.profiles.get_mut("7").unwrap().insert("last_invoice".into(), "C3".into());
    let verdict = check(&Ledger::read(BOOKS), &shop.steps, &[holdings, other]);
    assert_eq!(verdict.to_string(), "node 2 holds other data than node 1");
}

#[test]
fn a_line_that_was_not_fed_or_fed_wrong_is_found() {
    let (mut shop, holdings) = shop();
    shop.steps[1].last_mut().unwrap().ops[1] = stock("TEA", 1);
    refuses(&shop, &holdings, "line 4: the stock was not changed by -1");
    let (mut shop, holdings) = self::shop();
    shop.steps[0][0].ops.remove(0);
    refuses(&shop, &holdings, "line 2: TEA never reached the cart of 7");
    let (mut shop, holdings) = self::shop();
    shop.steps[0][1].ops.pop();
    refuses(&shop, &holdings, "line 3: the shop did not do ProfilePut");
    let (mut shop, holdings) = self::shop();
    shop.group(77, 1, 0, vec![stock("TEA", 0)]);
    refuses(&shop, &holdings, "line 77: the books do not have it");
}

#[test]
fn a_read_or_a_remove_that_answers_other_than_it_had_seen_is_found() {
    let cart = |products: &[&str]| Op::CartRead {
        customer: "7".into(),
        products: products.iter().map(|product| (*product).to_owned()).collect(),
    };
    let field = |value: Option<&str>| Op::ProfileRead {
        customer: "7".into(),
        field: "last_invoice".into(),
        value: value.map(str::to_owned),
    };
    // Node b has seen nothing of a's line 5, so POT is gone by its own checkout, and "2" stands.
    let (mut right, holdings) = shop();
    right.read(1, A_LINE_3, cart(&["TEA"]));
    right.read(1, A_LINE_3, field(Some("2")));
    right.read(0, 0, cart(&["TEA"]));
    right.read(0, 0, field(Some("C3")));
    assert_eq!(judge(&right, &holdings).to_string(), "ok");
    for (wrong, said) in [
        (cart(&[]), "the cart of 7 was read with TEA missing"),
        (cart(&["TEA", "POT"]), "the cart of 7 was read with POT not in it"),
        (field(Some("1")), "was read as Some(\"1\")"),
        (field(None), "was read as None"),
    ] {
        let (mut shop, holdings) = shop();
        shop.read(1, A_LINE_3, wrong);
        refuses(&shop, &holdings, said);
    }
    let (mut shop, holdings) = shop();
    shop.steps[1][0].ops[0] = remove("TEA", false);
    refuses(&shop, &holdings, "TEA was in the cart of 7, the remove left it");
}

#[test]
fn half_a_group_an_effect_before_its_cause_and_a_lapse_of_memory_are_found() {
    let (mut shop, holdings) = shop();
    shop.steps[1][0].seen = seen(A_LINE_3 - 1, 0);
    refuses(&shop, &holdings, "event 9 of a is the end of no group");
    let (mut shop, holdings) = self::shop();
    shop.steps[1][2].seen = seen(A_LINE_3 / 2, 2);
    refuses(&shop, &holdings, "events of a were forgotten");
    let (mut shop, holdings) = self::shop();
    shop.group(5, 0, B_END, vec![stock("POT", 0)]);
    shop.steps[0][1].seen.insert("b".into(), B_END);
    refuses(&shop, &holdings, "without what it knew of");
}

#[test]
fn a_long_list_of_differences_is_cut_and_counted() {
    let (shop, mut holdings) = shop();
    for n in 0..30 {
        holdings.stock.insert(format!("G{n}"), 1);
    }
    let text = judge(&shop, &holdings).to_string();
    assert!(text.ends_with("; and 40 more"), "{text}");
}
