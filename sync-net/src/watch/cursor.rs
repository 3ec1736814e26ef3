//! Where a watch stands: a token that the watcher keeps and gives back, here or at another node.
//!
//! State is a function of the context (DESIGN section 3, T5), so the context and the horizon of what was seen
//! say it all, on any node. As bytes: the version 1, the namespace, the prefix (length first), the horizon, how
//! often damage had been healed and in whose life, and the context: the number of columns, then replica and
//! sequence of each, ascending. Numbers are varints. As text: hex.

use std::fmt;
use std::str::FromStr;

use sync_core::causal::CausalContext;
use sync_core::codec::{Reader, Writer, read_seq};
use sync_core::error::FrameError;
use sync_core::id::{NamespaceId, ReplicaId};
use sync_core::node::Node as Core;
use sync_core::time::WallMillis;

use super::feed::{Covers, Seen};

const VERSION: u8 = 1;

/// Least bytes of a column.
const COLUMN_BYTES_MIN: usize = 17;

/// Longest prefix of a cursor that is read; no key is longer.
const PREFIX_BYTES_MAX: usize = 64 << 10;

/// Where a watch stands, from [`crate::Watch::cursor`]. It is some 40 bytes, and 20 for each incarnation that ever
/// wrote; `Display` and `FromStr` are its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    namespace: NamespaceId,
    prefix: Box<str>,
    /// In whose life the healings were counted.
    life: ReplicaId,
    seen: Seen,
}

/// Caller: the text or bytes are no cursor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no cursor of a watch: {reason}; begin with a snapshot")]
pub struct CursorError {
    reason: String,
}

impl From<FrameError> for CursorError {
    fn from(error: FrameError) -> Self {
        Self { reason: error.to_string() }
    }
}

impl Cursor {
    pub(super) fn new(namespace: NamespaceId, prefix: Box<str>, life: ReplicaId, seen: Seen) -> Self {
        Self { namespace, prefix, life, seen }
    }

    /// What was seen, if `core` can go on from it for a watch of `covers`.
    ///
    /// Healing changes state without an event, so no context tells of it: across lives none may have happened.
    pub(super) fn seen(&self, namespace: NamespaceId, covers: &Covers, core: &Core) -> Option<Seen> {
        let same = *covers == Covers::Prefix(self.prefix.clone()) && namespace == self.namespace;
        let healings = core.healings();
        let comparable = self.life == core.replica() || self.seen.healings.saturating_add(healings) == 0;
        (same && comparable).then(|| self.seen.clone())
    }

    /// The events that the watcher has seen.
    pub fn context(&self) -> &CausalContext {
        &self.seen.context
    }

    /// As bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.byte(VERSION);
        out.fixed(&self.namespace.0);
        out.bytes(self.prefix.as_bytes());
        out.varint(self.seen.horizon.0);
        out.varint(self.seen.healings);
        out.fixed(&self.life.0);
        out.count(self.seen.context.len());
        for (replica, seq) in self.seen.context.columns() {
            out.fixed(&replica.0);
            out.varint(seq);
        }
        out.finish()
    }

    /// From bytes.
    ///
    /// # Errors
    /// They are no cursor of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CursorError> {
        let mut input = Reader::new(bytes);
        let version = input.byte("version")?;
        if version != VERSION {
            return Err(CursorError {
                reason: format!("it has version {version}, this node reads {VERSION}"),
            });
        }
        let namespace = NamespaceId(input.fixed("namespace")?);
        let prefix = std::str::from_utf8(input.bytes("prefix", PREFIX_BYTES_MAX)?)
            .map_err(|error| CursorError { reason: error.to_string() })?
            .into();
        let horizon = WallMillis(input.varint("horizon")?);
        let healings = input.varint("healings")?;
        let life = ReplicaId(input.fixed("life")?);
        let count = input.count("columns", COLUMN_BYTES_MIN)?;
        let (mut context, mut last) = (CausalContext::default(), None);
        for _ in 0..count {
            let replica = ReplicaId(input.fixed("replica")?);
            if last.replace(replica).is_some_and(|last| last >= replica) {
                return Err(FrameError::Order { field: "columns" }.into());
            }
            context.advance(replica, read_seq("sequence", &mut input)?);
        }
        input.finish()?;
        Ok(Self { namespace, prefix, life, seen: Seen { context, horizon, healings } })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let wrong = || CursorError { reason: "it is not an even number of hex digits".to_owned() };
        let digits: Option<Vec<u8>> = text.bytes().map(hex_digit).collect();
        let digits = digits.filter(|digits| digits.len().is_multiple_of(2)).ok_or_else(wrong)?;
        let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        Self::from_bytes(&bytes)
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
