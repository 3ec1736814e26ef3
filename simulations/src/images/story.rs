//! One story: a node writes, its steps go to a recorded disk, and crashes are tried along the record.
//!
//! Every image must open, hold the state of the last step that was acknowledged or of the one under way and nothing
//! else, and be a state in which a new life can begin that mints no dot again. A share of the images goes on: the
//! node that came back writes, and crashes again, sometimes while its file is still being repaired.

use rand::RngExt;
use sync_core::id::{Dot, NamespaceId, NodeId, OwnerId, ReplicaId};
use sync_core::limits::Limits;
use sync_core::node::{Config, DEFAULT_NAMESPACE, ImageRows, Node, Persistence, StepRows};
use sync_core::rows::Tally;
use sync_core::time::{Now, Timestamp, WallMillis};
use sync_core::types::{lww_map, or_set, pn_counter};
use sync_disk::planted::PlantedDisk;
use sync_disk::{Disk as _, LastStop, RowFile};

use super::crash::crash;
use crate::random::{Random, fork};

/// Steps that a life commits, at most.
const STEPS_MAX: usize = 14;

/// Crashes tried along one record.
const CRASHES: usize = 24;

/// Of so many images one goes on and crashes again; and again, up to [`LIVES_MAX`] lives.
const AGAIN: u32 = 3;
const LIVES_MAX: usize = 4;

/// What a story came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Images checked.
    pub images: u64,
    /// Of these, images of a second or later crash.
    pub again: u64,
    /// Of those, images of a crash while the file was being opened.
    pub in_recovery: u64,
}

/// One life on one disk.
struct Life {
    disk: PlantedDisk,
    /// Of the state when the life began, and after each step: operations recorded when it was acknowledged, and the
    /// tally of the rows.
    acknowledged: Vec<(usize, Tally)>,
    /// Of each step, operations recorded when its writing began.
    begun: Vec<usize>,
    /// Operations recorded when the file was open.
    opened: usize,
}

/// Tells the story of `seed`.
///
/// # Errors
/// What was found wrong, and where.
pub fn tell(seed: u64) -> Result<Told, String> {
    let mut random = fork(seed, "images");
    let mut told = Told::default();
    let life = live(empty()?, &[Tally::default()], &mut random)?.0;
    crash_along(&life, 1, &mut random, &mut told).map_err(|error| format!("seed {seed}: {error}"))?;
    Ok(told)
}

/// A file without rows. The product makes one under another name, so a crash leaves all of it or nothing.
fn empty() -> Result<Vec<u8>, String> {
    let disk = PlantedDisk::default();
    let given = disk.clone();
    let file = RowFile::on(move || given.clone()).map_err(|error| format!("it cannot be made: {error}"))?;
    drop(file);
    Ok(disk.bytes())
}

fn crash_along(life: &Life, lives: usize, random: &mut Random, told: &mut Told) -> Result<(), String> {
    let crashes = if lives == 1 { CRASHES } else { 4 };
    for _ in 0..crashes {
        // A second crash is tried in the repair as often as after it.
        let in_recovery = lives > 1 && life.opened > 0 && random.random_bool(0.5);
        let last = if in_recovery { life.opened } else { life.disk.len_of_record() };
        let at = random.random_range(0..=last);
        let image = crash(&life.disk, at, random);
        told.images += 1;
        told.again += u64::from(lives > 1);
        told.in_recovery += u64::from(in_recovery);
        let allowed = allowed(life, at);
        let about = |error| format!("life {lives}, crash after operation {at} of {last}: {error}");
        let (next, found) = live(image, &allowed, random).map_err(about)?;
        debug_assert!(allowed.contains(&found), "live checks that");
        if lives < LIVES_MAX && random.random_range(0..AGAIN) == 0 {
            crash_along(&next, lives + 1, random, told).map_err(about)?;
        }
    }
    Ok(())
}

/// The states that a crash after `ops` operations may leave: the last acknowledged one, and that of the step under
/// way.
fn allowed(life: &Life, ops: usize) -> Vec<Tally> {
    let last = life.acknowledged.iter().rposition(|(at, _)| *at <= ops).unwrap_or(0);
    let mut states = vec![life.acknowledged[last].1];
    // The step behind it, if its writing had begun.
    if life.begun.get(last).is_some_and(|begun| *begun < ops) {
        states.extend(life.acknowledged.get(last + 1).map(|(_, tally)| *tally));
    }
    states
}

/// A life on a disk that holds `image`, which must be one of the states `allowed`; it commits some steps. Gives the
/// life and the state that was found.
fn live(image: Vec<u8>, allowed: &[Tally], random: &mut Random) -> Result<(Life, Tally), String> {
    let disk = PlantedDisk::on(image);
    let given = disk.clone();
    let mut file =
        RowFile::on(move || given.clone()).map_err(|error| format!("it does not open: {error}"))?;
    let config = config(random);
    let (mut rows, mut found) = (ImageRows::new(&config), Tally::default());
    let loaded = file.load(&mut |table, key, stored| {
        found.swap(None, Some(stored));
        Ok(rows.stored(table, key, stored)?)
    });
    let stop = loaded.map_err(|error| format!("it does not read: {error}"))?;
    if !allowed.contains(&found) {
        return Err(format!("it holds {found:?}, and may hold {allowed:?}"));
    }
    let opened = disk.len_of_record();
    let mut node = match stop {
        LastStop::Never => Node::new(config, now(0)),
        LastStop::Clean | LastStop::Crash => {
            let image = rows.finish().map_err(|error| format!("its rows are no state: {error}"))?;
            let config = Config { owner: image.owner(), ..config };
            let known = image.store(namespace()).map_or(0, |store| store.context().get(config.replica));
            if known > 0 {
                return Err("a new life finds its own dots".to_owned());
            }
            let mut node = Node::restart(config, image, now(0));
            node.continue_rows();
            node
        }
    };
    let mut life = Life { disk, acknowledged: vec![(0, found)], begun: Vec::new(), opened };
    let mut tally = found;
    let mut held = Held::default();
    file.load(&mut |table, key, stored| {
        held.insert((table.code(), key.to_vec()), stored.to_vec());
        Ok(())
    })
    .map_err(|error| format!("it does not read twice: {error}"))?;
    for number in 0..random.random_range(2..=STEPS_MAX) {
        for _ in 0..random.random_range(1..=40) {
            write(&mut node, number as u64, random);
        }
        let step = node.take_step();
        apply(&step, &mut held, &mut tally);
        life.begun.push(life.disk.len_of_record());
        file.commit(&step).map_err(|error| format!("a step is refused: {error}"))?;
        life.acknowledged.push((life.disk.len_of_record(), tally));
    }
    if random.random_bool(0.3) {
        // A clean stop changes no row.
        life.begun.push(life.disk.len_of_record());
        file.stop().map_err(|error| format!("it does not stop: {error}"))?;
        life.acknowledged.push((life.disk.len_of_record(), tally));
    }
    Ok((life, found))
}

type Held = std::collections::BTreeMap<(u8, Vec<u8>), Vec<u8>>;

/// What the rows are after `step`, by the tally's own rule.
fn apply(step: &StepRows, held: &mut Held, tally: &mut Tally) {
    if step.whole {
        held.clear();
        *tally = Tally::default();
    }
    for row in &step.rows {
        let (key, stored) = ((row.table.code(), row.key.clone()), row.sealed());
        let old = match &stored {
            Some(stored) => held.insert(key, stored.clone()),
            None => held.remove(&key),
        };
        tally.swap(old.as_deref(), stored.as_deref());
    }
}

fn write(node: &mut Node, number: u64, random: &mut Random) {
    let (kind, element, long) =
        (random.random_range(0..8), random.random_range(0..60u8), random.random_range(0..2_000));
    let before = node.store(namespace()).map_or(0, |store| store.context().get(node.replica()));
    let written = node.write(now(number), namespace(), |group| match kind {
        0..3 => or_set::add(group, "set", &[element]),
        3 => or_set::remove(group, "set", &[element]).map(drop),
        4 if element == 0 => or_set::clear(group, "set").map(drop),
        4 | 5 => lww_map::put(group, "map", &[element], &vec![element; long]),
        6 => lww_map::remove(group, "map", &[element]).map(drop),
        _ => pn_counter::add(group, "count", 1),
    });
    let (_, written) = written.expect("a story stays below every limit");
    let next = Dot::new(node.replica(), before + 1);
    assert!(written.first.is_none_or(|first| first == next), "dots are minted in order");
}

fn config(random: &mut Random) -> Config {
    let ids = (ReplicaId(random.random()), OwnerId(random.random()));
    let config = Config::new(NodeId([1; 32]), ids.0, ids.1, random.random());
    // So few that records go and that some steps are whole ones.
    let limits = Limits { records_max: 10, step_changes_max: 48, ..Limits::default() };
    Config { persistence: Persistence::Driver, limits, ..config }
}

fn namespace() -> NamespaceId {
    NamespaceId::named(DEFAULT_NAMESPACE)
}

fn now(ms: u64) -> Now {
    Now::at(Timestamp::from_micros(ms * 1_000), WallMillis(1_750_000_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_that_a_crash_may_leave_opens_and_holds_what_was_acknowledged() {
        let mut told = Told::default();
        for seed in 0..12 {
            let Told { images, again, in_recovery } = tell(seed).unwrap_or_else(|error| panic!("{error}"));
            told.images += images;
            told.again += again;
            told.in_recovery += in_recovery;
        }
        assert!(told.images > 300 && 4 * told.again > told.images && told.in_recovery > 40, "{told:?}");
    }

    #[test]
    fn a_disk_that_forgets_what_it_had_said_it_kept_is_caught() {
        let mut random = fork(1, "images");
        let life =
            live(empty().expect("it is made"), &[Tally::default()], &mut random).expect("nothing failed").0;
        let last = life.disk.len_of_record();
        let older = crash(&life.disk, life.acknowledged[1].0, &mut random);
        let error = live(older, &allowed(&life, last), &mut random).map(drop).expect_err("steps are missing");
        assert!(error.contains("and may hold"), "{error}");
    }
}
