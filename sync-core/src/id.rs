//! The names of things: nodes, incarnations, counter owners, namespaces, dots.
//!
//! Every id is a type of its own, so none can stand where another is meant. Their `Debug` is short:
//! the first four bytes in hex tell two of them apart in a trace.

use std::fmt;

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $len:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// The bytes that go on the wire.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// The first eight hex digits, as the tools show them.
            pub fn short(&self) -> String {
                hex(&self.0[..4])
            }

            /// All bytes in hex.
            pub fn to_hex(&self) -> String {
                hex(&self.0)
            }

            /// Reads what [`Self::to_hex`] wrote; `None` if it is not that many hex digits.
            pub fn from_hex(text: &str) -> Option<Self> {
                let mut bytes = [0; $len];
                if text.len() != 2 * $len || !text.is_ascii() {
                    return None;
                }
                for (at, byte) in bytes.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
                }
                Some(Self(bytes))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.short())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }
    };
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

byte_id!(
    /// A running process, stable over restarts: the BLAKE3 hash of its certificate's public key.
    NodeId,
    32
);
byte_id!(
    /// One life of a replica, the actor of its dots: 128 random bits, new at every start.
    ///
    /// Two lives never share one, so a dot is never minted twice (DESIGN section 4, incarnations).
    ReplicaId,
    16
);
byte_id!(
    /// Who owns a counter's contribution. Kept beside the [`ReplicaId`] because it may outlive it.
    OwnerId,
    16
);
byte_id!(
    /// A causal domain: its own context, root, log, cursors and bounds.
    ///
    /// The first eight bytes of a hash of its name, so two nodes agree on it without talking.
    NamespaceId,
    8
);
byte_id!(
    /// Hash over namespace, horizon, context and root: equal ids mean identical stores.
    StateId,
    32
);
byte_id!(
    /// The first half of a [`StateId`], in frames that open a connection. Who wants two stores to share one has
    /// to find a collision of 128 bits; at rest roots compare whole ids.
    StateHalf,
    16
);

impl StateId {
    /// Its first half.
    pub fn half(&self) -> StateHalf {
        let mut half = [0; 16];
        half.copy_from_slice(&self.0[..16]);
        StateHalf(half)
    }
}

impl NamespaceId {
    /// The id of the namespace called `name`.
    ///
    /// ```
    /// use sync_core::id::NamespaceId;
    /// assert_ne!(NamespaceId::named("default"), NamespaceId::named("urgent"));
    /// ```
    pub fn named(name: &str) -> Self {
        let hash = blake3::derive_key("sync 2026-11 namespace id", name.as_bytes());
        let mut id = [0; 8];
        id.copy_from_slice(&hash[..8]);
        Self(id)
    }
}

/// One event: the `seq`-th of `replica`, counted from 1.
///
/// The same pair as [`crdts::Dot`], as a plain `Copy` value; `into()` converts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// The incarnation that minted it.
    pub replica: ReplicaId,
    /// Its number there, from 1 to [`Dot::SEQ_MAX`].
    pub seq: u64,
}

impl Dot {
    /// The highest sequence number that is accepted from anyone: 2^40, a million events a second for
    /// twelve days of one incarnation. A dot above it is refused, so one hostile frame cannot push a
    /// column to the end of its range.
    pub const SEQ_MAX: u64 = 1 << 40;

    /// The `seq`-th event of `replica`.
    pub const fn new(replica: ReplicaId, seq: u64) -> Self {
        Self { replica, seq }
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}.{}", self.replica, self.seq)
    }
}

impl From<Dot> for crdts::Dot<ReplicaId> {
    fn from(dot: Dot) -> Self {
        Self::new(dot.replica, dot.seq)
    }
}

impl From<crdts::Dot<ReplicaId>> for Dot {
    fn from(dot: crdts::Dot<ReplicaId>) -> Self {
        Self { replica: dot.actor, seq: dot.counter }
    }
}
