//! The outgoing stream of a link: written by the link's task or, when nothing waits for it, by whoever sends.
//!
//! A frame for a quiet link goes into QUIC at once, and the link's task is not woken for it. What QUIC has no room for
//! stays here, and the task goes on with it before it takes another frame.

use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use quinn::{SendStream, WriteError};

use super::outbox::Written;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Lane {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// `None` before the link is up and once it ends.
    stream: Option<SendStream>,
    /// The bytes of a write: at most [`super::outbox::PACK_BYTES`], or one frame.
    packed: Vec<u8>,
    /// How many of them are written.
    at: usize,
    /// The frames in them.
    of: Written,
}

impl Inner {
    fn pack(&mut self, frame: &[u8]) {
        let len = u32::try_from(frame.len()).expect("bind bounds message_bytes_max by u32, send checks it");
        self.packed.extend_from_slice(&len.to_le_bytes());
        self.packed.extend_from_slice(frame);
        self.of.frames += 1;
        self.of.bytes += frame.len();
    }

    /// Ready when all is written: what that was.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Written, WriteError>> {
        let Some(stream) = &mut self.stream else { return Poll::Pending };
        while self.at < self.packed.len() {
            match pin!(stream.write(&self.packed[self.at..])).poll(context) {
                Poll::Ready(Ok(written)) => self.at += written,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.at = 0;
        self.packed.clear();
        if self.packed.capacity() > super::outbox::PACK_BYTES {
            self.packed = Vec::new();
        }
        Poll::Ready(Ok(std::mem::take(&mut self.of)))
    }
}

impl Lane {
    /// The link is up.
    pub(super) fn open(&self, stream: SendStream) {
        self.lock().stream = Some(stream);
    }

    /// Ends the stream; whoever has it can wait for the peer to have read it.
    pub(super) fn close(&self) -> Option<SendStream> {
        self.lock().stream.take()
    }

    /// Writes a frame at once, though no other waits to be written: `Some(true)` if all of it is written, `Some(false)`
    /// if the link's task must go on with it, `None` if it was not taken.
    pub(super) fn write_now(&self, frame: &[u8]) -> Option<bool> {
        let mut inner = self.lock();
        if inner.stream.is_none() || !inner.packed.is_empty() {
            return None;
        }
        inner.pack(frame);
        // Errors come again when the task goes on, and it knows what to do.
        Some(matches!(inner.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(_))))
    }

    /// Adds frames to what is to be written.
    pub(super) fn load(&self, frames: &[Vec<u8>]) {
        let mut inner = self.lock();
        inner.packed.reserve(frames.iter().map(|frame| 4 + frame.len()).sum());
        frames.iter().for_each(|frame| inner.pack(frame));
    }

    /// Waits until all is written; says what that was.
    pub(super) async fn flush(&self) -> Result<Written, WriteError> {
        std::future::poll_fn(|context| self.lock().poll(context)).await
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics between two updates that belong together.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
