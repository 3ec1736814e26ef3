//! The folders of certificates and keys, with other bytes in their files.
//!
//! An input is the files, each a varint length and its bytes; a file that is DER, not PEM, is put into PEM first, so
//! that the text around it hides nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sync_core::codec::{Reader, Writer};
use sync_net::{ClusterCa, Identity};

use super::{Run, Target};
use crate::judge::Seen;
use crate::mutate::Form;

pub(crate) const IDENTITY: Target = Target {
    name: "identity",
    form: Form::Binary,

    corpus: || {
        corpus(&["ca.pem", "node.pem", "node.key"], |ca, folder| {
            ca.issue("node").expect("it can").save(folder)
        })
    },
    begin: || begin(&["ca.pem", "node.pem", "node.key"], |folder| Identity::load(folder).map(drop)),
};

pub(crate) const AUTHORITY: Target = Target {
    name: "authority",
    form: Form::Binary,

    corpus: || corpus(&["ca.pem", "ca.key"], |ca, folder| ca.save(folder)),
    begin: || begin(&["ca.pem", "ca.key"], |folder| ClusterCa::load(folder).map(drop)),
};

type CertResult = Result<(), sync_net::CertError>;

const FILE_BYTES_MAX: usize = 1 << 20;

fn corpus(files: &[&str], save: fn(&ClusterCa, &Path) -> CertResult) -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let folder = folder.path().join("certs");
    let ca = ClusterCa::create("fuzz").expect("a CA can be made");
    save(&ca, &folder).expect("there is room");
    let texts: Vec<String> =
        files.iter().map(|name| fs::read_to_string(folder.join(name)).expect("it was written")).collect();
    let (mut as_text, mut as_der) = (Writer::default(), Writer::default());
    for text in &texts {
        as_text.bytes(text.as_bytes());
        as_der.bytes(&der_of(text));
    }
    vec![as_text.finish(), as_der.finish()]
}

fn begin(files: &'static [&'static str], load: fn(&Path) -> CertResult) -> Run {
    let folder = tempfile::tempdir().expect("a folder can be made");
    Box::new(move |input| {
        let mut input = Reader::new(input);
        for name in files {
            let bytes = input.bytes("file", FILE_BYTES_MAX).unwrap_or_default();
            let path = folder.path().join(name);
            let label = if name.ends_with("key") { "PRIVATE KEY" } else { "CERTIFICATE" };
            let text = if bytes.first() == Some(&0x30) { pem_of(label, bytes) } else { bytes.to_vec() };
            let written = fs::write(&path, text)
                .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)));
            written.map_err(|error| error.to_string())?;
        }
        match load(folder.path()) {
            Err(error) => Seen::refused(&error),
            Ok(()) => Ok(Seen::read("a folder", 0)),
        }
    })
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn der_of(pem: &str) -> Vec<u8> {
    let body = pem.lines().filter(|line| !line.starts_with('-')).flat_map(str::bytes);
    let sextets: Vec<u32> = body
        .filter_map(|byte| ALPHABET.iter().position(|letter| *letter == byte))
        .map(|at| u32::try_from(at).expect("there are 64"))
        .collect();
    let mut der = Vec::new();
    for four in sextets.chunks(4) {
        let word = (0..4).fold(0, |word, at| word << 6 | four.get(at).copied().unwrap_or(0));
        der.extend_from_slice(&word.to_be_bytes()[1..four.len()]);
    }
    der
}

fn pem_of(label: &str, der: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for three in der.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        let letter =
            |at: usize| if at > three.len() { b'=' } else { ALPHABET[(word >> (18 - 6 * at) & 63) as usize] };
        body.extend((0..4).map(letter));
    }
    let mut text = format!("-----BEGIN {label}-----\n").into_bytes();
    for line in body.chunks(64) {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    text.extend_from_slice(format!("-----END {label}-----\n").as_bytes());
    text
}
