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

/// The extension that says which of the receiver's lists of namespaces the sender has.
const HEARD: u8 = 3;

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

    /// Names these lists in a `Hello`, so that who sent them knows which ones were heard.
    pub fn digest(&self) -> NamespacesDigest {
        if self.is_empty() {
            return NamespacesDigest::default();
        }
        NamespacesDigest::of(&self.listed())
    }

    /// As they are written.
    fn listed(&self) -> Vec<u8> {
        let mut listed = Writer::default();
        for list in [&self.open, &self.closed] {
            listed.count(list.len());
            list.iter().for_each(|id| listed.fixed(&id.0));
        }
        listed.finish()
    }
}

/// The first eight bytes of the BLAKE3 hash of lists of namespaces as a `Hello` writes them; zero if both are empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NamespacesDigest(pub [u8; 8]);

impl NamespacesDigest {
    fn of(listed: &[u8]) -> Self {
        let hash = blake3::hash(listed);
        let (digest, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
        Self(*digest)
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
        out.byte(NAMESPACES);
        out.bytes(&hello.namespaces.listed());
    }
    if let Some(trace) = &hello.trace {
        out.byte(TRACE);
        out.bytes(trace.to_string().as_bytes());
    }
    if hello.heard != NamespacesDigest::default() {
        out.byte(HEARD);
        out.bytes(&hello.heard.0);
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
        heard: NamespacesDigest::default(),
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
        } else if tag == HEARD {
            let refused = FrameError::Field { field: "heard namespaces", value: content.len() as u64 };
            let digest = NamespacesDigest(content.try_into().map_err(|_| refused.clone())?);
            if digest == NamespacesDigest::default() {
                return Err(refused);
            }
            hello.heard = digest;
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
