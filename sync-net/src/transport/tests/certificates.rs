//! Bad certificates, each refused for its own reason: shown to us by a dialler, and by who answers when we dial.
//!
//! rcgen makes most of them; what it refuses to make is DER that was edited by hand.

use std::sync::Arc;
use std::time::SystemTime;

use quinn::crypto::rustls::QuicServerConfig;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose as Purpose, IsCa,
    Issuer, KeyPair, PublicKeyData, SerialNumber, SigningKey as _,
};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::trust::Stranger;
use super::*;
use crate::certs::{Revoked, SERVER_NAME, Serial};
use crate::identity::provider;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A key that signs with Ed25519 whatever the certificate says.
#[derive(Debug)]
struct Stubborn(Arc<dyn SigningKey>);

impl SigningKey for Stubborn {
    fn choose_scheme(&self, _offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        self.0.choose_scheme(&[SignatureScheme::ED25519])
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

fn stubborn(key: &KeyPair) -> Arc<dyn SigningKey> {
    let der = PrivatePkcs8KeyDer::from(key.serialize_der());
    Arc::new(Stubborn(rustls::crypto::ring::sign::any_eddsa_type(&der).unwrap()))
}

/// What is shown, whatever was asked for.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl rustls::client::ResolvesClientCert for Shows {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl rustls::server::ResolvesServerCert for Shows {
    fn resolve(&self, _hello: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// One bad certificate.
struct Bad {
    what: &'static str,
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
    revoked: Revoked,
    /// In the reason that this node gives.
    reason: &'static str,
}

/// A node's certificate as it should be, for `edit`.
fn params() -> CertificateParams {
    let mut params = CertificateParams::new(vec![SERVER_NAME.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "bad");
    params.extended_key_usages = vec![Purpose::ClientAuth, Purpose::ServerAuth];
    let now = SystemTime::now();
    (params.not_before, params.not_after) = ((now - DAY).into(), (now + DAY).into());
    params.serial_number = Some(SerialNumber::from_slice(&[0x5f, 1, 2]));
    params
}

/// A public key of another kind, of which nobody has the private one.
struct Foreign(&'static rcgen::SignatureAlgorithm, Vec<u8>);

impl PublicKeyData for Foreign {
    fn der_bytes(&self) -> &[u8] {
        &self.1
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.0
    }
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let len = content.len();
    let mut out = vec![tag];
    match len {
        0..=0x7f => out.push(u8::try_from(len).unwrap()),
        _ => {
            out.push(0x82);
            out.extend_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        }
    }
    out.extend(content);
    out
}

/// `good` as version 1 had it: without extensions, and signed again.
fn version_1(good: &CertificateDer<'_>, issuer: &Issuer<'_, KeyPair>) -> CertificateDer<'static> {
    const ED25519: &[u8] = &[0x30, 5, 6, 3, 0x2b, 0x65, 0x70];
    let (_, parsed) = x509_parser::parse_x509_certificate(good).unwrap();
    let tbs = &parsed.tbs_certificate;
    let serial = der(2, &[tbs.raw_serial()]);
    let validity = der(0x30, &[&der(0x17, &[b"200101000000Z"]), &der(0x17, &[b"491231235959Z"])]);
    let parts: [&[u8]; 6] =
        [&serial, ED25519, tbs.issuer.as_raw(), &validity, tbs.subject.as_raw(), tbs.subject_pki.raw];
    let tbs = der(0x30, &parts);
    let signature = der(3, &[&[0], &issuer.key().sign(&tbs).unwrap()]);
    CertificateDer::from(der(0x30, &[&tbs, ED25519, &signature]))
}

fn matrix(ca: &ClusterCa) -> Vec<Bad> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let other_key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let by_ca = |params: &CertificateParams| params.signed_by(&key, ca.issuer()).unwrap().der().clone();
    let edited = |edit: &dyn Fn(&mut CertificateParams)| {
        let mut params = params();
        edit(&mut params);
        by_ca(&params)
    };
    let good = edited(&|_| {});
    let ca_der = crate::certs::certificates_of(ca.certificate_pem()).unwrap().remove(0);
    let now = SystemTime::now();

    // A CA below ours, whose path length is 0.
    let sub_key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let mut sub = CertificateParams::default();
    sub.distinguished_name.push(DnType::CommonName, "sub");
    sub.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (sub.not_before, sub.not_after) = ((now - DAY).into(), (now + DAY).into());
    let sub_der = sub.signed_by(&sub_key, ca.issuer()).unwrap().der().clone();
    let below = params().signed_by(&key, &Issuer::new(sub, sub_key)).unwrap().der().clone();

    let rsa = der(0x30, &[&der(2, &[&[0], &[0xc5; 256]]), &der(2, &[&[1, 0, 1]])]);
    let rsa = params().signed_by(&Foreign(&rcgen::PKCS_RSA_SHA256, rsa), ca.issuer()).unwrap().der().clone();
    let ecdsa = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let ecdsa = params().signed_by(&ecdsa, ca.issuer()).unwrap().der().clone();

    let mut altered = good.to_vec();
    *altered.last_mut().unwrap() ^= 1;
    let mut longer = good.to_vec();
    longer.extend([0; 7]);

    let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 55555, 1], vec![5, 0]);
    extension.set_criticality(true);
    let foreign = ClusterCa::create("shop").unwrap();
    let strange = params().signed_by(&key, foreign.issuer()).unwrap().der().clone();
    let own = params().self_signed(&key).unwrap().der().clone();

    let mut revoked_id = Revoked::default();
    let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
    revoked_id.revoke_node(NodeId(*blake3::hash(&spki).as_bytes()));
    let mut revoked_serial = Revoked::default();
    revoked_serial.revoke_serial(Serial::of(&[0x5f, 1, 2]));

    let bad = |what, chain: &[&CertificateDer<'static>], reason| Bad {
        what,
        chain: chain.iter().map(|one| (*one).clone()).collect(),
        key: stubborn(&key),
        revoked: Revoked::default(),
        reason,
    };
    let foreign_ca = "is not from our cluster CA";
    vec![
        bad("expired", &[&edited(&|bad| bad.not_after = (now - DAY / 2).into())], "it has expired"),
        bad(
            "not yet valid",
            &[&edited(&|bad| bad.not_before = (now + DAY / 2).into())],
            "its time has not begun",
        ),
        bad("of another CA with our label", &[&strange], foreign_ca),
        bad("self-signed", &[&own], foreign_ca),
        bad(
            "for clients only",
            &[&edited(&|bad| bad.extended_key_usages = vec![Purpose::ClientAuth])],
            "it is for clients only",
        ),
        bad(
            "for servers only",
            &[&edited(&|bad| bad.extended_key_usages = vec![Purpose::ServerAuth])],
            "it is for servers only",
        ),
        bad(
            "for signing code",
            &[&edited(&|bad| bad.extended_key_usages = vec![Purpose::CodeSigning])],
            "it does not say that it is for clients and servers",
        ),
        bad(
            "for nothing in particular",
            &[&edited(&|bad| bad.extended_key_usages.clear())],
            "it does not say that it is for clients and servers",
        ),
        bad("of the CA itself", &[&ca_der], "it is the certificate of a CA"),
        bad(
            "of a CA below ours",
            &[&edited(&|bad| bad.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)))],
            "it is the certificate of a CA",
        ),
        bad("altered", &[&CertificateDer::from(altered)], "it was altered"),
        bad("with an RSA key", &[&rsa], "its key is not an Ed25519 key"),
        bad("with an ECDSA key", &[&ecdsa], "its key is not an Ed25519 key"),
        Bad { key: stubborn(&other_key), ..bad("of somebody else's key", &[&good], "does not hold the key") },
        Bad { revoked: revoked_id, ..bad("revoked by node id", &[&good], "it is revoked: its node id") },
        Bad { revoked: revoked_serial, ..bad("revoked by serial", &[&good], "it is revoked: its serial") },
        bad(
            "with a name that our CA may not sign",
            &[&edited(&|bad| {
                let names = vec![SERVER_NAME.to_owned(), "shop.example".to_owned()];
                bad.subject_alt_names = CertificateParams::new(names).unwrap().subject_alt_names;
            })],
            "a name that its CA may not sign",
        ),
        bad(
            "for another name",
            &[&edited(&|bad| {
                let names = vec!["other.sync.internal".to_owned()];
                bad.subject_alt_names = CertificateParams::new(names).unwrap().subject_alt_names;
            })],
            "it is not for the name node.sync.internal",
        ),
        bad("by a CA below ours, with its chain", &[&below, &sub_der], "2 certificates were shown"),
        bad("by a CA below ours, alone", &[&below], foreign_ca),
        bad(
            "at the end of a long chain",
            &[&good, &sub_der, &ca_der, &sub_der, &ca_der, &sub_der],
            "6 certificates were shown",
        ),
        bad(
            "with a critical extension",
            &[&edited(&|bad| bad.custom_extensions = vec![extension.clone()])],
            "a critical extension that is not known here",
        ),
        bad("garbage", &[&CertificateDer::from(vec![0xa5; 400])], "not an X.509 certificate"),
        bad("with bytes behind it", &[&CertificateDer::from(longer)], "7 bytes follow the certificate"),
        bad("of version 1", &[&version_1(&good, ca.issuer())], "version 1, not 3"),
        bad("an empty chain", &[], "shows no certificate"),
    ]
}

#[tokio::test]
async fn each_bad_certificate_of_a_dialler_is_refused_for_its_own_reason() {
    let ca = ClusterCa::create("shop").unwrap();
    let matrix = matrix(&ca);
    assert!(matrix.len() >= 20);
    let mut wrong = Vec::new();
    for Bad { what, chain, key, revoked, reason } in matrix {
        let mut strict = config(&ca.issue("a").unwrap(), &[]);
        strict.revoked = revoked;
        let mut a = Side::start(strict).await;
        let stranger = Stranger::showing(Arc::new(Shows(Arc::new(CertifiedKey::new(chain, key)))));
        stranger.refusal(a.transport.local_addr()).await;
        let said = a.refused().await;
        if !said.contains(reason) {
            wrong.push(format!("{what}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn each_bad_certificate_of_who_answers_is_refused_for_its_own_reason() {
    let ca = ClusterCa::create("shop").unwrap();
    let mut wrong = Vec::new();
    for Bad { what, chain, key, revoked, reason } in
        matrix(&ca).into_iter().filter(|bad| !bad.chain.is_empty())
    {
        let shows = Arc::new(Shows(Arc::new(CertifiedKey::new(chain, key))));
        let mut server = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(shows);
        server.alpn_protocols = vec![b"sync/1".to_vec()];
        let server = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server).unwrap()));
        let liar = quinn::Endpoint::server(server, ANY_PORT).unwrap();
        let addr = liar.local_addr().unwrap();
        let answering = tokio::spawn(async move {
            while let Some(incoming) = liar.accept().await {
                if let Ok(connecting) = incoming.accept() {
                    let _ = connecting.await;
                }
            }
        });
        let mut strict = config(&ca.issue("a").unwrap(), &[addr]);
        strict.revoked = revoked;
        let mut a = Side::start(strict).await;
        let said = a.dial_failed().await;
        let shown = a.transport.links()[0].failure.clone().unwrap_or_default();
        if !said.contains(reason) || !shown.contains(reason) {
            wrong.push(format!("{what}: {said}; the status says {shown}"));
        }
        answering.abort();
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
