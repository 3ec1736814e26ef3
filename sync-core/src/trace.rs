//! W3C trace context: what ties the log lines of several nodes to the one request that caused them.
//!
//! The core carries it and reads nothing from it: it comes in by [`crate::node::Node::set_trace`], goes to peers in
//! [`crate::message::Hello`], and comes out there as [`crate::node::Event::Traced`]. `docs/tracing.md` has the whole way.

use std::fmt;
use std::str::FromStr;

/// Bytes of a trace context as text: `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`.
pub const TRACE_BYTES: usize = 55;

/// A `traceparent` of version 00, the only one there is: lower-case hex, and neither id is all zeros.
///
/// ```
/// use sync_core::trace::TraceContext;
/// let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let trace: TraceContext = text.parse()?;
/// assert_eq!((trace.to_string().as_str(), trace.trace_id().len()), (text, 32));
/// assert!(text.to_uppercase().parse::<TraceContext>().is_err());
/// # Ok::<(), sync_core::trace::TraceError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceContext {
    trace: [u8; 16],
    span: [u8; 8],
    flags: u8,
}

/// Caller or peer: the text is no `traceparent` of version 00.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no trace context: a traceparent is 00-<32>-<16>-<2 lower-case hex digits>, and no id is all zeros")]
pub struct TraceError;

impl TraceContext {
    /// The id of the whole trace, in hex.
    pub fn trace_id(&self) -> String {
        crate::rows::hex(&self.trace)
    }

    /// The id of the span that caused what follows, in hex.
    pub fn span_id(&self) -> String {
        crate::rows::hex(&self.span)
    }

    /// The same trace, as it goes on below the span `id`; as it is if `id` is all zeros, which names none.
    #[must_use]
    pub fn below(self, id: [u8; 8]) -> Self {
        if id == [0; 8] { self } else { Self { span: id, ..self } }
    }

    /// Reads the text.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn from_bytes(text: &[u8]) -> Result<Self, TraceError> {
        let text: &[u8; TRACE_BYTES] = text.try_into().map_err(|_| TraceError)?;
        if !(text.starts_with(b"00-") && text[35] == b'-' && text[52] == b'-') {
            return Err(TraceError);
        }
        let (mut trace, mut span, mut flags) = ([0; 16], [0; 8], [0; 1]);
        read_hex(&text[3..35], &mut trace)?;
        read_hex(&text[36..52], &mut span)?;
        read_hex(&text[53..55], &mut flags)?;
        if trace == [0; 16] || span == [0; 8] {
            return Err(TraceError);
        }
        Ok(Self { trace, span, flags: flags[0] })
    }
}

fn read_hex(digits: &[u8], bytes: &mut [u8]) -> Result<(), TraceError> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(TraceError),
    };
    for (pair, byte) in digits.chunks_exact(2).zip(bytes) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(())
}

impl FromStr for TraceContext {
    type Err = TraceError;

    fn from_str(text: &str) -> Result<Self, TraceError> {
        Self::from_bytes(text.as_bytes())
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace_id(), self.span_id(), self.flags)
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_longer_altered_in_case_or_of_another_version_is_no_trace_context() {
        let sound = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(sound.parse::<TraceContext>().map(|trace| trace.to_string()), Ok(sound.to_owned()));
        (0..sound.len()).for_each(|len| assert!(sound[..len].parse::<TraceContext>().is_err(), "{len}"));
        for text in [
            format!("{sound}0"),
            sound.to_uppercase(),
            sound.replacen("00-", "01-", 1),
            sound.replacen("00-", "ff-", 1),
            sound.replacen('-', "_", 1),
            sound.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            sound.replace("00f067aa0ba902b7", &"0".repeat(16)),
            "é".repeat(27) + "a",
        ] {
            assert_eq!(text.parse::<TraceContext>(), Err(TraceError), "{text}");
        }
    }
}
