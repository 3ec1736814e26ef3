//! The scripts of who has no certificate: all that a node knows of him is where his packets seem to come from.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;

use super::client::endpoint;
use super::{Alpn, Counts};

/// First packets that are made ahead and sent again and again, each of a connection of its own.
const INITIALS: usize = 256;

/// First packets of handshakes that nobody will finish, made by a client that dials a socket of ours.
async fn initials(alpn: Alpn) -> Vec<Vec<u8>> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let sink = UdpSocket::bind(any).await.expect("a socket is free");
    let to = sink.local_addr().expect("it is bound");
    let client = endpoint(None, alpn);
    let mut packets = Vec::with_capacity(INITIALS);
    let mut buffer = [0; 2_048];
    while packets.len() < INITIALS {
        let connecting = client.connect(to, "node.sync.internal").expect("a target");
        if let Ok(Ok((len, _))) =
            tokio::time::timeout(Duration::from_secs(1), sink.recv_from(&mut buffer)).await
        {
            packets.push(buffer[..len].to_vec());
        }
        drop(connecting);
    }
    packets
}

/// Sends first packets and never a second, with `pause` between any two or as fast as the socket takes them, and as
/// many packets of random bytes.
pub(super) async fn half_open(target: SocketAddr, alpn: Alpn, counts: &Counts, pause: Option<Duration>) {
    let packets = initials(alpn).await;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    loop {
        // Another port is another stranger.
        let socket = UdpSocket::bind(any).await.expect("a socket is free");
        for packet in &packets {
            let noise: [u8; 64] = rand::random();
            let _ = socket.send_to(packet, target).await;
            let _ = socket.send_to(&noise, target).await;
            Counts::add(&counts.sent);
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Whole handshakes, refused for want of a certificate.
pub(super) async fn without_certificate(target: SocketAddr, alpn: Alpn, counts: &Counts) {
    let client = endpoint(None, alpn);
    loop {
        Counts::add(&counts.connections);
        let connecting = client.connect(target, "node.sync.internal").expect("a target");
        match connecting.await {
            Ok(connection) => counts.ended(&connection.closed().await.to_string()),
            Err(error) => counts.ended(&error.to_string()),
        }
    }
}
