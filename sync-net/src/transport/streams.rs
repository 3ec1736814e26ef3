//! The streams of a link: one for each class and direction, and how each begins.
//!
//! A stream begins with its head: the version of this layout and the class, a byte each. On the urgent stream, which each
//! end opens first, the 16 bytes of the sender's [`Life`](super::table::Life) follow; then, on all of them, come frames.
//! The other two are opened with their first frame. A node of the first release knows one stream, without a head, for
//! everything; which of the two it is was agreed on in the TLS handshake.

use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, SendStream};
use sync_core::class::Class;

/// The names under which TLS agrees on the layout, the better one first.
pub(super) const PROTOCOLS: [&[u8]; 2] = [b"sync/2", b"sync/1"];

/// The first byte of a stream's head.
const VERSION: u8 = 2;

/// Bytes of a stream's head.
pub(super) const HEAD_BYTES: usize = 2;

/// How frames are spread over streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// One stream for all, without a head: the first release's.
    Single,
    /// One for each class.
    Classes,
}

impl Layout {
    /// What the two ends have agreed on.
    pub(super) fn of(connection: &Connection) -> Self {
        let agreed = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
        match agreed.and_then(|data| data.protocol) {
            Some(name) if name == PROTOCOLS[0] => Self::Classes,
            Some(_) | None => Self::Single,
        }
    }
}

/// How the stream of `class` begins.
pub(super) const fn head(class: Class) -> [u8; HEAD_BYTES] {
    let number = match class {
        Class::Urgent => 0,
        Class::Normal => 1,
        Class::Bulk => 2,
    };
    [VERSION, number]
}

/// The class that a stream's head names; the reason in words if it names none.
pub(super) fn class_of(bytes: [u8; HEAD_BYTES]) -> Result<Class, String> {
    let found = Class::ALL.into_iter().find(|class| head(*class) == bytes);
    found.ok_or_else(|| {
        let [version, class] = bytes;
        format!("a stream begins with version {version} and class {class}; this node knows version {VERSION}, classes 0 to 2")
    })
}

/// Lets `stream` go before those of less urgent classes, byte for byte.
pub(super) fn prioritise(stream: &SendStream, class: Class) {
    let priority = match class {
        Class::Urgent => 2,
        Class::Normal => 1,
        Class::Bulk => 0,
    };
    // It fails for a stream that is closed, and then the next write says so.
    let _ = stream.set_priority(priority);
}

/// One of each for each class.
#[derive(Debug)]
pub(super) struct PerClass<T> {
    urgent: T,
    normal: T,
    bulk: T,
}

impl<T> PerClass<T> {
    pub(super) fn new(mut make: impl FnMut(Class) -> T) -> Self {
        Self { urgent: make(Class::Urgent), normal: make(Class::Normal), bulk: make(Class::Bulk) }
    }

    pub(super) fn of(&self, class: Class) -> &T {
        match class {
            Class::Urgent => &self.urgent,
            Class::Normal => &self.normal,
            Class::Bulk => &self.bulk,
        }
    }

    /// All of them, the most urgent first.
    pub(super) fn all_mut(&mut self) -> [&mut T; 3] {
        [&mut self.urgent, &mut self.normal, &mut self.bulk]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tests/vectors/stream_heads.hex`: a line for each class, the most urgent first.
    #[test]
    fn the_heads_of_streams_are_those_of_the_vectors() {
        let vectors = include_str!("../../../tests/vectors/stream_heads.hex");
        let lines: Vec<&str> = vectors.lines().collect();
        let heads = Class::ALL.map(|class| crate::inspect::hex(&head(class)));
        assert_eq!(lines, heads);
        for class in Class::ALL {
            assert_eq!(class_of(head(class)), Ok(class));
        }
        for wrong in [[1, 0], [VERSION, 3], [3, 0]] {
            assert!(class_of(wrong).is_err_and(|why| why.contains("begins with version")), "{wrong:?}");
        }
    }
}
