//! One connection to a node's socket, for load that a process a command would be too slow for.

use std::io::{BufRead as _, BufReader, Error, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;

/// Longest wait for an answer: a step to a slow disk, and more.
const ANSWER_TIME: Duration = Duration::from_secs(20);

/// A connection that asks one thing after the other.
pub(crate) struct Http {
    stream: BufReader<UnixStream>,
}

impl Http {
    pub(crate) fn connect(socket: &str) -> std::io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(ANSWER_TIME))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    pub(crate) fn get(&mut self, path: &str) -> std::io::Result<Value> {
        match self.ask(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"))? {
            (200, value) => Ok(value),
            (status, value) => Err(Error::other(format!("{path}: {status} {value}"))),
        }
    }

    /// The status and the answer of a write of this durability.
    pub(crate) fn post(&mut self, path: &str, level: &str, body: &Value) -> std::io::Result<(u16, Value)> {
        let body = body.to_string();
        self.ask(&format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nsync-durability: {level}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    fn ask(&mut self, request: &str) -> std::io::Result<(u16, Value)> {
        self.stream.get_mut().write_all(request.as_bytes())?;
        let malformed = || Error::new(ErrorKind::InvalidData, "the answer is no HTTP");
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        if line.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(malformed)?;
        let mut len = 0;
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let Some((name, value)) = line.split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                len = value.trim().parse().map_err(|_| malformed())?;
            }
        }
        let mut body = vec![0; len];
        self.stream.read_exact(&mut body)?;
        Ok((status, serde_json::from_slice(&body).map_err(|_| malformed())?))
    }
}
