//! Who a node is: its key, the certificate that its cluster CA signed, and that CA's certificate.
//!
//! In flow three PEM files (or the texts, from [`ClusterCa::issue`](crate::certs::ClusterCa::issue)); out
//! flows an [`Identity`] that has been checked whole: the key fits the certificate, the CA signed it, and
//! it is valid now. So what starts with it can only fail for reasons of the network.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use sync_core::id::NodeId;

use crate::certs::{self, CertError, Facts, InForce, SERVER_NAME, Serial, Verifier};

/// Names of the files of one node.
const CA_FILE: &str = "ca.pem";
pub(crate) const CERTIFICATE_FILE: &str = "node.pem";
const KEY_FILE: &str = "node.key";

/// A node's certificate and key, and the CAs whose certificates it accepts: one, or for the time in which a cluster
/// moves from one CA to the next, both.
///
/// Cheap to clone. `Debug` does not show the key.
#[derive(Clone)]
pub struct Identity(Arc<Parts>);

struct Parts {
    ca_pem: String,
    leaf_pem: String,
    key_pem: String,
    /// Those that are valid, at least one.
    cas: Vec<CertificateDer<'static>>,
    leaf: CertificateDer<'static>,
    id: NodeId,
    facts: Facts,
}

impl Identity {
    /// Names of the files of one node.
    pub(crate) const FILES: [&str; 3] = [CA_FILE, CERTIFICATE_FILE, KEY_FILE];

    /// True if both show the same certificate and accept the same CAs.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (&self.0.cas, &self.0.leaf) == (&other.0.cas, &other.0.leaf)
    }

    /// Reads `ca.pem`, `node.pem` and `node.key` from `dir` and checks that they fit and are valid now.
    ///
    /// # Errors
    ///
    /// [`CertError::KeyReadable`] if group or others may read the key; [`CertError::Mismatch`],
    /// [`CertError::NotNow`], [`CertError::Malformed`] and [`CertError::Io`] as their texts say.
    pub fn load(dir: &Path) -> Result<Self, CertError> {
        let (ca_pem, _) = certs::read_certificate(&dir.join(CA_FILE))?;
        let (leaf_pem, _) = certs::read_certificate(&dir.join(CERTIFICATE_FILE))?;
        let key_pem = certs::read_key(&dir.join(KEY_FILE))?;
        Self::from_pem(&ca_pem, &leaf_pem, &key_pem).map_err(|error| in_dir(dir, error))
    }

    /// Writes the three files into `dir`, which is made if need be; `node.key` with mode 0600.
    ///
    /// # Errors
    ///
    /// [`CertError::Exists`] if one of them is there already, [`CertError::Io`] if writing fails.
    pub fn save(&self, dir: &Path) -> Result<(), CertError> {
        let (ca, leaf, key) = (dir.join(CA_FILE), dir.join(CERTIFICATE_FILE), dir.join(KEY_FILE));
        certs::create_dir(dir)?;
        certs::refuse_existing(&[&ca, &leaf, &key])?;
        certs::write_new(&key, 0o600, &self.0.key_pem)?;
        certs::write_new(&leaf, 0o644, &self.0.leaf_pem)?;
        certs::write_new(&ca, 0o644, &self.0.ca_pem)
    }

    /// The node's id: the BLAKE3 hash of its public key (the certificate's SubjectPublicKeyInfo, DER).
    pub fn node_id(&self) -> NodeId {
        self.0.id
    }

    /// The name in the certificate, for people.
    pub fn name(&self) -> &str {
        &self.0.facts.name
    }

    /// The certificate, as PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.0.leaf_pem
    }

    /// The number of the certificate: a renewed one has another.
    pub fn serial(&self) -> &Serial {
        &self.0.facts.serial
    }

    /// The last moment at which the certificate is valid; links to this node close then.
    pub fn not_after(&self) -> SystemTime {
        self.0.facts.not_after
    }

    /// Checks the parts and puts them together.
    pub(crate) fn from_pem(ca_pem: &str, leaf_pem: &str, key_pem: &str) -> Result<Self, CertError> {
        let malformed = |file: &str| {
            let path = file.into();
            move |why| CertError::Malformed { path, why }
        };
        let cas = certs::certificates_of(ca_pem).map_err(malformed(CA_FILE))?;
        let leaf = certs::certificate_of(leaf_pem).map_err(malformed(CERTIFICATE_FILE))?;
        let facts = Facts::of(&leaf).map_err(malformed(CERTIFICATE_FILE))?;
        let cas = valid_now(cas).map_err(|error| match error {
            Ok(error) => error,
            Err(why) => malformed(CA_FILE)(why),
        })?;
        facts.check_now("the node's certificate")?;
        check_chain(&cas, &leaf)?;
        let id = node_id_of(&facts);
        let parts = Parts {
            ca_pem: ca_pem.to_owned(),
            leaf_pem: leaf_pem.to_owned(),
            key_pem: key_pem.to_owned(),
            cas,
            leaf,
            id,
            facts,
        };
        let identity = Self(Arc::new(parts));
        CertifiedKey::from_der(identity.chain(), identity.key()?, &provider()).map_err(|error| {
            CertError::Mismatch { why: format!("{KEY_FILE} is not the key of {CERTIFICATE_FILE} ({error})") }
        })?;
        Ok(identity)
    }

    /// What a peer is shown: the node's certificate alone, since the peer has the CA's.
    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.0.leaf.clone()]
    }

    /// The private key.
    pub(crate) fn key(&self) -> Result<PrivateKeyDer<'static>, CertError> {
        PrivateKeyDer::from_pem_slice(self.0.key_pem.as_bytes()).map_err(|error| CertError::Malformed {
            path: KEY_FILE.into(),
            why: format!("no PEM private key in it ({error})"),
        })
    }

    /// The trust anchors.
    pub(crate) fn roots(&self) -> Result<Arc<RootCertStore>, CertError> {
        roots_of(&self.0.cas)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("id", &self.0.id)
            .field("name", &self.0.facts.name)
            .field("not_after", &self.0.facts.not_after)
            .finish_non_exhaustive()
    }
}

/// The id of the node that holds the key of this certificate.
pub(crate) fn node_id_of(facts: &Facts) -> NodeId {
    NodeId(*blake3::hash(&facts.spki).as_bytes())
}

/// The cryptography that all TLS of this crate uses; never the process-wide default, which belongs to the
/// application. Of signatures it knows Ed25519 alone.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    let mapping = provider.signature_verification_algorithms.mapping;
    let at = mapping.iter().position(|(scheme, _)| *scheme == SignatureScheme::ED25519);
    let at = at.expect("ring verifies Ed25519");
    provider.signature_verification_algorithms =
        WebPkiSupportedAlgorithms { all: mapping[at].1, mapping: &mapping[at..=at] };
    Arc::new(provider)
}

/// Of several CAs those that are valid now; an error if none is. A bundle outlives the older of its CAs.
fn valid_now(
    cas: Vec<CertificateDer<'static>>,
) -> Result<Vec<CertificateDer<'static>>, Result<CertError, String>> {
    let mut valid = Vec::new();
    let mut over = None;
    for ca in cas {
        let facts = Facts::of(&ca).map_err(Err)?;
        match facts.check_now("the cluster CA") {
            Ok(()) => valid.push(ca),
            Err(error) => over = Some(error),
        }
    }
    match over {
        Some(over) if valid.is_empty() => Err(Ok(over)),
        Some(_) | None => Ok(valid),
    }
}

fn roots_of(cas: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, CertError> {
    let mut roots = RootCertStore::empty();
    for ca in cas {
        roots
            .add(ca.clone())
            .map_err(|error| CertError::Malformed { path: CA_FILE.into(), why: error.to_string() })?;
    }
    Ok(Arc::new(roots))
}

/// Checks the certificate exactly as a peer will.
fn check_chain(cas: &[CertificateDer<'static>], leaf: &CertificateDer<'static>) -> Result<(), CertError> {
    let mismatch = |why: &str| CertError::Mismatch {
        why: format!("{CA_FILE} does not vouch for {CERTIFICATE_FILE} ({why})"),
    };
    let verifier = Verifier::new(roots_of(cas)?, InForce::default()).map_err(|why| mismatch(&why))?;
    let name = ServerName::try_from(SERVER_NAME).expect("a constant that is a DNS name");
    verifier
        .verify_server_cert(leaf, &[], &name, &[], UnixTime::now())
        .map_err(|error| mismatch(&certs::unfit_in(&error.to_string())))
        .map(drop)
}

/// The same error with the directory before the file's name.
fn in_dir(dir: &Path, error: CertError) -> CertError {
    match error {
        CertError::Malformed { path, why } => CertError::Malformed { path: dir.join(path), why },
        CertError::Mismatch { why } => CertError::Mismatch { why: format!("in {}: {why}", dir.display()) },
        CertError::Name { .. }
        | CertError::Exists { .. }
        | CertError::KeyReadable { .. }
        | CertError::Io { .. }
        | CertError::NotNow { .. }
        | CertError::Make { .. } => error,
    }
}
