//! `diff`: what two running nodes hold differently, down to elements, fields and counter rows.
//!
//! Objects are compared by fingerprints, then in ranges of cells, then cell by cell: memory and each
//! node's work a request are bounded, whatever they hold. Fingerprints are of the stored bytes, not the kept
//! root, so that damage shows too. Nodes go on meanwhile; `judge` tells what their contexts explain.

mod judge;
mod side;
mod words;

use std::cmp::Ordering;
use std::path::Path;

use serde::Serialize;
use sync_net::{CellDigest, ObjectDigest, ObjectName, Shown};

use self::judge::Why;
use self::side::{Objects, Side};
use crate::failure::Failure;
use crate::output;

/// Cells of one range, at most: what is held in memory at a time, of each node.
const RANGE_CELLS: u64 = 4_096;

/// Compares the nodes at the sockets `a` and `b`.
pub(super) async fn diff(a: &Path, b: &Path, namespace: Option<String>, json: bool) -> Result<(), Failure> {
    let mut pair =
        Pair { a: Side::open("A", a, namespace.clone()).await?, b: Side::open("B", b, namespace).await? };
    pair.a.check_comparable(&pair.b)?;
    let mut tally = Tally::default();
    let (mut in_a, mut in_b) = (Objects::default(), Objects::default());
    loop {
        let (ours, theirs) = (in_a.peek(&pair.a).await?, in_b.peek(&pair.b).await?);
        let order = match (ours, theirs) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(ours), Some(theirs)) => ours.name.cmp(&theirs.name),
        };
        let ours = if order.is_le() { in_a.next() } else { None };
        let theirs = if order.is_ge() { in_b.next() } else { None };
        tally.keys += 1;
        let fingerprint = |object: &Option<ObjectDigest>| object.as_ref().and_then(|o| o.fingerprint.clone());
        let same = fingerprint(&ours).is_some_and(|ours| fingerprint(&theirs) == Some(ours));
        if let Some(object) = ours.or(theirs).filter(|_| !same) {
            pair.compare(&object, &mut tally, json).await?;
        }
    }
    pair.a.refresh().await?;
    pair.b.refresh().await?;
    words::conclude(&pair.a, &pair.b, &tally, json)
}

/// What was compared and found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Tally {
    /// Keys, of each type, that either node holds.
    keys: u64,
    /// Of these, those that differ.
    keys_differ: u64,
    /// Cells that only A holds.
    only_in_a: u64,
    /// Cells that only B holds.
    only_in_b: u64,
    /// Cells that both hold with other items.
    differ: u64,
    /// Of all these cells, those that no event which one side lacks explains.
    unexplained: u64,
}

/// Where a cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Found {
    OnlyInA,
    OnlyInB,
    Differs,
}

/// One cell that the two hold differently.
#[derive(Debug, Serialize)]
struct Finding<'a> {
    key: &'a str,
    #[serde(rename = "type")]
    ty: &'a str,
    cell: &'a Shown,
    found: Found,
    a: &'a [sync_net::ItemDigest],
    b: &'a [sync_net::ItemDigest],
    explained: bool,
    why: String,
}

struct Pair {
    a: Side,
    b: Side,
}

impl Pair {
    /// Finds the cells of one object that differ, range by range.
    async fn compare(&mut self, object: &ObjectDigest, tally: &mut Tally, json: bool) -> Result<(), Failure> {
        let (mut after, mut is_first) = (None::<String>, true);
        loop {
            let ours = self.a.range(&object.name, after.as_deref(), None).await?;
            let until = ours.last.clone().filter(|_| ours.cut);
            let theirs = self.b.range(&object.name, after.as_deref(), until.as_deref()).await?;
            let same = ours.fingerprint == theirs.fingerprint && !theirs.cut;
            let mut until = if theirs.cut { theirs.last } else { until };
            if !same {
                let ([ours, theirs], end) =
                    self.cells(&object.name, after.as_deref(), until.as_deref()).await?;
                until = end.or(until);
                for (cell_a, cell_b) in side::side_by_side(&ours, &theirs) {
                    self.report(object, cell_a, cell_b, tally, &mut is_first, json)?;
                }
            }
            if until.is_none() {
                return Ok(());
            }
            after = until;
        }
    }

    /// The cells of one range of both nodes, each between two looks at what its node knows; and where they end,
    /// if that is before the end of the range.
    async fn cells(
        &mut self,
        name: &ObjectName,
        after: Option<&str>,
        until: Option<&str>,
    ) -> Result<([Vec<CellDigest>; 2], Option<String>), Failure> {
        self.a.begin();
        self.b.begin();
        let (mut ours, our_end) = self.a.cells(name, after, until).await?;
        let (mut theirs, their_end) = self.b.cells(name, after, until).await?;
        let end = [our_end, their_end].into_iter().flatten().min();
        if let Some(end) = &end {
            ours.retain(|cell| cell.path <= *end);
            theirs.retain(|cell| cell.path <= *end);
        }
        Ok(([ours, theirs], end))
    }

    /// Prints one cell if it differs.
    fn report(
        &self,
        object: &ObjectDigest,
        cell_a: Option<&CellDigest>,
        cell_b: Option<&CellDigest>,
        tally: &mut Tally,
        is_first: &mut bool,
        json: bool,
    ) -> Result<(), Failure> {
        let items = |cell: Option<&'_ CellDigest>| cell.map_or(&[][..], |cell| &cell.items).to_vec();
        let (a, b) = (items(cell_a), items(cell_b));
        let Some(cell) = cell_a.or(cell_b).filter(|_| a != b) else { return Ok(()) };
        let whys = judge::judge((&a, &self.a.known), (&b, &self.b.known));
        let found = match (a.is_empty(), b.is_empty()) {
            (_, true) => Found::OnlyInA,
            (true, false) => Found::OnlyInB,
            (false, false) => Found::Differs,
        };
        match found {
            Found::OnlyInA => tally.only_in_a += 1,
            Found::OnlyInB => tally.only_in_b += 1,
            Found::Differs => tally.differ += 1,
        }
        let explained = whys.iter().all(Why::is_explained);
        tally.unexplained += u64::from(!explained);
        tally.keys_differ += u64::from(*is_first);
        let why = words::why(&whys);
        let (key, ty) = (object.name.key.as_str(), object.ty.as_str());
        let finding = Finding { key, ty, cell: &cell.shown, found, a: &a, b: &b, explained, why };
        let was_first = std::mem::take(is_first);
        if json {
            let line = serde_json::to_string(&finding).map_err(Failure::failed)?;
            return output::line(&line);
        }
        if was_first {
            output::line(&words::heading(&finding))?;
        }
        output::line(&words::finding(&finding))
    }
}
