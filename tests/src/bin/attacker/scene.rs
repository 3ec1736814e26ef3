//! A node in the middle, in a process of its own, and honest nodes around it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sync_core::id::NodeId;
use sync_net::{Class, ClusterCa, Identity, Node, PeerAddr};
use sync_tests::attack::Alpn;
use tempfile::TempDir;

use super::load::Lane;
use super::usage::resident;
use super::{PATIENCE, words};

/// Kilobytes that the node in the middle holds in the default namespace and in each lane, so that there is something to
/// pull, and more than a queue has room for.
const STATE_KB: usize = 5 * 1_024;

/// Namespaces of the other two classes, so that a hostile peer can fill the queues of all.
const LANES: [(&str, Class); 2] = [("alarms", Class::Urgent), ("archive", Class::Bulk)];

/// Namespaces that each pair writes in; the first goes through, see `load`. With the default one and [`LANES`] they are
/// fewer than a node keeps.
const NAMESPACES_PER_PAIR: usize = 4;

/// A node in the middle, and two honest ones for each pair.
pub(crate) struct Scene {
    place: TempDir,
    process: Child,
    target: SocketAddr,
    alpn: Alpn,
    attackers_nice: u8,
    /// Who writes and who reads.
    sides: Vec<[Node; 2]>,
    /// Each namespace that they write in.
    pub(crate) lanes: Vec<Lane>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Scene {
    /// With `pairs` of honest nodes, and certificates for so many attackers.
    pub(crate) async fn start(
        cli: &Path,
        pairs: usize,
        attackers: usize,
        (alpn, attackers_nice): (Alpn, u8),
    ) -> Result<Self, String> {
        let place = tempfile::tempdir().map_err(words)?;
        let at = |name: &str| place.path().join(name);
        let ca = ClusterCa::create("campaign").map_err(words)?;
        ca.issue("middle").and_then(|identity| identity.save(&at("middle"))).map_err(words)?;
        for n in 0..attackers {
            let name = format!("attacker-{n}");
            ca.issue(&name).and_then(|identity| identity.save(&at(&name))).map_err(words)?;
        }
        let names = |n: usize| (0..NAMESPACES_PER_PAIR).map(move |m| format!("pair-{n}-{m}"));
        let log = fs::File::create(at("middle.err")).map_err(words)?;
        let out = fs::File::create(at("middle.out")).map_err(words)?;
        // It yields to the honest ones, so that they have always more for it.
        let mut command = Command::new("nice");
        command
            .args(["-n", "5"])
            .arg(cli)
            // One thread moves all links, so that what one peer takes of it no other has.
            .env("TOKIO_WORKER_THREADS", "1")
            .args(["run", "--json", "--memory", "--listen", "127.0.0.1:0", "--max-node-bytes", "8GiB"])
            .args(["--dir".as_ref(), at("middle").as_os_str()])
            .args(["--socket".as_ref(), at("middle.sock").as_os_str()]);
        for name in (0..pairs).flat_map(names) {
            command.args(["--namespace", &format!("{name}=normal")]);
        }
        for (name, class) in LANES {
            command.args(["--namespace", &format!("{name}={class}")]);
        }
        let process =
            command.stdin(Stdio::null()).stdout(out).stderr(log).spawn().map_err(|error| {
                format!("{}: {error}; build sync-cli with the same profile", cli.display())
            })?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut scene = Self {
            place,
            process,
            target: nowhere,
            alpn,
            attackers_nice,
            sides: Vec::new(),
            lanes: Vec::new(),
        };
        let said = eventually("the node says where it is", || {
            serde_json::from_str::<Value>(&fs::read_to_string(scene.at("middle.out")).ok()?).ok()
        })
        .await?;
        let listen = said["listen"].as_str().unwrap_or_default();
        scene.target = listen.parse().map_err(words)?;
        for n in 0..pairs {
            let start = async |side: &str, names: &[String]| {
                let identity = ca.issue(&format!("{side}-{n}")).map_err(words)?;
                honest(identity, listen, names, n == 0).await
            };
            let names: Vec<String> = names(n).collect();
            let sides = [start("writer", &names).await?, start("reader", &names[..1]).await?];
            for name in &names {
                let writer = sides[0].namespace(name).map_err(words)?;
                scene.lanes.push(Lane { writer, reader: sides[1].namespace(name).ok() });
            }
            scene.sides.push(sides);
        }
        scene.fill()?;
        scene.settle().await?;
        Ok(scene)
    }

    /// The UDP address of the node in the middle.
    pub(crate) fn target(&self) -> SocketAddr {
        self.target
    }

    /// Who it is.
    pub(crate) fn middle(&self) -> Result<NodeId, String> {
        let peer = self.sides[0][0].peers().into_iter().find_map(|peer| peer.peer);
        let id = peer.and_then(|hex| NodeId::from_hex(&hex));
        id.ok_or_else(|| "the honest ones know no peer".to_owned())
    }

    /// The first honest pair.
    pub(crate) fn pair(&self) -> &[Node; 2] {
        &self.sides[0]
    }

    pub(crate) fn at(&self, name: &str) -> std::path::PathBuf {
        self.place.path().join(name)
    }

    /// What there is to pull.
    fn fill(&self) -> Result<(), String> {
        let node = &self.sides[0][0];
        let lanes = LANES.iter().map(|(lane, _)| node.namespace(lane).map_err(words));
        for space in lanes.chain([Ok(node.default_namespace())]) {
            let set = space?.or_set::<String>("state");
            for n in 0..STATE_KB {
                set.add(&format!("{n:01024}")).map_err(words)?;
            }
        }
        Ok(())
    }

    /// Waits until the two sides of each pair hold the same, in all namespaces.
    pub(crate) async fn settle(&self) -> Result<(), String> {
        for sides in &self.sides {
            for node in sides {
                for info in node.namespaces() {
                    let space = node.namespace(&info.name).map_err(words)?;
                    space.converge(PATIENCE).await.map_err(words)?;
                }
            }
            let [writer, reader] = sides;
            let root = |node: &Node, name: &str| {
                node.namespaces().into_iter().find(|info| info.name == name).and_then(|info| info.root)
            };
            let same =
                || reader.namespaces().iter().all(|info| info.root == root(writer, &info.name)).then_some(());
            eventually("both sides hold the same", same).await?;
        }
        Ok(())
    }

    /// The process of the node in the middle.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Starts attackers, those with these certificates, in a process of their own.
    pub(crate) fn attack(
        &self,
        script: &str,
        attackers: std::ops::Range<usize>,
        time: Duration,
    ) -> Result<Child, String> {
        let own = std::env::current_exe().map_err(words)?;
        let told = fs::File::create(self.at("attack.out")).map_err(words)?;
        let mut command = Command::new("nice");
        command.args(["-n", &self.attackers_nice.to_string()]).arg(own).args(["run", "--script", script]);
        command.args(["--alpn", self.alpn.name()]);
        command.args(["--target", &self.target.to_string(), "--seconds", &time.as_secs().to_string()]);
        for n in attackers {
            command.arg("--dir").arg(self.at(&format!("attacker-{n}")));
        }
        command.stdin(Stdio::null()).stdout(told).spawn().map_err(words)
    }

    /// What the attackers that have just ended have done.
    pub(crate) fn attacked(&self) -> Result<Value, String> {
        let told = fs::read_to_string(self.at("attack.out")).map_err(words)?;
        serde_json::from_str(&told).map_err(|error| format!("the attackers say {told:?}: {error}"))
    }

    /// How much more memory the node in the middle took than before, at most, in KiB; and what the attackers have done.
    pub(crate) async fn memory(
        &self,
        script: &str,
        attackers: usize,
        time: Duration,
    ) -> Result<(i64, Value), String> {
        let before = resident(self.pid())?;
        let mut attack = self.attack(script, 0..attackers, time)?;
        let mut most = before;
        while attack.try_wait().map_err(words)?.is_none() {
            most = most.max(resident(self.pid())?);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok((most - before, self.attacked()?))
    }

    /// Bytes that wait in the fullest queue of the node in the middle to a peer.
    pub(crate) async fn queued(&self, cli: &Path) -> Result<u64, String> {
        let mut command = Command::new(cli);
        command.args(["peers", "--json", "--socket"]).arg(self.at("middle.sock"));
        let asked = tokio::task::spawn_blocking(move || command.output()).await.map_err(words)?;
        let output = asked.map_err(words)?;
        let told: Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))?;
        let peers = told.as_array().into_iter().flatten();
        Ok(peers.filter_map(|peer| peer["queued_bytes"].as_u64()).max().unwrap_or(0))
    }

    /// Looks whether all is well after the attack, and ends it.
    pub(crate) async fn end(mut self) -> Result<(), String> {
        self.settle().await.map_err(|error| format!("after the attack: {error}"))?;
        if let Some(status) = self.process.try_wait().map_err(words)? {
            return Err(format!("the node in the middle ended: {status}"));
        }
        let log = fs::read_to_string(self.at("middle.err")).map_err(words)?;
        for node in self.sides.iter().flatten() {
            node.shutdown().await;
        }
        match log.lines().find(|line| line.contains("panicked")) {
            Some(panic) => Err(format!("the node in the middle panicked: {panic}")),
            None => Ok(()),
        }
    }
}

/// An honest node, with the namespaces that its pair writes in and, if `lanes`, those that hold state.
async fn honest(identity: Identity, listen: &str, names: &[String], lanes: bool) -> Result<Node, String> {
    let peer = PeerAddr { addr: listen.to_owned(), id: None };
    let mut builder = Node::builder().identity(identity).peer(peer);
    for name in names {
        builder = builder.namespace(name, Class::Normal);
    }
    for (lane, class) in LANES.into_iter().filter(|_| lanes) {
        builder = builder.namespace(lane, class);
    }
    builder.start().await.map_err(words)
}

async fn eventually<T>(what: &str, mut reached: impl FnMut() -> Option<T>) -> Result<T, String> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(value) = reached() {
            return Ok(value);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(format!("waited {PATIENCE:?} in vain until {what}"))
}
