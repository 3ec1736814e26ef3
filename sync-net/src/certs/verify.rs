//! Which certificates this node accepts, whoever dials, and in words why not.
//!
//! webpki checks what X.509 says (issuer, signature, validity, constraints); then come our own rules, the same for both
//! directions: one certificate, an Ed25519 key, for clients and servers, not revoked. Both TLS configurations use one
//! [`Verifier`], and live links are looked at with it again when the trust changes.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{Facts, Revoked};
use crate::identity::{node_id_of, provider};

/// The list in force, replaced whole.
pub(crate) type InForce = Arc<RwLock<Arc<Revoked>>>;

/// The list in force now.
pub(crate) fn now(revoked: &InForce) -> Arc<Revoked> {
    Arc::clone(&revoked.read().unwrap_or_else(PoisonError::into_inner))
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Verifier {
    server: Arc<WebPkiServerVerifier>,
    client: Arc<dyn ClientCertVerifier>,
    revoked: InForce,
}

impl Verifier {
    /// Accepts certificates of the CAs in `roots`; the error is the library's.
    pub(crate) fn new(roots: Arc<RootCertStore>, revoked: InForce) -> Result<Arc<Self>, String> {
        let server = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider()).build();
        let client = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
        Ok(Arc::new(Self {
            server: server.map_err(|error| error.to_string())?,
            client: client.map_err(|error| error.to_string())?,
            revoked,
        }))
    }

    /// Looks at the certificate of a live link again, as a handshake would now.
    pub(crate) fn look_again(&self, leaf: &CertificateDer<'_>) -> Result<(), String> {
        let looked = self.look(leaf, &[], |leaf| self.client.verify_client_cert(leaf, &[], UnixTime::now()));
        looked.map(drop).map_err(|error| unfit_in(&error.to_string()))
    }

    fn look<T>(
        &self,
        leaf: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        by_x509: impl FnOnce(&CertificateDer<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if !more.is_empty() {
            return Err(unfit(format!("{} certificates were shown, a node shows one", 1 + more.len())));
        }
        let verified = by_x509(leaf).map_err(|error| explain(error, leaf))?;
        let facts = Facts::of(leaf).map_err(unfit)?;
        facts.check_node().map_err(unfit)?;
        match now(&self.revoked).why(&node_id_of(&facts), &facts.serial) {
            Some(why) => Err(unfit(why.to_owned())),
            None => Ok(verified),
        }
    }
}

/// What is wrong with a certificate, in words that reach both sides.
struct Unfit(String);

impl fmt::Debug for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unfit {}

fn unfit(why: String) -> Error {
    CertificateError::Other(OtherError(Arc::new(Unfit(why)))).into()
}

/// The words of an [`Unfit`] in what rustls makes of it.
pub(crate) fn unfit_in(text: &str) -> String {
    let text = text.strip_prefix("invalid peer certificate: ").unwrap_or(text);
    let inner = text.strip_prefix("Other(OtherError(").and_then(|text| text.strip_suffix("))"));
    inner.unwrap_or(text).to_owned()
}

/// An error of webpki in words, but for those that have a TLS alert of their own which says it all.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library may add some, and they are told in its words"
)]
fn explain(error: Error, leaf: &CertificateDer<'_>) -> Error {
    let Error::InvalidCertificate(wrong) = error else { return error };
    let facts = Facts::of(leaf);
    let own_rule = || facts.as_ref().ok().and_then(|facts| facts.check_node().err());
    let why = match &wrong {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. }
        | CertificateError::UnknownIssuer => return wrong.into(),
        CertificateError::BadEncoding => match &facts {
            Err(why) => format!("it is {why}"),
            Ok(facts) => facts
                .check_node()
                .err()
                .unwrap_or_else(|| "its encoding is not that of an X.509 certificate".to_owned()),
        },
        CertificateError::BadSignature => {
            "its signature is not that of the CA that it names: it was altered".to_owned()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "it is signed by another algorithm than Ed25519".to_owned()
        }
        other => match other.to_string() {
            text if text.contains("NameConstraintViolation") => {
                "it has a name that its CA may not sign".to_owned()
            }
            text if text.contains("CriticalExtension") => {
                "it has a critical extension that is not known here".to_owned()
            }
            text => own_rule().unwrap_or_else(|| format!("it breaks a rule of X.509: {}", unfit_in(&text))),
        },
    };
    unfit(why)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.look(end_entity, intermediates, |leaf| {
            self.server.verify_server_cert(leaf, &[], server_name, ocsp_response, now)
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.server.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.server.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.server.supported_verify_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.client.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.look(end_entity, intermediates, |leaf| self.client.verify_client_cert(leaf, &[], now))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.client.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.client.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.client.supported_verify_schemes()
    }
}
