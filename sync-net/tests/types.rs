//! Every type through the embedding API: from a node, in a transaction, in a view, in a nested map.

use sync_core::store::{Group, Store};
use sync_core::types::Spot;
use sync_core::types::user::UserTag;
use sync_net::{Bound, ClusterCa, CustomType, Error, LogEntry, Node, StartError, View, WriteError};

async fn node() -> Node {
    let identity = ClusterCa::create("types").and_then(|ca| ca.issue("node-1")).expect("a certificate");
    Node::builder().identity(identity).start().await.expect("the node starts")
}

fn text(text: &str) -> String {
    text.to_owned()
}

const BOUND: Bound = Bound { entries: 3, age_ms: 3_600_000 };

fn values(entries: Vec<LogEntry<u32>>) -> Vec<u32> {
    entries.into_iter().map(|entry| entry.value).collect()
}

#[tokio::test]
async fn each_type_is_written_and_read_through_its_handle() {
    let node = node().await;
    node.lww_register("title").set(&text("tea")).expect("there is room");
    assert_eq!(node.lww_register("title").get().expect("text"), Some(text("tea")));
    assert!(node.lww_register::<String>("title").clear().expect("it is there").0);

    node.mv_register("state").set(&7u8).expect("there is room");
    assert_eq!(node.mv_register::<u8>("state").values().expect("a number"), [7]);

    node.enable_flag("dark").enable().expect("there is room");
    node.disable_flag("shared").disable().expect("there is room");
    assert!(node.enable_flag("dark").is_on() && !node.disable_flag("shared").is_on());

    assert!(node.grow_set("visitors").add(&1u8).expect("there is room").0);
    assert!(!node.grow_set("visitors").add(&1u8).expect("there is room").0, "it is in already");
    node.rw_set("allowed").add(&1u8).expect("there is room");
    assert!(node.rw_set("allowed").remove(&1u8).expect("there is room").0);
    assert!(node.rw_set::<u8>("allowed").is_empty());

    node.g_counter("visits").add(2).expect("there is room");
    node.max_register("high").write(4).expect("there is room");
    node.min_register("low").write(-4).expect("there is room");
    assert_eq!(node.g_counter("visits").value(), 2);
    assert_eq!((node.max_register("high").get(), node.min_register("low").get()), (Some(4), Some(-4)));

    node.multimap("tags").add(&text("tea"), &text("green")).expect("there is room");
    assert_eq!(node.multimap::<String, String>("tags").values(&text("tea")).expect("text"), ["green"]);

    let log = node.log::<u32>("log", BOUND);
    for n in 0..5 {
        log.append(&n).expect("there is room");
    }
    assert_eq!(values(log.entries().expect("numbers")), [2, 3, 4]);
}

#[tokio::test]
async fn rights_are_spent_and_a_refusal_undoes_the_whole_transaction() {
    let node = node().await;
    let seats = node.bounded_counter("seats");
    seats.gain(3).expect("there is room");
    assert_eq!(seats.rights(node.owner()), 3);
    let refused = node.transaction(|tx| {
        tx.lww_register("buyer").set(&text("ada"))?;
        tx.bounded_counter("seats").spend(2)?;
        assert_eq!(tx.bounded_counter("seats").value(), 1, "a transaction reads its own writes");
        tx.bounded_counter("seats").spend(2)
    });
    assert!(
        matches!(refused, Err(Error::Write(WriteError::Rights { held: 1, needed: 2, .. }))),
        "{refused:?}"
    );
    assert_eq!(seats.value(), 3);
    assert_eq!(node.lww_register::<String>("buyer").get().expect("text"), None);
}

#[tokio::test]
async fn a_key_is_removed_whatever_it_holds_and_not_while_others_may_hold_rights() {
    let node = node().await;
    node.pn_counter("k").add(5).expect("there is room");
    node.or_set("k").add(&text("tea")).expect("there is room");
    let ((), _) = node
        .transaction(|tx| {
            assert_eq!(tx.remove("k")?, 2);
            assert_eq!(tx.remove("k")?, 0);
            tx.pn_counter("k").add(1)
        })
        .expect("there is room");
    assert_eq!(node.pn_counter("k").value(), 1);
    let (count, written) = node.remove("k").expect("there is room");
    assert_eq!((count, written.last.is_some(), node.keys("").len()), (1, true, 0));

    let seats = node.bounded_counter("seats");
    seats.gain(2).expect("there is room");
    seats.send(sync_net::OwnerId([7; 16]), 1).expect("two are held");
    let refused = node.remove("seats");
    assert!(matches!(refused, Err(Error::Write(WriteError::RightsOut { sent: 1, .. }))), "{refused:?}");
    assert_eq!(seats.value(), 2);
}

#[tokio::test]
async fn maps_nest_every_type_and_views_agree_with_the_node() {
    let node = node().await;
    node.transaction(|tx| {
        let user = tx.or_map("user/7");
        user.lww_map("profile").put(&text("name"), &text("Ada"))?;
        user.or_map("address").or_map("home").lww_register("city").set(&text("London"))?;
        user.or_set("tags").add(&text("tea"))?;
        user.pn_counter("logins").add(2)?;
        assert_eq!(user.fields().len(), 4);
        Ok(())
    })
    .expect("there is room");
    let read = |view: &sync_net::View<'_>| {
        let user = view.or_map("user/7");
        let city = user.or_map("address").or_map("home").lww_register::<String>("city").get();
        (city.expect("text"), user.pn_counter("logins").value(), user.contains("tags"))
    };
    assert_eq!(node.read(read), (Some(text("London")), 2, true));
    let user = node.or_map("user/7");
    user.or_map("address").clear().expect("it is there");
    user.remove("logins").expect("it is there");
    assert_eq!(node.read(read), (None, 0, true));
    let refused = user.bounded_counter("seats").gain(1);
    assert!(matches!(refused, Err(Error::Write(WriteError::NotNested { .. }))), "{refused:?}");
    let shown = node.inspect(Some("user/7")).objects;
    assert_eq!(shown[0].info.ty, "nested-map");
    assert!(shown[0].shown.iter().any(|cell| cell.path.to_string() == "tags (set) tea"), "{shown:?}");
}

/// The newest of what was noted, by a type of the application: one cell, the largest payload is read.
struct Note<const TAG: u8>;

impl<const TAG: u8> CustomType for Note<TAG> {
    const TAG: UserTag = UserTag::new(200).expect("from 128 on");
    const NAME: &str = if TAG == 0 { "note" } else { "memo" };
    type Op = u8;
    type Value = Option<u8>;

    fn apply(group: &mut Group<'_>, cells: &Spot<'_>, op: &u8) -> Result<u64, WriteError> {
        cells.put(group, &[], &[*op]).map(|_| 0)
    }

    fn read(store: &Store, cells: &Spot<'_>) -> Option<u8> {
        cells.items(store, &[]).iter().filter_map(|item| item.payload.as_bytes().first().copied()).max()
    }
}

#[tokio::test]
async fn an_applications_own_type_takes_part_in_transactions_maps_and_views_and_a_tag_has_one_name() {
    let identity = || ClusterCa::create("types").and_then(|ca| ca.issue("node-1")).expect("a certificate");
    let builder = Node::builder().identity(identity()).custom_type::<Note<0>>();
    let node = builder.start().await.expect("the node starts");
    node.transaction(|tx| {
        tx.custom::<Note<0>>("k").apply(&3)?;
        tx.or_map("m").custom::<Note<0>>("inner").apply(&4)?;
        assert_eq!(tx.custom::<Note<0>>("k").read(), Some(3));
        Ok(())
    })
    .expect("there is room");
    let read = |view: &View<'_>| {
        (view.custom::<Note<0>>("k").read(), view.or_map("m").custom::<Note<0>>("inner").read())
    };
    assert_eq!(node.read(read), (Some(3), Some(4)));
    assert_eq!(node.keys("k")[0].ty, "note");

    let twice = Node::builder().identity(identity()).custom_type::<Note<0>>().custom_type::<Note<1>>();
    let refused = twice.start().await.expect_err("two types have one tag");
    assert!(matches!(refused, StartError::Types(_)), "{refused}");
    assert!(refused.to_string().contains("\"memo\" needs one of its own"), "{refused}");
}
