//! What we read from a certificate, and what a node's certificate must be beside well signed.
//!
//! In flow DER bytes that somebody chose, out flow [`Facts`] or one line that says what is wrong. Which CA signed it is
//! not looked at here (`verify`).

use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::OID_SIG_ED25519;

use super::{CertError, NAME_CHARS_MAX, SERVER_NAME, Serial};

/// What we read from a certificate.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The common name, escaped: a peer chooses it, and it goes into logs.
    pub(crate) name: String,
    /// The public key with its algorithm, as DER.
    pub(crate) spki: Vec<u8>,
    pub(crate) serial: Serial,
    pub(crate) is_ca: bool,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    validity: (String, String),
    /// 1 to 3, as people count.
    version: u32,
    is_ed25519: bool,
    /// For TLS clients, for TLS servers; false where nothing is said.
    purposes: (bool, bool),
    is_named: bool,
}

impl Facts {
    /// Parses `certificate`; the error says in words what is wrong.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Result<Self, String> {
        let (rest, parsed) = x509_parser::parse_x509_certificate(certificate)
            .map_err(|error| format!("not an X.509 certificate ({error})"))?;
        if !rest.is_empty() {
            return Err(format!("{} bytes follow the certificate", rest.len()));
        }
        let name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let validity = parsed.validity();
        Ok(Self {
            name: name
                .unwrap_or_default()
                .chars()
                .take(NAME_CHARS_MAX)
                .flat_map(char::escape_debug)
                .collect(),
            spki: parsed.public_key().raw.to_vec(),
            serial: Serial::of(parsed.raw_serial()),
            is_ca: parsed.is_ca(),
            not_before: system_time(validity.not_before.timestamp()),
            not_after: system_time(validity.not_after.timestamp()),
            validity: (validity.not_before.to_string(), validity.not_after.to_string()),
            version: parsed.version().0.saturating_add(1),
            is_ed25519: parsed.public_key().algorithm.algorithm == OID_SIG_ED25519,
            purposes: purposes(&parsed),
            is_named: is_named(&parsed),
        })
    }

    pub(crate) fn check_now(&self, what: &'static str) -> Result<(), CertError> {
        if self.is_valid_now() {
            return Ok(());
        }
        let (not_before, not_after) = self.validity.clone();
        Err(CertError::NotNow { what, not_before, not_after })
    }

    pub(crate) fn is_valid_now(&self) -> bool {
        let now = SystemTime::now();
        self.not_before <= now && now <= self.not_after
    }

    pub(crate) fn check_key(&self) -> Result<(), String> {
        if self.is_ed25519 { Ok(()) } else { Err("its key is not an Ed25519 key".to_owned()) }
    }

    /// The rules for a node's certificate that X.509 leaves open: one certificate serves both directions, so it must be
    /// good for both, whoever dials.
    pub(crate) fn check_node(&self) -> Result<(), String> {
        if self.version != 3 {
            return Err(format!("it is an X.509 certificate of version {}, not 3", self.version));
        }
        if self.is_ca {
            return Err("it is the certificate of a CA and not of a node".to_owned());
        }
        self.check_key()?;
        match self.purposes {
            (true, true) => {}
            (true, false) => return Err("it is for clients only; a node's is for servers too".to_owned()),
            (false, true) => return Err("it is for servers only; a node's is for clients too".to_owned()),
            (false, false) => {
                return Err("it does not say that it is for clients and servers of TLS".to_owned());
            }
        }
        if !self.is_named {
            return Err(format!("it is not for the name {SERVER_NAME}"));
        }
        Ok(())
    }
}

fn purposes(parsed: &X509Certificate<'_>) -> (bool, bool) {
    match parsed.extended_key_usage() {
        Ok(Some(usage)) => (usage.value.client_auth, usage.value.server_auth),
        Ok(None) | Err(_) => (false, false),
    }
}

fn is_named(parsed: &X509Certificate<'_>) -> bool {
    let is_ours = |name: &GeneralName<'_>| matches!(name, GeneralName::DNSName(name) if *name == SERVER_NAME);
    match parsed.subject_alternative_name() {
        Ok(Some(names)) => names.value.general_names.iter().any(is_ours),
        Ok(None) | Err(_) => false,
    }
}

/// Seconds since 1970 as a time; before 1970 is 1970, beyond what the platform can hold is too.
fn system_time(seconds: i64) -> SystemTime {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}
