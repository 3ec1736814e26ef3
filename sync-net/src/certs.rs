//! The certificate authority of one cluster, and what can go wrong with certificates.
//!
//! A cluster is the set of nodes whose certificates one small CA has signed; there is no other
//! membership list to keep. In flow a label and node names, out flow an [`Identity`] for each node. The
//! CA key is needed only to issue, so it belongs on the operator's machine and not on the nodes.
//!
//! Ed25519 throughout. The CA is valid for ten years, a node for one. Every node certificate carries the
//! same DNS name, `node.sync.internal`: peers are told apart by key (the [`NodeId`](sync_core::id::NodeId)),
//! never by name or address, and the CA's name constraint keeps it from signing for anything else.

mod facts;
mod files;
mod register;
mod revoked;
mod verify;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

pub(crate) use facts::Facts;
pub(crate) use files::{
    create_dir, read_certificate, read_key, read_text, refuse_existing, replace, write_new,
};
pub(crate) use register::REVOKED_FILE;
pub use register::{Issued, Register, revoke_in};
pub use revoked::{REVOKED_ENTRIES_MAX, Revoked, Serial};
pub(crate) use verify::{InForce, Verifier, now as in_force, unfit_in};

use crate::identity::{CERTIFICATE_FILE, Identity};

/// The DNS name in every node certificate, which every dialler asks for.
pub(crate) const SERVER_NAME: &str = "node.sync.internal";

/// What the CA may sign for: names below this one.
const NAME_CONSTRAINT: &str = "sync.internal";

/// Longest label of a CA and longest name of a node, in characters. X.509 allows 64 in a common name; the
/// CA's also holds the words around its label.
const LABEL_CHARS_MAX: usize = 40;
const NAME_CHARS_MAX: usize = 64;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a CA is valid. When it ends, every node needs a certificate of a new one: a guess at longer
/// than a deployment lives.
const CA_VALIDITY: Duration = DAY.saturating_mul(3_653);

/// How long a node certificate is valid. When it ends, its links are closed and no new one is let in.
const NODE_VALIDITY: Duration = DAY.saturating_mul(365);

/// Certificates are valid from this long before they are made: clocks of a cluster differ.
const BACKDATED: Duration = Duration::from_secs(60 * 60);

/// Names of the two files of a CA.
const CA_CERTIFICATE_FILE: &str = "ca.pem";
const CA_KEY_FILE: &str = "ca.key";

/// Why certificates could not be made, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertError {
    /// Caller: a label or name cannot go into a certificate.
    #[error("{what} {text:?} {why}; choose another")]
    Name {
        /// Label or name.
        what: &'static str,
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// Caller: a file that would be written is there already; nothing was written.
    #[error("{} exists and is not overwritten; move it away or choose another directory", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Operator: somebody else on this machine can read a key.
    #[error(
        "the key {path} can be read by others on this machine (mode {mode:04o}); run: chmod 600 {path}",
        path = path.display()
    )]
    KeyReadable {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Operator: a file cannot be read or written.
    #[error("cannot {action} {}: {error}", path.display())]
    Io {
        /// Read, write, create.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        error: std::io::Error,
    },
    /// Operator: a file does not hold what its name says.
    #[error("{} is not usable: {}; restore it from a copy or issue it again", path.display(), one_line(why))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Operator: certificate and key do not fit each other, or the CA.
    #[error("{why}; copy ca.pem, node.pem and node.key from one issue")]
    Mismatch {
        /// Which do not fit.
        why: String,
    },
    /// Operator: a certificate is outside its validity.
    #[error("{what} is valid from {not_before} to {not_after} and not now; issue a new one or set the clock")]
    NotNow {
        /// Whose certificate.
        what: &'static str,
        /// The first moment.
        not_before: String,
        /// The last moment.
        not_after: String,
    },
    /// The cryptography library failed to make a key or certificate.
    #[error("cannot make {what}: {why}")]
    Make {
        /// Key or certificate.
        what: &'static str,
        /// What the library said.
        why: String,
    },
}

/// The certificate authority of one cluster: it issues the nodes' certificates.
///
/// ```
/// use sync_net::certs::ClusterCa;
///
/// let ca = ClusterCa::create("shop")?;
/// let (a, b) = (ca.issue("till-1")?, ca.issue("till-2")?);
/// assert_ne!(a.node_id(), b.node_id());
/// # Ok::<(), sync_net::certs::CertError>(())
/// ```
pub struct ClusterCa {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    not_after: SystemTime,
}

impl ClusterCa {
    /// Makes a new CA with a new key, in memory.
    ///
    /// `label` (1 to 40 characters, none of them a control character) is for people: two CAs with one
    /// label are two clusters.
    ///
    /// # Errors
    ///
    /// [`CertError::Name`] for an unusable label, [`CertError::Make`] if the library fails.
    pub fn create(label: &str) -> Result<Self, CertError> {
        check_name("the CA label", label, LABEL_CHARS_MAX)?;
        let key = new_key()?;
        let now = SystemTime::now();
        let mut params = CertificateParams::default();
        // Part of the key's hash in the name: a peer that holds a certificate of another CA with our
        // label is then told "unknown issuer", which is the truth, and not "bad signature".
        let mark = blake3::hash(key.public_key_raw()).to_hex();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("{label} cluster CA {}", &mark.as_str()[..8]));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName(NAME_CONSTRAINT.to_owned())],
            excluded_subtrees: Vec::new(),
        });
        params.not_before = (now - BACKDATED).into();
        params.not_after = (now + CA_VALIDITY).into();
        let certificate = params.self_signed(&key).map_err(make("the CA certificate"))?;
        Ok(Self {
            certificate_pem: certificate.pem(),
            issuer: Issuer::new(params, key),
            not_after: now + CA_VALIDITY,
        })
    }

    /// Reads the CA that [`Self::save`] wrote into `dir`.
    ///
    /// # Errors
    ///
    /// [`CertError::KeyReadable`] if group or others may read the key, [`CertError::NotNow`] if the CA is
    /// over, and [`CertError::Io`], [`CertError::Malformed`], [`CertError::Mismatch`] for the files.
    pub fn load(dir: &Path) -> Result<Self, CertError> {
        let certificate_path = dir.join(CA_CERTIFICATE_FILE);
        let (certificate_pem, certificate) = read_certificate(&certificate_path)?;
        let key_path = dir.join(CA_KEY_FILE);
        let key = KeyPair::from_pem(&read_key(&key_path)?)
            .map_err(|error| CertError::Malformed { path: key_path, why: error.to_string() })?;
        let facts = Facts::of(&certificate)
            .map_err(|why| CertError::Malformed { path: certificate_path.clone(), why })?;
        if !facts.is_ca {
            let why = "it is not the certificate of a CA".to_owned();
            return Err(CertError::Malformed { path: certificate_path, why });
        }
        if facts.spki != rcgen::PublicKeyData::subject_public_key_info(&key) {
            return Err(CertError::Mismatch { why: "ca.key is not the key of ca.pem".to_owned() });
        }
        facts.check_now("the CA")?;
        let not_after = facts.not_after;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|error| CertError::Malformed { path: certificate_path, why: error.to_string() })?;
        Ok(Self { issuer, certificate_pem, not_after })
    }

    /// Writes `ca.pem` (mode 0644) and `ca.key` (mode 0600) into `dir`, which is made if need be.
    ///
    /// # Errors
    ///
    /// [`CertError::Exists`] if either is there already, [`CertError::Io`] if writing fails.
    pub fn save(&self, dir: &Path) -> Result<(), CertError> {
        let certificate = dir.join(CA_CERTIFICATE_FILE);
        let key = dir.join(CA_KEY_FILE);
        create_dir(dir)?;
        refuse_existing(&[&certificate, &key])?;
        // The key first: a directory with a key and no certificate is visibly not finished.
        write_new(&key, 0o600, &self.issuer.key().serialize_pem())?;
        write_new(&certificate, 0o644, &self.certificate_pem)
    }

    /// Makes a key and a certificate for a new node, valid for a year and not longer than the CA.
    ///
    /// `name` (1 to 64 characters, none of them a control character) is shown to people and identifies
    /// nothing: that is the key, so a second call with one name makes another node.
    ///
    /// # Errors
    ///
    /// [`CertError::Name`] for an unusable name, [`CertError::Make`] if the library fails.
    pub fn issue(&self, name: &str) -> Result<Identity, CertError> {
        self.issue_for(name, NODE_VALIDITY)
    }

    /// As [`Self::issue`], valid for another time; a second is the shortest.
    ///
    /// # Errors
    ///
    /// As [`Self::issue`].
    pub fn issue_for(&self, name: &str, validity: Duration) -> Result<Identity, CertError> {
        let key = new_key()?;
        let leaf = self.sign(name, &key, validity)?;
        Identity::from_pem(&self.certificate_pem, &leaf, &key.serialize_pem())
    }

    /// Makes a new certificate for the key of an old one, valid from now on as a new one is, and gives it as PEM. The
    /// node that has the key stays the same node. `old` may be over, or of another CA: that it is to be a member is the
    /// caller's word.
    ///
    /// # Errors
    ///
    /// [`CertError::Malformed`] if `old` is no certificate for an Ed25519 key, [`CertError::Make`] if the library fails.
    pub fn renew(&self, old: &str) -> Result<String, CertError> {
        let malformed = |why| CertError::Malformed { path: "the old certificate".into(), why };
        let facts = certificate_of(old).and_then(|old| Facts::of(&old)).map_err(malformed)?;
        facts.check_key().map_err(malformed)?;
        let key = rcgen::SubjectPublicKeyInfo::from_der(&facts.spki)
            .map_err(|error| malformed(error.to_string()))?;
        self.sign(&facts.name, &key, NODE_VALIDITY)
    }

    /// Renews the certificate in the folder of a node, in one step, and makes its `ca.pem` accept this CA too. Gives the
    /// new certificate.
    ///
    /// # Errors
    ///
    /// [`CertError`]: a file cannot be read or written, or `node.pem` is no certificate; it is as it was then.
    pub fn renew_in(&self, dir: &Path) -> Result<String, CertError> {
        let path = dir.join(CERTIFICATE_FILE);
        let renewed = self.renew(&read_certificate(&path)?.0)?;
        // The CA first: with a certificate of a CA that it does not know a node keeps the old one.
        trust_in(dir, &self.certificate_pem, false)?;
        replace(&path, 0o644, &renewed)?;
        Ok(renewed)
    }

    /// A certificate for `key`.
    fn sign(
        &self,
        name: &str,
        key: &impl rcgen::PublicKeyData,
        validity: Duration,
    ) -> Result<String, CertError> {
        check_name("the node name", name, NAME_CHARS_MAX)?;
        let now = SystemTime::now();
        let mut params =
            CertificateParams::new(vec![SERVER_NAME.to_owned()]).map_err(make("the node name"))?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        // Two certificates for one key have two serials, so that the older one can be revoked alone.
        params.serial_number = Some(new_serial()?);
        params.not_before = (now - BACKDATED).into();
        params.not_after = (now + validity).min(self.not_after).into();
        let leaf = params.signed_by(key, &self.issuer).map_err(make("the node certificate"))?;
        Ok(leaf.pem())
    }

    /// What signs, for certificates that no CA of ours issues.
    #[cfg(test)]
    pub(crate) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// The CA certificate, which every node holds and which is no secret.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }
}

/// Makes a node's folder accept what the CA of `ca_pem` signs: beside the others in its `ca.pem`, or nothing but it. How
/// many CAs it accepts then.
///
/// # Errors
///
/// [`CertError`]: the file cannot be read or written, or has no room for one more; it is as it was then.
pub fn trust_in(dir: &Path, ca_pem: &str, only: bool) -> Result<usize, CertError> {
    let path = dir.join(CA_CERTIFICATE_FILE);
    let (old, _) = read_certificate(&path)?;
    let malformed = |why| CertError::Malformed { path: path.clone(), why };
    let (old_cas, new) =
        (certificates_of(&old).map_err(malformed)?, certificate_of(ca_pem).map_err(malformed)?);
    let text = match only {
        true if old_cas == [new.clone()] => return Ok(1),
        true => ca_pem.to_owned(),
        false if old_cas.contains(&new) => return Ok(old_cas.len()),
        false => format!("{}\n{ca_pem}", old.trim_end()),
    };
    let count = certificates_of(&text).map_err(malformed)?.len();
    replace(&path, 0o644, &text)?;
    Ok(count)
}

impl fmt::Debug for ClusterCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterCa").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

fn new_key() -> Result<KeyPair, CertError> {
    KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(make("a key"))
}

fn new_serial() -> Result<rcgen::SerialNumber, CertError> {
    let mut serial = [0; 16];
    getrandom::fill(&mut serial)
        .map_err(|error| CertError::Make { what: "a serial number", why: error.to_string() })?;
    // A positive number whose first byte is not zero has one encoding.
    serial[0] = serial[0] & 0x3f | 0x40;
    Ok(rcgen::SerialNumber::from_slice(&serial))
}

fn make(what: &'static str) -> impl Fn(rcgen::Error) -> CertError {
    move |error| CertError::Make { what, why: error.to_string() }
}

fn check_name(what: &'static str, text: &str, chars_max: usize) -> Result<(), CertError> {
    let chars = text.chars().count();
    let why = if chars == 0 || chars > chars_max {
        format!("has {chars} characters, allowed are 1 to {chars_max}")
    } else if text.chars().any(char::is_control) {
        "holds a control character".to_owned()
    } else {
        return Ok(());
    };
    // The text may be as long as the caller likes; the error is one line.
    Err(CertError::Name { what, text: text.chars().take(chars_max).collect(), why })
}

/// What a library said of bytes that somebody else wrote, on one line whatever it quotes of them.
fn one_line(why: &str) -> String {
    why.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Most certificates of CAs in one `ca.pem`. Two are enough to move a cluster from one CA to another. A guess.
const CAS_MAX: usize = 8;

/// All certificates in `pem`, at least one.
pub(crate) fn certificates_of(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).take(CAS_MAX + 1).collect();
    match read {
        Ok(found) if found.is_empty() => Err("no PEM certificate in it".to_owned()),
        Ok(found) if found.len() > CAS_MAX => Err(format!("more than {CAS_MAX} certificates are in it")),
        // A copy that is under way ends anywhere.
        Ok(found) if found.len() != pem.matches("-----BEGIN").count() => {
            Err("not all that begins in it is a whole PEM certificate".to_owned())
        }
        Ok(found) => Ok(found),
        Err(error) => Err(format!("a PEM certificate in it is broken ({error})")),
    }
}

/// The first certificate in `pem`.
pub(crate) fn certificate_of(pem: &str) -> Result<CertificateDer<'static>, String> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| format!("no PEM certificate in it ({error})"))
}

#[cfg(test)]
mod tests;
