//! Following a stream of lines from a node until somebody has had enough.

use std::pin::Pin;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::failure::Failure;

/// A node that ends an answer sooner than this does not want to be followed.
const SHORT: Duration = Duration::from_secs(1);

/// How an answer ended.
pub(super) enum Ended {
    /// Interrupted, or nobody takes the lines any more.
    Here,
    /// By the node, after it had been followed for a while.
    There,
    /// By the node, at once.
    AtOnce,
}

/// Gives each line of the answer at `path` to `take`, until `interrupted`, until `take` says false, or until the node
/// ends it.
pub(super) async fn follow<I>(
    client: &Client,
    (path, query): (&str, &[(&str, &str)]),
    mut interrupted: Pin<&mut I>,
    mut take: impl FnMut(&str) -> Result<bool, Failure>,
) -> Result<Ended, Failure>
where
    I: Future,
{
    let begun = Instant::now();
    let mut lines = client.follow(path, query).await?;
    loop {
        let line = tokio::select! {
            biased;
            _ = &mut interrupted => return Ok(Ended::Here),
            line = lines.next() => line?,
        };
        match line {
            Some(line) if take(&line)? => {}
            Some(_) => return Ok(Ended::Here),
            None if begun.elapsed() < SHORT => return Ok(Ended::AtOnce),
            None => return Ok(Ended::There),
        }
    }
}
