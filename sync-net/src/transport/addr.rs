//! The address of a peer as an operator writes it.

use std::fmt;
use std::str::FromStr;

use sync_core::id::NodeId;

/// A peer to dial: `host:port`, or `<64 hex digits>@host:port` to accept there one node only.
///
/// ```
/// use sync_net::PeerAddr;
///
/// let peer: PeerAddr = "till-2.example:7000".parse()?;
/// assert_eq!((peer.addr.as_str(), peer.id), ("till-2.example:7000", None));
/// assert!("till-2.example".parse::<PeerAddr>().is_err());
/// # Ok::<(), sync_net::PeerAddrError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddr {
    /// `host:port`, resolved anew at each dial.
    pub addr: String,
    /// The only node that may answer there; `None`: any node of the cluster.
    pub id: Option<NodeId>,
}

/// Why a [`PeerAddr`] cannot be read from a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("peer {text:?}: {why}; write host:port or <64 hex digits of its node id>@host:port")]
pub struct PeerAddrError {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl FromStr for PeerAddr {
    type Err = PeerAddrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |why| PeerAddrError { text: text.to_owned(), why };
        let (id, addr) = match text.split_once('@') {
            None => (None, text),
            Some((id, addr)) => {
                (Some(NodeId::from_hex(id).ok_or_else(|| fail("the node id is not 64 hex digits"))?), addr)
            }
        };
        let (host, port) = addr.rsplit_once(':').ok_or_else(|| fail("the port is missing"))?;
        if host.is_empty() {
            return Err(fail("the host is missing"));
        }
        if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
            return Err(fail("an IPv6 address needs brackets, as in [::1]:7000"));
        }
        match port.parse::<u16>() {
            Ok(1..) => Ok(Self { addr: addr.to_owned(), id }),
            Ok(0) | Err(_) => Err(fail("the port is not a number from 1 to 65535")),
        }
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(f, "{id}@{}", self.addr),
            None => f.write_str(&self.addr),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let id = "ab".repeat(32);
        for text in ["a:1", "10.0.0.1:7000", "[::1]:65535", &format!("{id}@a.example:7000")] {
            assert_eq!(text.parse::<PeerAddr>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_wrong_address_is_refused_with_the_form_that_is_wanted() {
        for text in ["", "a", "a:", ":1", "a:0", "a:65536", "::1:7000", "12@a:1", &"x".repeat(64), "@a:1"] {
            let error = text.parse::<PeerAddr>().unwrap_err().to_string();
            assert!(error.contains("host:port"), "{error}");
        }
    }
}
