//! What a CA has issued: a text file beside its key, so that a name can be renewed and revoked.
//!
//! One line a certificate: node id, serial, and the name, which goes to the end of the line. Nodes never see it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use sync_core::id::NodeId;

use super::{CertError, Facts, Serial, certificate_of, read_text, replace};
use crate::certs::revoked::Revoked;
use crate::identity::node_id_of;

const REGISTER_FILE: &str = "issued";

/// The name of the list of the revoked, in the folder of a CA and in that of a node.
pub(crate) const REVOKED_FILE: &str = "revoked";

/// Longest register, in bytes: 60,000 certificates or so. When full nothing more is issued from this folder: move the
/// file away, and what it names is revoked by id.
const REGISTER_BYTES_MAX: u64 = 8 << 20;

/// One certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Whose.
    pub node: NodeId,
    /// Its number.
    pub serial: Serial,
    /// The name in it, escaped.
    pub name: String,
}

/// The register of the CA in one folder.
#[derive(Debug)]
pub struct Register {
    dir: PathBuf,
}

impl Register {
    /// That of the CA in `dir`.
    pub fn of(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }

    /// Notes a certificate, given as PEM.
    ///
    /// # Errors
    /// [`CertError`]: it is no certificate, the register is full, or it cannot be written.
    pub fn note(&self, certificate_pem: &str) -> Result<Issued, CertError> {
        let path = self.dir.join(REGISTER_FILE);
        let malformed = |why| CertError::Malformed { path: "the certificate".into(), why };
        let facts = certificate_of(certificate_pem).and_then(|leaf| Facts::of(&leaf)).map_err(malformed)?;
        let issued =
            Issued { node: node_id_of(&facts), serial: facts.serial.clone(), name: facts.name.clone() };
        let Issued { node, serial, name } = &issued;
        let io = |error| CertError::Io { action: "write", path: path.clone(), error };
        let mut file = OpenOptions::new().append(true).create(true).open(&path).map_err(io)?;
        if file.metadata().map_err(io)?.len() + 512 > REGISTER_BYTES_MAX {
            let why = format!("it has {REGISTER_BYTES_MAX} bytes, as many as it may; move it away");
            return Err(CertError::Malformed { path, why });
        }
        file.write_all(format!("{} {serial} {name}\n", node.to_hex()).as_bytes()).map_err(io)?;
        file.sync_all().map_err(io)?;
        Ok(issued)
    }

    /// Every certificate noted, in the order of issue; none if there is no register yet.
    ///
    /// # Errors
    /// [`CertError`]: it cannot be read, or a line of it is not one that [`Self::note`] writes.
    pub fn read(&self) -> Result<Vec<Issued>, CertError> {
        let path = self.dir.join(REGISTER_FILE);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(CertError::Io { action: "read", path, error }),
        };
        let text = read_text(file, &path, REGISTER_BYTES_MAX)?;
        let line = |(at, line): (usize, &str)| {
            let mut words = line.splitn(3, ' ');
            let node = words.next().and_then(NodeId::from_hex);
            let serial = words.next().and_then(Serial::from_hex);
            match (node, serial) {
                (Some(node), Some(serial)) => {
                    Ok(Issued { node, serial, name: words.next().unwrap_or_default().to_owned() })
                }
                (None, _) | (_, None) => {
                    let why = format!("line {} is not a node id, a serial and a name", at + 1);
                    Err(CertError::Malformed { path: path.clone(), why })
                }
            }
        };
        text.lines().enumerate().map(line).collect()
    }

    /// The one node that is named so, or whose id begins so (at least 8 digits).
    ///
    /// # Errors
    /// [`CertError::Name`] if there is none, or more than one: two nodes may have one name.
    pub fn find(&self, who: &str) -> Result<NodeId, CertError> {
        let digits = who.to_lowercase();
        let is_id = who.len() >= 8 && who.bytes().all(|digit| digit.is_ascii_hexdigit());
        let begins = |node: &NodeId| is_id && node.to_hex().starts_with(&digits);
        let mut found: Vec<NodeId> = self
            .read()?
            .into_iter()
            .filter(|issued| issued.name == who || begins(&issued.node))
            .map(|issued| issued.node)
            .collect();
        found.sort();
        found.dedup();
        match found.as_slice() {
            [node] => Ok(*node),
            [] => NodeId::from_hex(who).ok_or_else(|| {
                let why = "names no node that this CA has a note of: give the 64 digits of its id".to_owned();
                CertError::Name { what: "the node", text: who.to_owned(), why }
            }),
            several => {
                let ids: Vec<String> = several.iter().map(NodeId::short).collect();
                let why = format!("names {} nodes ({}): give an id", ids.len(), ids.join(", "));
                Err(CertError::Name { what: "the node", text: who.to_owned(), why })
            }
        }
    }
}

/// Puts a line into the list of the revoked in `dir`, the folder of a CA or of a node, in one step: a node that reads it
/// at this moment reads the list before or the list after.
///
/// # Errors
/// [`CertError`]: the list that is there cannot be read, is full, or cannot be written. It is as it was then.
pub fn revoke_in(dir: &Path, line: &str) -> Result<(), CertError> {
    let path = dir.join(REVOKED_FILE);
    let text = match File::open(&path) {
        Ok(file) => read_text(file, &path, 2 << 20)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            "# Revoked in this cluster: a node id, or `serial` and a number, a line. Nodes read it by themselves.\n"
                .to_owned()
        }
        Err(error) => return Err(CertError::Io { action: "read", path, error }),
    };
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let text = format!("{text}{end}{line}\n");
    Revoked::parse(&text)?;
    replace(&path, 0o644, &text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClusterCa;

    #[test]
    fn a_name_is_found_by_name_or_id_and_refused_if_two_nodes_have_it() {
        let dir = tempfile::tempdir().unwrap();
        let register = Register::of(dir.path());
        assert_eq!(register.read().unwrap(), []);
        let ca = ClusterCa::create("shop").unwrap();
        let nodes = ["a b", "c", "c"].map(|name| ca.issue(name).unwrap());
        for node in &nodes {
            register.note(node.certificate_pem()).unwrap();
        }
        // A renewed certificate is of the same node.
        register.note(&ca.renew(nodes[0].certificate_pem()).unwrap()).unwrap();
        let id = nodes[0].node_id();
        assert_eq!(register.find("a b").unwrap(), id);
        assert_eq!(register.find(&id.to_hex()[..8].to_uppercase()).unwrap(), id);
        assert!(register.find("c").unwrap_err().to_string().contains("2 nodes"));
        assert!(register.find("d").unwrap_err().to_string().contains("64 digits"));
        assert_eq!(
            register.find(&"07".repeat(32)).unwrap(),
            NodeId([7; 32]),
            "issued before there was a register"
        );
        let serials: Vec<Serial> = register.read().unwrap().into_iter().map(|issued| issued.serial).collect();
        assert_ne!(serials[0], serials[3]);
    }

    #[test]
    fn a_line_is_added_to_the_list_and_the_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(REVOKED_FILE);
        let id = "0a".repeat(32);
        revoke_in(dir.path(), &format!("{id} # lost")).unwrap();
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "serial 05 # by hand").unwrap();
        revoke_in(dir.path(), "serial 06").unwrap();
        assert_eq!(Revoked::load(&path).unwrap().unwrap().len(), 3);
        let before = std::fs::read_to_string(&path).unwrap();
        assert!(before.contains("# lost") && before.contains("# by hand"));
        assert!(revoke_in(dir.path(), "nonsense").is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
    }
}
