//! Tokens: what a client carries from the node that took its write to another one that it reads from.
//!
//! A store is causally closed, so whoever knows the last event of a write knows the write and all that it had seen:
//! a token is that event, or a few of them, and the namespace. Its text is hex of
//!
//! ```text
//! version 1 (1), namespace (8), columns (varint, at most 64), then ascending: replica (16), sequence (varint)
//! ```

use std::fmt;
use std::str::FromStr;

use crate::causal::CausalContext;
use crate::codec::{Reader, Writer, read_seq};
use crate::error::FrameError;
use crate::id::{Dot, NamespaceId, ReplicaId};

/// Most replicas that a token names. Beyond it [`Token::join`] refuses: read after the token, and go on with the
/// token of the next write, which has seen all of it.
pub const TOKEN_REPLICAS_MAX: usize = 64;

const VERSION: u8 = 1;

/// Longest token in bytes: what [`Token::from_str`] looks at, twice as many digits.
const BYTES_MAX: usize = 1 + 8 + 1 + TOKEN_REPLICAS_MAX * (16 + 6);

/// Names writes, so that another node can wait until it has them.
///
/// ```
/// use sync_core::id::{Dot, NamespaceId, ReplicaId};
/// use sync_core::token::Token;
///
/// let namespace = NamespaceId::named("default");
/// let mut session = Token::of(namespace, Some(Dot::new(ReplicaId([1; 16]), 7)));
/// session.join(&Token::of(namespace, Some(Dot::new(ReplicaId([2; 16]), 3))))?;
/// let text = session.to_string();
/// assert_eq!(text.parse(), Ok(session));
/// # Ok::<(), sync_core::token::TokenError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    namespace: NamespaceId,
    context: CausalContext,
}

/// Why there is no such token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Caller: the text is no token.
    #[error("this is no token: {reason}; pass it on as it was given, letter by letter")]
    Text {
        /// What is wrong with it.
        reason: String,
    },
    /// Caller: two tokens of different namespaces cannot be one.
    #[error("a token of namespace {theirs:?} cannot join one of {ours:?}; keep a token for each")]
    Namespace {
        /// That of the token that was to be joined.
        theirs: NamespaceId,
        /// That of this token.
        ours: NamespaceId,
    },
    /// Limit reached: the token would name too many replicas. It is as it was.
    #[error("a token of {replicas} replicas exceeds the limit of {max}; wait for this one, then begin anew")]
    Replicas {
        /// How many it would name.
        replicas: usize,
        /// The limit.
        max: usize,
    },
}

impl Token {
    /// Of a write whose last event is `last`; `None` for one that minted nothing, which everyone has.
    pub fn of(namespace: NamespaceId, last: Option<Dot>) -> Self {
        let context = last.into_iter().map(|dot| (dot.replica, dot.seq)).collect();
        Self { namespace, context }
    }

    /// The namespace of the writes.
    pub fn namespace(&self) -> NamespaceId {
        self.namespace
    }

    /// The events: who knows them knows the writes.
    pub fn context(&self) -> &CausalContext {
        &self.context
    }

    /// True if it names no write: everyone has these.
    pub fn is_empty(&self) -> bool {
        self.context.is_empty()
    }

    /// Takes in what `other` names: a client's session is the sum of its writes.
    ///
    /// # Errors
    /// [`TokenError::Namespace`] or [`TokenError::Replicas`]; the token is as it was then.
    pub fn join(&mut self, other: &Self) -> Result<(), TokenError> {
        if self.namespace != other.namespace {
            return Err(TokenError::Namespace { theirs: other.namespace, ours: self.namespace });
        }
        let new = other.context.columns().filter(|(replica, _)| self.context.get(*replica) == 0).count();
        let (replicas, max) = (self.context.len() + new, TOKEN_REPLICAS_MAX);
        if replicas > max {
            return Err(TokenError::Replicas { replicas, max });
        }
        self.context.join(&other.context);
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut input = Reader::new(bytes);
        let version = input.byte("token version")?;
        if version != VERSION {
            return Err(FrameError::Field { field: "token version", value: u64::from(version) });
        }
        let namespace = NamespaceId(input.fixed("token namespace")?);
        let count = input.varint_max("token replicas", TOKEN_REPLICAS_MAX as u64)?;
        let mut context = CausalContext::default();
        let mut last = None;
        for _ in 0..count {
            let replica = ReplicaId(input.fixed("token replica")?);
            if last.replace(replica).is_some_and(|last| last >= replica) {
                return Err(FrameError::Order { field: "token replicas" });
            }
            context.advance(replica, read_seq("token sequence", &mut input)?);
        }
        input.finish()?;
        Ok(Self { namespace, context })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Writer::default();
        out.byte(VERSION);
        out.fixed(&self.namespace.0);
        out.count(self.context.len());
        for (replica, seq) in self.context.columns() {
            out.fixed(&replica.0);
            out.varint(seq);
        }
        out.finish().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let refuse = |reason: String| TokenError::Text { reason };
        if text.len() > 2 * BYTES_MAX {
            return Err(refuse(format!(
                "it has {} letters, at most {} are possible",
                text.len(),
                2 * BYTES_MAX
            )));
        }
        let digit = |letter: &u8| char::from(*letter).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let digits: Option<Vec<u8>> = text.as_bytes().iter().map(digit).collect();
        let digits = digits.filter(|digits| digits.len() % 2 == 0);
        let digits = digits.ok_or_else(|| refuse("it is not an even number of hex digits".to_owned()))?;
        let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| 16 * pair[0] + pair[1]).collect();
        Self::decode(&bytes).map_err(|error| refuse(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(replica: u8, seq: u64) -> Token {
        Token::of(NamespaceId::named("default"), Some(Dot::new(ReplicaId([replica; 16]), seq)))
    }

    #[test]
    fn what_is_cut_altered_or_too_long_is_no_token_and_harms_nobody() {
        let text = token(1, 300).to_string();
        for cut in 0..text.len() {
            assert!(text[..cut].parse::<Token>().is_err(), "{cut}");
        }
        for text in
            [format!("{text}00"), text.replacen('0', "x", 1), text.replacen("01", "02", 1), "é".repeat(9)]
        {
            assert!(text.parse::<Token>().is_err(), "{text}");
        }
        assert!("0".repeat(1 << 20).parse::<Token>().is_err());
    }

    #[test]
    fn the_longest_token_is_read_back_and_one_more_replica_is_refused() {
        let mut session = Token::of(NamespaceId::named("default"), None);
        assert!(session.is_empty());
        for replica in 0..64 {
            session.join(&token(replica, 1 << 40)).expect("there is room");
        }
        assert_eq!(session.to_string().parse(), Ok(session.clone()));
        let full = session.clone();
        assert_eq!(session.join(&token(64, 1)), Err(TokenError::Replicas { replicas: 65, max: 64 }));
        assert_eq!(session, full);
        session.join(&token(3, 1)).expect("a known replica takes no room");
    }

    #[test]
    fn tokens_of_two_namespaces_stay_apart() {
        let other = Token::of(NamespaceId::named("other"), None);
        assert!(matches!(token(1, 1).join(&other), Err(TokenError::Namespace { .. })));
    }
}
