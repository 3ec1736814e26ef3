//! A UDP relay that counts: what it forwards is what a link costs, packet headers left out.
//!
//! One relay a link, between the node that dials and the one that is dialled. It can be told to stop after
//! so many bytes, which is a cut at a chosen point.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;

/// Larger than any UDP payload.
const PACKET_MAX: usize = 65_536;

/// See the module's documentation.
#[derive(Clone)]
pub struct Relay {
    addr: SocketAddr,
    counts: Arc<Counts>,
}

struct Counts {
    /// Bytes of payload to the node that was dialled.
    to_dialled: AtomicU64,
    /// Bytes of payload to the node that dials.
    to_dialler: AtomicU64,
    /// Bytes to the dialler after which nothing is forwarded.
    stop_at: AtomicU64,
}

impl Relay {
    /// Forwards between `target` and whoever comes. Ends with the runtime.
    pub async fn start(target: SocketAddr) -> Self {
        let front = Arc::new(bind().await);
        let back = Arc::new(bind().await);
        back.connect(target).await.expect("an address of loopback");
        let addr = front.local_addr().expect("it is bound");
        let counts = Arc::new(Counts {
            to_dialled: AtomicU64::new(0),
            to_dialler: AtomicU64::new(0),
            stop_at: AtomicU64::new(u64::MAX),
        });
        let dialler = Arc::new(Mutex::new(None));
        tokio::spawn(forward_up(front.clone(), back.clone(), dialler.clone(), counts.clone()));
        tokio::spawn(forward_down(front, back, dialler, counts.clone()));
        Self { addr, counts }
    }

    /// Where to dial.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Bytes of UDP payload so far: to the dialled node and to the dialler.
    pub fn bytes(&self) -> [u64; 2] {
        [&self.counts.to_dialled, &self.counts.to_dialler].map(|count| count.load(Ordering::Relaxed))
    }

    /// Both ways together.
    pub fn total(&self) -> u64 {
        self.bytes().iter().sum()
    }

    /// Forwards no more once so many bytes in all went to the dialler.
    pub fn stop_at(&self, bytes: u64) {
        self.counts.stop_at.store(bytes, Ordering::Relaxed);
    }
}

impl Counts {
    fn open(&self) -> bool {
        self.to_dialler.load(Ordering::Relaxed) < self.stop_at.load(Ordering::Relaxed)
    }
}

async fn bind() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port")
}

async fn forward_up(
    front: Arc<UdpSocket>,
    back: Arc<UdpSocket>,
    dialler: Arc<Mutex<Option<SocketAddr>>>,
    counts: Arc<Counts>,
) {
    let mut packet = vec![0; PACKET_MAX];
    loop {
        // An error is the other side's closed port, told by ICMP: the next packet may fare better.
        let Ok((len, from)) = front.recv_from(&mut packet).await else { continue };
        *dialler.lock().expect("nothing panics here") = Some(from);
        if counts.open() && back.send(&packet[..len]).await.is_ok() {
            counts.to_dialled.fetch_add(len as u64, Ordering::Relaxed);
        }
    }
}

async fn forward_down(
    front: Arc<UdpSocket>,
    back: Arc<UdpSocket>,
    dialler: Arc<Mutex<Option<SocketAddr>>>,
    counts: Arc<Counts>,
) {
    let mut packet = vec![0; PACKET_MAX];
    loop {
        let Ok(len) = back.recv(&mut packet).await else { continue };
        let to = *dialler.lock().expect("nothing panics here");
        let Some(to) = to.filter(|_| counts.open()) else { continue };
        if front.send_to(&packet[..len], to).await.is_ok() {
            counts.to_dialler.fetch_add(len as u64, Ordering::Relaxed);
        }
    }
}
