//! What goes out on a link: the frames of each class, on a stream of its own, the more urgent first.
//!
//! A stream is opened with its first frame. QUIC sends what is urgent before the rest, byte for byte, and a stream that
//! the peer does not read stops at its own window: all of them together do not fill the connection's.

use std::future;
use std::pin::Pin;
use std::time::Duration;

use quinn::{SendStream, WriteError};
use sync_core::class::Class;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::TransportEvent;
use super::link::emit;
use super::outbox::Written;
use super::refusal::{Close, Refusal};
use super::streams::{self, Layout};
use super::table::Registered;

/// How long a link that is closed in good order waits for the peer to confirm what was written.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// Writes frames until the node shuts down; returns why it stopped. If the connection is lost, the reader
/// says so, once it has read what had arrived.
pub(super) async fn all(registered: &Registered, first: SendStream, stop: &watch::Receiver<bool>) -> String {
    let writing = |classes, stream| {
        let rest = Box::pin(sleep(QUIET));
        Writing { registered, stop, classes, stream, written: Instant::now(), rest }.run()
    };
    match Layout::of(&registered.link.proven.connection) {
        Layout::Single => writing(&Class::ALL, Some(first)).await,
        Layout::Classes => {
            tokio::join!(
                writing(&[Class::Urgent], Some(first)),
                writing(&[Class::Normal], None),
                writing(&[Class::Bulk], None),
            );
        }
    }
    "the node that closes is shutting down".to_owned()
}

/// So long after the last frame of a stream the engine is told what it does not know to be written. Longer than frames
/// are apart on a link that is used, short for somebody who looks whether anything waits.
const QUIET: Duration = Duration::from_millis(200);

/// One stream.
struct Writing<'a> {
    registered: &'a Registered,
    stop: &'a watch::Receiver<bool>,
    /// The classes whose frames it carries, the most urgent first.
    classes: &'static [Class],
    /// `None` before the first frame.
    stream: Option<SendStream>,
    /// When the last frames were written.
    written: Instant,
    /// A look whether it rests; armed once in [`QUIET`] at most, since a stream in use waits for frames all the time.
    rest: Pin<Box<Sleep>>,
}

impl Writing<'_> {
    async fn run(mut self) {
        let mut stop = self.stop.clone();
        loop {
            let (class, frames) = tokio::select! {
                biased;
                frames = self.next() => frames,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            self.write(class, frames).await;
        }
        let flush = async {
            while let Some((class, frames)) = self.waiting() {
                self.write(class, frames).await;
            }
            if let Some(stream) = &mut self.stream
                && stream.finish().is_ok()
            {
                let _ = stream.stopped().await;
            }
        };
        let _ = timeout(FLUSH_MAX, flush).await;
    }

    /// Frames that wait, as many as make one write.
    fn waiting(&self) -> Option<(Class, Vec<Vec<u8>>)> {
        let outbox = &self.registered.link.outbox;
        let mut frames = self.classes.iter().map(|class| (*class, outbox.of(*class).try_take()));
        frames.find(|(_, frames)| !frames.is_empty())
    }

    async fn next(&mut self) -> (Class, Vec<Vec<u8>>) {
        loop {
            if let Some(frames) = self.waiting() {
                return frames;
            }
            // Where a stream carries several classes, their outboxes share one notice.
            let [class, ..] = self.classes else { return future::pending().await };
            let outbox = self.registered.link.outbox.of(*class);
            if !self.is_untold() {
                outbox.more().await;
                continue;
            }
            if self.rest.is_elapsed() {
                self.rest.as_mut().reset(self.written + QUIET);
            }
            tokio::select! {
                biased;
                () = outbox.more() => {}
                () = &mut self.rest => {
                    if self.written.elapsed() >= QUIET {
                        self.tell_rest().await;
                    }
                }
            }
        }
    }

    /// True if the engine counts frames as waiting that are written.
    fn is_untold(&self) -> bool {
        let outbox = &self.registered.link.outbox;
        self.classes.iter().any(|class| outbox.of(*class).is_untold())
    }

    /// Tells the engine of all that is written: nothing more comes for now, and a peer at rest has nothing waiting.
    async fn tell_rest(&self) {
        for class in self.classes {
            let told = self.registered.link.outbox.of(*class).take_untold();
            tell(self.registered, self.stop, *class, told).await;
        }
    }

    /// Writes frames as one piece.
    async fn write(&mut self, class: Class, frames: Vec<Vec<u8>>) {
        let mut packed = Vec::with_capacity(
            streams::HEAD_BYTES + frames.iter().map(|frame| 4 + frame.len()).sum::<usize>(),
        );
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none @ None => match self.registered.link.proven.connection.open_uni().await {
                Ok(stream) => {
                    streams::prioritise(&stream, class);
                    packed.extend_from_slice(&streams::head(class));
                    none.insert(stream)
                }
                Err(_) => return future::pending().await,
            },
        };
        for frame in &frames {
            let len =
                u32::try_from(frame.len()).expect("bind bounds message_bytes_max by u32, send checks it");
            packed.extend_from_slice(&len.to_le_bytes());
            packed.extend_from_slice(frame);
        }
        match stream.write_all(&packed).await {
            Ok(()) => {}
            Err(WriteError::ConnectionLost(_)) => future::pending().await,
            Err(error) => {
                let reason = format!("the stream of frames broke: {error}");
                self.registered.link.cut(Refusal::new(Close::Protocol, reason));
                future::pending().await
            }
        }
        self.written = Instant::now();
        let bytes = frames.iter().map(Vec::len).sum();
        let told = self.registered.link.outbox.of(class).written(frames.len(), bytes);
        tell(self.registered, self.stop, class, told).await;
    }
}

/// Tells the engine of what was written.
pub(super) async fn tell(
    registered: &Registered,
    stop: &watch::Receiver<bool>,
    class: Class,
    told: Option<Written>,
) {
    if let Some(Written { frames, bytes }) = told {
        let event = TransportEvent::Written { peer: registered.link.proven.peer, class, frames, bytes };
        emit(&registered.shared, stop, class, event).await;
    }
}
