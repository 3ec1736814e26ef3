//! Who is a member no more, though its certificate is well signed and not over.
//!
//! In flow the text of a file `revoked`, one entry a line; out flows a set that the verifier asks. An entry is a node id
//! (64 hex digits: the key is dead, whatever certificate it has) or `serial` and the number of one certificate in hex.
//! What follows a `#` is for people.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

use sync_core::id::NodeId;

use super::{CertError, read_text};

/// Most entries of a list. A longer one is refused whole, and what was in force stays: shorten it by entries whose
/// certificates are over, or begin a new CA.
pub const REVOKED_ENTRIES_MAX: usize = 10_000;

/// Longest file, in bytes: room for a comment on each line. Refused as above.
const REVOKED_BYTES_MAX: u64 = 2 << 20;

/// The serial number of a certificate, which its CA chose: at most 20 bytes (RFC 5280), without leading zeros.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(Vec<u8>);

/// Longest serial that is kept, in bytes. Of a longer one, which no CA may give, the first bytes are kept.
const SERIAL_BYTES_MAX: usize = 20;

impl Serial {
    /// From the bytes of its number, the highest first.
    pub fn of(bytes: &[u8]) -> Self {
        let from = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
        Self(bytes[from..].iter().take(SERIAL_BYTES_MAX).copied().collect())
    }

    /// Reads hex digits, with or without colons between them.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|digit| *digit != ':').collect();
        let fits = !digits.is_empty() && digits.len() <= 2 * SERIAL_BYTES_MAX;
        if !fits || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let even = if digits.len().is_multiple_of(2) { digits } else { format!("0{digits}") };
        let byte = |at: usize| u8::from_str_radix(&even[at..at + 2], 16).ok();
        (0..even.len()).step_by(2).map(byte).collect::<Option<Vec<u8>>>().map(|bytes| Self::of(&bytes))
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Nodes and certificates that are accepted no more.
///
/// ```
/// use sync_net::certs::Revoked;
///
/// let id = "ab".repeat(32);
/// let revoked = Revoked::parse(&format!("{id}  # till-2, stolen\nserial 5f01\n"))?;
/// assert_eq!(revoked.len(), 2);
/// assert!(Revoked::parse("till-2").is_err());
/// # Ok::<(), sync_net::certs::CertError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    nodes: BTreeSet<NodeId>,
    serials: BTreeSet<Serial>,
}

impl Revoked {
    /// Reads the text of a list.
    ///
    /// # Errors
    /// [`CertError::Malformed`] names the line; a list is read whole or not at all.
    pub fn parse(text: &str) -> Result<Self, CertError> {
        Self::parse_file(text, Path::new("revoked"))
    }

    /// Reads the list at `path`; `None` if there is no such file.
    ///
    /// # Errors
    /// As [`Self::parse`], and [`CertError::Io`].
    pub fn load(path: &Path) -> Result<Option<Self>, CertError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CertError::Io { action: "read", path: path.to_path_buf(), error }),
        };
        Self::parse_file(&read_text(file, path, REVOKED_BYTES_MAX)?, path).map(Some)
    }

    fn parse_file(text: &str, path: &Path) -> Result<Self, CertError> {
        let mut revoked = Self::default();
        let malformed = |why| Err(CertError::Malformed { path: path.to_path_buf(), why });
        for (at, line) in text.lines().enumerate() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let known = match (words.next(), words.next(), words.next()) {
                (None, _, _) => true,
                (Some(id), None, _) => NodeId::from_hex(id).map(|id| revoked.nodes.insert(id)).is_some(),
                (Some("serial"), Some(hex), None) => {
                    Serial::from_hex(hex).map(|serial| revoked.serials.insert(serial)).is_some()
                }
                (Some(_), Some(_), _) => false,
            };
            if !known {
                return malformed(format!(
                    "line {} is neither the 64 hex digits of a node id nor `serial` and a number in hex",
                    at + 1
                ));
            }
            if revoked.len() > REVOKED_ENTRIES_MAX {
                return malformed(format!("it has more than {REVOKED_ENTRIES_MAX} entries"));
            }
        }
        Ok(revoked)
    }

    /// Adds a node: no certificate for its key is accepted.
    pub fn revoke_node(&mut self, node: NodeId) {
        self.nodes.insert(node);
    }

    /// Adds one certificate.
    pub fn revoke_serial(&mut self, serial: Serial) {
        self.serials.insert(serial);
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.nodes.len() + self.serials.len()
    }

    /// True if nobody is revoked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True if the node itself is on the list.
    pub fn has_node(&self, node: &NodeId) -> bool {
        self.nodes.contains(node)
    }

    /// Why a certificate with this serial, of this node, is accepted no more; `None` if it is.
    pub(crate) fn why(&self, node: &NodeId, serial: &Serial) -> Option<&'static str> {
        if self.has_node(node) {
            Some("it is revoked: its node id is on the list")
        } else if self.serials.contains(serial) {
            Some("it is revoked: its serial number is on the list")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_whole_with_comments_or_refused_with_the_line() {
        let (a, b) = ("0a".repeat(32), "0B".repeat(32));
        let text = format!("# of the shop\n\n{a} # lost\n  {b}\nserial 00:5F:01\r\nserial 7\n{a}\n");
        let revoked = Revoked::parse(&text).unwrap();
        assert_eq!(revoked.len(), 4, "{revoked:?}");
        let (id, serial) = (NodeId([0x0b; 32]), Serial::of(&[0x5f, 1]));
        let other = (NodeId([1; 32]), Serial::of(&[1]));
        assert!(revoked.why(&id, &other.1).is_some_and(|why| why.contains("node id")));
        assert!(revoked.why(&other.0, &serial).is_some_and(|why| why.contains("serial")));
        assert_eq!(revoked.why(&other.0, &other.1), None);
        for wrong in
            ["till-1", "0a0b", "serial", "serial x", "serial 1 2", &format!("{a} {b}"), &"5".repeat(41)]
        {
            let error = Revoked::parse(&format!("{a}\n{wrong}")).unwrap_err().to_string();
            assert!(error.contains("line 2"), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_list_that_is_too_long_is_refused_whole() {
        let line = |n: usize| format!("serial {:x}\n", n + 1);
        let full: String = (0..REVOKED_ENTRIES_MAX).map(line).collect();
        assert_eq!(Revoked::parse(&full).unwrap().len(), REVOKED_ENTRIES_MAX);
        let error = Revoked::parse(&format!("{full}serial ffffff")).unwrap_err().to_string();
        assert!(error.contains("10000 entries"), "{error}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("revoked");
        assert_eq!(Revoked::load(&path).unwrap(), None);
        std::fs::write(&path, "#".repeat(3 << 20)).unwrap();
        assert!(Revoked::load(&path).unwrap_err().to_string().contains("2097152 bytes"));
    }
}
