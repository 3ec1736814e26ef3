//! The kinds of frames, for counting what they cost.

use super::Frame;

/// What a frame is for, as its second byte says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameKind {
    /// [`Frame::Hello`].
    Hello,
    /// [`Frame::Root`].
    Root,
    /// [`Frame::Push`].
    Push,
    /// [`Frame::Ack`].
    Ack,
    /// [`Frame::Pull`].
    Pull,
    /// [`Frame::Give`].
    Give,
    /// [`Frame::Part`].
    Part,
    /// [`Frame::Survey`].
    Survey,
    /// [`Frame::Quote`].
    Quote,
    /// [`Frame::Skeleton`].
    Skeleton,
    /// [`Frame::Payloads`].
    Payloads,
    /// [`Frame::Open`].
    Open,
    /// [`Frame::More`].
    More,
    /// [`Frame::Symbols`].
    Symbols,
    /// [`Frame::Nodes`].
    Nodes,
    /// [`Frame::NodesFound`].
    NodesFound,
    /// [`Frame::Inspect`].
    Inspect,
    /// [`Frame::Inspected`].
    Inspected,
}

impl FrameKind {
    /// Every kind, in the order of their bytes, which are 1 and up.
    pub const ALL: [Self; 18] = [
        Self::Hello,
        Self::Root,
        Self::Push,
        Self::Ack,
        Self::Pull,
        Self::Give,
        Self::Part,
        Self::Survey,
        Self::Quote,
        Self::Skeleton,
        Self::Payloads,
        Self::Open,
        Self::More,
        Self::Symbols,
        Self::Nodes,
        Self::NodesFound,
        Self::Inspect,
        Self::Inspected,
    ];

    /// Its name for people, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Root => "root",
            Self::Push => "push",
            Self::Ack => "ack",
            Self::Pull => "pull",
            Self::Give => "give",
            Self::Part => "part",
            Self::Survey => "survey",
            Self::Quote => "quote",
            Self::Skeleton => "skeleton",
            Self::Payloads => "payloads",
            Self::Open => "open",
            Self::More => "more",
            Self::Symbols => "symbols",
            Self::Nodes => "nodes",
            Self::NodesFound => "nodes_found",
            Self::Inspect => "inspect",
            Self::Inspected => "inspected",
        }
    }

    /// The byte that says it in a frame.
    pub(super) fn byte(self) -> u8 {
        self as u8 + 1
    }

    /// The kind of an encoded frame; `None` of bytes that are none.
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        Self::ALL.get(usize::from(bytes.get(1)?.checked_sub(1)?)).copied()
    }
}

impl Frame {
    /// What it is for.
    pub fn kind(&self) -> FrameKind {
        match self {
            Self::Hello(_) => FrameKind::Hello,
            Self::Root(..) => FrameKind::Root,
            Self::Push(..) => FrameKind::Push,
            Self::Ack(..) => FrameKind::Ack,
            Self::Pull(..) => FrameKind::Pull,
            Self::Give(..) => FrameKind::Give,
            Self::Part(..) => FrameKind::Part,
            Self::Survey(..) => FrameKind::Survey,
            Self::Quote(..) => FrameKind::Quote,
            Self::Skeleton(..) => FrameKind::Skeleton,
            Self::Payloads(..) => FrameKind::Payloads,
            Self::Open(..) => FrameKind::Open,
            Self::More(..) => FrameKind::More,
            Self::Symbols(..) => FrameKind::Symbols,
            Self::Nodes(..) => FrameKind::Nodes,
            Self::NodesFound(..) => FrameKind::NodesFound,
            Self::Inspect(..) => FrameKind::Inspect,
            Self::Inspected(..) => FrameKind::Inspected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{self, Dialect, Hello};

    #[test]
    fn kinds_lie_in_the_order_of_their_bytes() {
        assert!(FrameKind::ALL.iter().enumerate().all(|(at, kind)| *kind as usize == at));
        let kind_of = |byte| FrameKind::of_bytes(&[2, byte]);
        let named = [
            (message::HELLO, FrameKind::Hello),
            (message::ROOT, FrameKind::Root),
            (message::PUSH, FrameKind::Push),
            (message::ACK, FrameKind::Ack),
            (message::PULL, FrameKind::Pull),
            (message::GIVE, FrameKind::Give),
            (message::PART, FrameKind::Part),
            (message::SURVEY, FrameKind::Survey),
            (message::QUOTE, FrameKind::Quote),
            (message::SKELETON, FrameKind::Skeleton),
            (message::PAYLOADS, FrameKind::Payloads),
            (message::OPEN, FrameKind::Open),
            (message::MORE, FrameKind::More),
            (message::SYMBOLS, FrameKind::Symbols),
            (message::NODES, FrameKind::Nodes),
            (message::NODES_FOUND, FrameKind::NodesFound),
            (message::INSPECT, FrameKind::Inspect),
            (message::INSPECTED, FrameKind::Inspected),
        ];
        assert_eq!(named.len(), FrameKind::ALL.len());
        assert!(named.into_iter().all(|(byte, kind)| kind_of(byte) == Some(kind) && kind.byte() == byte));
        assert_eq!([kind_of(0), kind_of(19), FrameKind::of_bytes(&[1])], [None; 3]);
    }

    #[test]
    fn an_encoded_frame_has_the_kind_of_the_frame() {
        let hello = Frame::Hello(Hello {
            features: 0,
            versions: Default::default(),
            cluster: "c".to_owned(),
            node: crate::id::NodeId([1; 32]),
            incarnation: crate::id::ReplicaId([2; 16]),
            clock: Default::default(),
            wants_reply: false,
            namespaces: Default::default(),
            trace: None,
            heard: Default::default(),
        });
        assert_eq!(FrameKind::of_bytes(&hello.encode(&Dialect::default())), Some(hello.kind()));
    }
}
