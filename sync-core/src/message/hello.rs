//! The bytes of a `Hello`, and what may follow its fields.
//!
//! A `Hello` reads the same in every version, so that any two nodes can agree on one. What came later stands behind its
//! fields as extensions, each with a tag and its length: who does not know one skips it.

use std::collections::BTreeSet;

use super::{HELLO, Hello, LABEL_BYTES_MAX, read_flags};
use crate::codec::{Reader, Writer};
use crate::dictionary::{Version, Versions};
use crate::error::FrameError;
use crate::id::{NamespaceId, NodeId, ReplicaId};
use crate::time::WallMillis;
use crate::trace::TraceContext;

/// Most namespaces that a `Hello` lists; one that lists more is refused. More than any node keeps.
pub const NAMESPACES_TOLD_MAX: usize = 256;

/// The extension that lists namespaces.
const NAMESPACES: u8 = 1;

/// The extension that names the trace which the sender acts under.
const TRACE: u8 = 2;

/// What a node keeps besides the default namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Those that it exchanges.
    pub open: BTreeSet<NamespaceId>,
    /// Those that it keeps closed: it is a member of them, and may open them again.
    pub closed: BTreeSet<NamespaceId>,
}

impl Namespaces {
    fn is_empty(&self) -> bool {
        self.open.is_empty() && self.closed.is_empty()
    }
}

pub(super) fn write_hello(hello: &Hello, out: &mut Writer) {
    out.byte(HELLO);
    out.byte(hello.versions.min.0);
    out.byte(hello.versions.max.0);
    out.fixed(&hello.features.to_le_bytes());
    out.bytes(hello.cluster.as_bytes());
    out.fixed(&hello.node.0);
    out.fixed(&hello.incarnation.0);
    out.varint(hello.clock.0);
    out.byte(u8::from(hello.wants_reply));
    if !hello.namespaces.is_empty() {
        let mut listed = Writer::default();
        for list in [&hello.namespaces.open, &hello.namespaces.closed] {
            listed.count(list.len());
            list.iter().for_each(|id| listed.fixed(&id.0));
        }
        out.byte(NAMESPACES);
        out.bytes(&listed.finish());
    }
    if let Some(trace) = &hello.trace {
        out.byte(TRACE);
        out.bytes(trace.to_string().as_bytes());
    }
}

pub(super) fn read_hello(input: &mut Reader<'_>) -> Result<Hello, FrameError> {
    let (min, max) = (input.byte("oldest version")?, input.byte("newest version")?);
    if min == 0 || max < min {
        return Err(FrameError::Field { field: "newest version", value: u64::from(max) });
    }
    let features = u32::from_le_bytes(input.fixed("features")?);
    let label = input.bytes("cluster label", LABEL_BYTES_MAX)?;
    let cluster = String::from_utf8(label.to_vec()).map_err(|_| FrameError::KeyEncoding)?;
    let mut hello = Hello {
        features,
        versions: Versions { min: Version(min), max: Version(max) },
        cluster,
        node: NodeId(input.fixed("node")?),
        incarnation: ReplicaId(input.fixed("incarnation")?),
        clock: WallMillis(input.varint("clock")?),
        wants_reply: read_flags("wants reply", 1, input)? == 1,
        namespaces: Namespaces::default(),
        trace: None,
    };
    let mut last = 0;
    while input.remaining() > 0 {
        let tag = input.byte("extension")?;
        let content = input.bytes("extension", input.remaining())?;
        // Ascending, so that each comes once.
        if tag <= last {
            return Err(FrameError::Field { field: "extension", value: u64::from(tag) });
        }
        last = tag;
        if tag == NAMESPACES {
            hello.namespaces = read_namespaces(content)?;
        } else if tag == TRACE {
            let refused = FrameError::Field { field: "trace context", value: content.len() as u64 };
            hello.trace = Some(TraceContext::from_bytes(content).map_err(|_| refused)?);
        }
    }
    Ok(hello)
}

fn read_namespaces(content: &[u8]) -> Result<Namespaces, FrameError> {
    let mut input = Reader::new(content);
    let mut list = |field| -> Result<BTreeSet<NamespaceId>, FrameError> {
        let count = input.count(field, 8)?;
        if count > NAMESPACES_TOLD_MAX {
            return Err(FrameError::Field { field, value: count as u64 });
        }
        let mut ids = BTreeSet::new();
        for _ in 0..count {
            let id = NamespaceId(input.fixed(field)?);
            if ids.last().is_some_and(|last| *last >= id) {
                return Err(FrameError::Field { field, value: ids.len() as u64 });
            }
            ids.insert(id);
        }
        Ok(ids)
    };
    let (open, closed) = (list("open namespaces")?, list("closed namespaces")?);
    input.finish()?;
    if open.is_empty() && closed.is_empty() || !open.is_disjoint(&closed) {
        return Err(FrameError::Field { field: "namespaces", value: open.len() as u64 });
    }
    Ok(Namespaces { open, closed })
}
