//! Certificate and key files: read with a size limit, written once, keys for their owner only.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use rustls_pki_types::CertificateDer;

use super::CertError;

/// Longest file that is read, in bytes. Ours have below 1 KiB; longer is refused as not ours.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Makes `dir` and its parents.
pub(crate) fn create_dir(dir: &Path) -> Result<(), CertError> {
    std::fs::create_dir_all(dir).map_err(failed("create", dir))
}

/// An error if any of `paths` is there, before the first of them is written.
pub(crate) fn refuse_existing(paths: &[&Path]) -> Result<(), CertError> {
    match paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        Some(path) => Err(CertError::Exists { path: path.to_path_buf() }),
        None => Ok(()),
    }
}

/// Writes a file that is not there yet. It has `mode` from its first moment, so a key is never readable.
pub(crate) fn write_new(path: &Path, mode: u32, text: &str) -> Result<(), CertError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let written = options.open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            CertError::Exists { path: path.to_path_buf() }
        } else {
            CertError::Io { action: "write", path: path.to_path_buf(), error }
        }
    })
}

/// Puts `text` in the place of the file at `path`, if there is one, in one step: a reader sees the old text or the new.
pub(crate) fn replace(path: &Path, mode: u32, text: &str) -> Result<(), CertError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let fresh = path.with_file_name(name);
    // One that is left over is of a process that died here.
    let _ = std::fs::remove_file(&fresh);
    write_new(&fresh, mode, text)?;
    std::fs::rename(&fresh, path).map_err(failed("replace", path))
}

/// The text of a PEM file and the first certificate in it.
pub(crate) fn read_certificate(path: &Path) -> Result<(String, CertificateDer<'static>), CertError> {
    let text = read_text(open(path)?, path, FILE_BYTES_MAX)?;
    let certificate =
        super::certificate_of(&text).map_err(|why| CertError::Malformed { path: path.to_path_buf(), why })?;
    Ok((text, certificate))
}

/// The text of a key file that only its owner can read.
pub(crate) fn read_key(path: &Path) -> Result<String, CertError> {
    let file = open(path)?;
    // Asked of the open file and not of the path, which may be another file a moment later.
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let mode = file.metadata().map_err(failed("read", path))?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(CertError::KeyReadable { path: path.to_path_buf(), mode });
        }
    }
    read_text(file, path, FILE_BYTES_MAX)
}

fn open(path: &Path) -> Result<File, CertError> {
    File::open(path).map_err(failed("read", path))
}

/// The text of a file of at most `bytes_max` bytes.
pub(crate) fn read_text(file: File, path: &Path, bytes_max: u64) -> Result<String, CertError> {
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed("read", path))?;
    let malformed = |why: String| CertError::Malformed { path: path.to_path_buf(), why };
    if bytes.len() as u64 > bytes_max {
        return Err(malformed(format!("it is longer than {bytes_max} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| malformed("it is not text".to_owned()))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CertError {
    let path = path.to_path_buf();
    move |error| CertError::Io { action, path, error }
}
