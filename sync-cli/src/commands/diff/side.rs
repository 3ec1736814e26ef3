//! One of the two nodes: its socket, what it knows, and the pages that it answers with.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use sync_net::{CellDigest, CellPage, Knowledge, Moment, ObjectDigest, ObjectName, ObjectPage, RangeDigest};

use super::RANGE_CELLS;
use super::judge::Known;
use crate::client::Client;
use crate::failure::Failure;

/// A running node under the name that the command gives it.
pub(super) struct Side {
    pub(super) letter: &'static str,
    pub(super) knowledge: Knowledge,
    pub(super) known: Known,
    client: Client,
}

impl Side {
    /// The node at `path`: its socket, or a directory with a `sync.sock`.
    pub(super) async fn open(
        letter: &'static str,
        path: &Path,
        namespace: Option<String>,
    ) -> Result<Self, Failure> {
        let socket = if path.is_dir() { path.join("sync.sock") } else { PathBuf::from(path) };
        let client = Client::new(socket).in_namespace(namespace);
        let knowledge: Knowledge = client.get("/v1/knowledge", &[]).await?.parse()?;
        let known = Known::of(&knowledge);
        Ok(Self { letter, knowledge, known, client })
    }

    /// Refuses to compare a node with itself, or with one that it never exchanges anything with.
    pub(super) fn check_comparable(&self, other: &Self) -> Result<(), Failure> {
        let (ours, theirs) = (&self.knowledge, &other.knowledge);
        if ours.at.replica == theirs.at.replica {
            let text = format!("A and B are both node {}; name two sockets of two nodes", ours.node);
            return Err(Failure::Failed(text));
        }
        if ours.cluster != theirs.cluster {
            let [ours, theirs] = [ours, theirs].map(|side| crate::output::shown(&side.cluster));
            return Err(Failure::Failed(format!(
                "A is of the cluster {ours}, B of {theirs}; nodes of two clusters never exchange anything"
            )));
        }
        Ok(())
    }

    /// What is read from now on is read by a node that knows at least this.
    pub(super) fn begin(&mut self) {
        self.known.before = self.known.after.clone();
    }

    /// Asks what the node knows now.
    pub(super) async fn refresh(&mut self) -> Result<(), Failure> {
        let knowledge: Knowledge = self.client.get("/v1/knowledge", &[]).await?.parse()?;
        self.is_still(&knowledge.at)?;
        self.known.after = Known::of(&knowledge).after;
        self.knowledge = knowledge;
        Ok(())
    }

    /// After something was read at `at`: asks what the node knows, unless its log has not moved.
    async fn catch_up(&mut self, at: &Moment) -> Result<(), Failure> {
        self.is_still(at)?;
        if at.log_head > self.knowledge.at.log_head { self.refresh().await } else { Ok(()) }
    }

    fn is_still(&self, at: &Moment) -> Result<(), Failure> {
        if at.replica == self.knowledge.at.replica {
            return Ok(());
        }
        let letter = self.letter;
        Err(Failure::Failed(format!(
            "{letter} began a new life while it was compared (a restart, or a fence: see its log); run diff again"
        )))
    }

    /// The fingerprint of a range of cells.
    pub(super) async fn range(
        &self,
        name: &ObjectName,
        after: Option<&str>,
        until: Option<&str>,
    ) -> Result<RangeDigest, Failure> {
        let cells = RANGE_CELLS.to_string();
        let query = [("after", after), ("until", until), ("cells", Some(cells.as_str()))];
        self.ask("/v1/compare/range", name, &query).await
    }

    /// The cells of a range, page by page. If it has grown beyond twice a range meanwhile, only its beginning,
    /// with the path at which that ends.
    pub(super) async fn cells(
        &mut self,
        name: &ObjectName,
        after: Option<&str>,
        until: Option<&str>,
    ) -> Result<(Vec<CellDigest>, Option<String>), Failure> {
        let (mut cells, mut after) = (Vec::new(), after.map(str::to_owned));
        loop {
            let query = [("after", after.as_deref()), ("until", until)];
            let page: CellPage = self.ask("/v1/compare/cells", name, &query).await?;
            self.catch_up(&page.at).await?;
            after = page.cells.last().map(|cell| cell.path.clone());
            cells.extend(page.cells);
            if !page.more || after.is_none() {
                return Ok((cells, None));
            }
            if cells.len() as u64 >= 2 * RANGE_CELLS {
                return Ok((cells, after));
            }
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        name: &ObjectName,
        more: &[(&str, Option<&str>)],
    ) -> Result<T, Failure> {
        let tag = name.tag.to_string();
        let more = more.iter().filter_map(|(field, value)| value.map(|value| (*field, value)));
        let query: Vec<(&str, &str)> =
            [("key", name.key.as_str()), ("tag", tag.as_str())].into_iter().chain(more).collect();
        self.client.get(path, &query).await?.parse()
    }
}

/// The objects of one node in order, a page at a time.
#[derive(Default)]
pub(super) struct Objects {
    page: VecDeque<ObjectDigest>,
    /// The last object of the last page; `None` before the first.
    after: Option<ObjectName>,
    is_over: bool,
}

impl Objects {
    /// The next object; `None` after the last.
    pub(super) async fn peek(&mut self, side: &Side) -> Result<Option<&ObjectDigest>, Failure> {
        while self.page.is_empty() && !self.is_over {
            let page: ObjectPage = match &self.after {
                None => side.client.get("/v1/compare/objects", &[]).await?.parse()?,
                Some(after) => side.ask("/v1/compare/objects", after, &[]).await?,
            };
            side.is_still(&page.at)?;
            self.is_over = !page.more;
            self.after = page.objects.last().map(|last| last.name.clone()).or(self.after.take());
            self.page = page.objects.into();
        }
        Ok(self.page.front())
    }

    /// Takes the object that was peeked at.
    pub(super) fn next(&mut self) -> Option<ObjectDigest> {
        self.page.pop_front()
    }
}

/// Two lists of cells in order of their paths, joined by path.
pub(super) fn side_by_side<'a>(
    a: &'a [CellDigest],
    b: &'a [CellDigest],
) -> impl Iterator<Item = (Option<&'a CellDigest>, Option<&'a CellDigest>)> {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    std::iter::from_fn(move || {
        let order = match (a.peek(), b.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            // Lower-case hex is in the order of the bytes.
            (Some(one), Some(other)) => one.path.cmp(&other.path),
        };
        Some((a.next_if(|_| order.is_le()), b.next_if(|_| order.is_ge())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sync_net::Shown;

    fn cells(paths: &[&str]) -> Vec<CellDigest> {
        let shown = || Shown::Hex(String::new());
        let cell = |path: &&str| CellDigest { path: (*path).to_owned(), shown: shown(), items: Vec::new() };
        paths.iter().map(cell).collect()
    }

    #[test]
    fn cells_meet_by_path_and_each_comes_once() {
        let (a, b) = (cells(&["", "00", "01ff", "a0"]), cells(&["00", "01", "01ff", "b0"]));
        let path = |cell: Option<&CellDigest>| cell.map_or("-".to_owned(), |cell| cell.path.clone());
        let met: Vec<String> =
            side_by_side(&a, &b).map(|(a, b)| format!("{}|{}", path(a), path(b))).collect();
        assert_eq!(met, ["|-", "00|00", "-|01", "01ff|01ff", "a0|-", "-|b0"]);
        assert_eq!(side_by_side(&[], &[]).count(), 0);
    }
}
