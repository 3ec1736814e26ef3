//! Who a node is: its key, the certificate that its cluster CA signed, and that CA's certificate.
//!
//! In flow three PEM files (or the texts, from [`ClusterCa::issue`](crate::certs::ClusterCa::issue)); out
//! flows an [`Identity`] that has been checked whole: the key fits the certificate, the CA signed it, and
//! it is valid now. So what starts with it can only fail for reasons of the network.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use sync_core::id::NodeId;

use crate::certs::{self, CertError, Facts, SERVER_NAME};

/// Names of the files of one node.
const CA_FILE: &str = "ca.pem";
const CERTIFICATE_FILE: &str = "node.pem";
const KEY_FILE: &str = "node.key";

/// A node's certificate and key, and the CA whose certificates it accepts.
///
/// Cheap to clone. `Debug` does not show the key.
#[derive(Clone)]
pub struct Identity(Arc<Parts>);

struct Parts {
    ca_pem: String,
    leaf_pem: String,
    key_pem: String,
    ca: CertificateDer<'static>,
    leaf: CertificateDer<'static>,
    id: NodeId,
    facts: Facts,
}

impl Identity {
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
        let ca = certs::certificate_of(ca_pem).map_err(malformed(CA_FILE))?;
        let leaf = certs::certificate_of(leaf_pem).map_err(malformed(CERTIFICATE_FILE))?;
        let facts = Facts::of(&leaf).map_err(malformed(CERTIFICATE_FILE))?;
        Facts::of(&ca).map_err(malformed(CA_FILE))?.check_now("the cluster CA")?;
        facts.check_now("the node's certificate")?;
        check_chain(&ca, &leaf)?;
        let id = node_id_of(&facts);
        let parts = Parts {
            ca_pem: ca_pem.to_owned(),
            leaf_pem: leaf_pem.to_owned(),
            key_pem: key_pem.to_owned(),
            ca,
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

    /// The one trust anchor.
    pub(crate) fn roots(&self) -> Result<Arc<RootCertStore>, CertError> {
        roots_of(&self.0.ca)
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
/// application.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots_of(ca: &CertificateDer<'static>) -> Result<Arc<RootCertStore>, CertError> {
    let mut roots = RootCertStore::empty();
    roots
        .add(ca.clone())
        .map_err(|error| CertError::Malformed { path: CA_FILE.into(), why: error.to_string() })?;
    Ok(Arc::new(roots))
}

/// Checks the certificate exactly as a peer will.
fn check_chain(ca: &CertificateDer<'static>, leaf: &CertificateDer<'static>) -> Result<(), CertError> {
    let mismatch = |error: &dyn fmt::Display| CertError::Mismatch {
        why: format!("{CA_FILE} does not vouch for {CERTIFICATE_FILE} ({error})"),
    };
    let verifier = WebPkiServerVerifier::builder_with_provider(roots_of(ca)?, provider())
        .build()
        .map_err(|error| mismatch(&error))?;
    let name = ServerName::try_from(SERVER_NAME).expect("a constant that is a DNS name");
    verifier
        .verify_server_cert(leaf, &[], &name, &[], UnixTime::now())
        .map_err(|error| mismatch(&error))
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
