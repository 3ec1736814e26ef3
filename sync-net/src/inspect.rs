//! What the tools show: plain values, all text and numbers, ready for JSON and tables.
//!
//! In flow the core under one short lock and the transport's link table; out flow the serialisable types
//! of `report`. Ids and hashes are lower-case hex. Nothing here changes state, except that roots are
//! brought up to date when they are asked for.

pub(crate) mod compare;
mod report;
mod shown;

use std::sync::atomic::Ordering;

use sync_core::breaker::BreakerState;
use sync_core::cell::{ObjectId, TypeTag};
use sync_core::id::{NamespaceId, NodeId};
use sync_core::node::{Bound, NamespaceStatus, Node as Core, PeerStatus, Reading};
use sync_core::store::{ItemRef, ObjectInfo, Store};

pub use self::compare::{
    CellDigest, CellPage, ItemDigest, Knowledge, Moment, ObjectDigest, ObjectName, ObjectPage, RangeDigest,
};
pub use self::report::{
    BoundPressure, CellInspection, Column, Inspection, ItemInspection, KeyInfo, NodeStatus, ObjectInspection,
    PeerInfo, Shown, Totals,
};
pub(crate) use self::shown::shown_path;
use self::shown::shown_payload;
use crate::breakers::{self, BreakerInfo};
use crate::namespace::NamespaceInfo;
use crate::node::Shared;
use crate::transport::LinkStatus;

/// Most cells of one object that [`Inspection`] lists; [`KeyInfo::cells`] tells how many there are.
pub(crate) const CELLS_SHOWN_MAX: usize = 1_000;

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn count(len: usize) -> u64 {
    u64::try_from(len).expect("a length in memory fits 64 bits")
}

/// See [`crate::Node::status`].
pub(crate) fn status(shared: &Shared) -> NodeStatus {
    let peers_connected = count(shared.links().iter().filter(|link| link.connected).count());
    let (known, namespace) = ("the default namespace stays open", shared.default.id);
    let mut core = shared.core();
    let namespaces = namespaces_of(&mut core);
    let root = core.root(namespace).expect(known);
    let state_id = core.state_id(namespace).expect(known);
    let pressure = core.pressure(namespace).expect(known);
    let store = shared.store(&core, namespace);
    NodeStatus {
        node: shared.id.to_hex(),
        name: shared.name.clone(),
        replica: core.replica().to_hex(),
        cluster: shared.cluster.clone(),
        listen: shared.listen.to_string(),
        root: hex(&root.0),
        state_id: state_id.to_hex(),
        crdts: store.crdt_count(),
        bytes: store.bytes(),
        items: store.item_count(),
        context_columns: count(store.context().len()),
        log_head: store.log_head(),
        records: count(store.record_count()),
        peers_connected,
        breakers_open: count(core.breakers().filter(|breaker| breaker.state != BreakerState::Closed).count()),
        pressure: pressure.readings().map(bound_pressure).collect(),
        namespaces,
        bootstrap: shared.bootstrap.now(),
        storage: shared.storage.as_ref().map(|storage| storage.status(core.step())),
        damage: shared.damage.clone(),
        turns: shared.turns.load(Ordering::Relaxed),
        totals: core.stats().into(),
    }
}

fn bound_pressure((bound, reading): (Bound, Reading)) -> BoundPressure {
    BoundPressure {
        bound: bound.name().to_owned(),
        used: reading.used,
        max: reading.max,
        pressure: reading.pressure(),
    }
}

/// See [`crate::Node::namespaces`].
pub(crate) fn namespaces(shared: &Shared) -> Vec<NamespaceInfo> {
    namespaces_of(&mut shared.core())
}

fn namespaces_of(core: &mut Core) -> Vec<NamespaceInfo> {
    let statuses = core.namespace_statuses();
    let mut infos: Vec<NamespaceInfo> =
        statuses.into_iter().map(|status| namespace_of(core, status)).collect();
    infos.sort_by(|one, other| one.name.cmp(&other.name));
    infos
}

fn namespace_of(core: &mut Core, status: NamespaceStatus) -> NamespaceInfo {
    let NamespaceStatus { id, name, class, is_open, peers, .. } = status;
    let root = core.root(id).map(|root| hex(&root.0));
    let state_id = core.state_id(id).map(|state_id| state_id.to_hex());
    let pressure = core.pressure(id).filter(|_| is_open);
    let of_namespace = |(bound, _): &(Bound, Reading)| bound.is_of_namespace();
    let pressure =
        pressure.map(|pressure| pressure.readings().filter(of_namespace).map(bound_pressure).collect());
    let store = core.kept_store(id);
    let figure = |figure: fn(&Store) -> u64| store.map_or(0, figure);
    NamespaceInfo {
        name: if name.is_empty() { id.to_hex() } else { name },
        id: id.to_hex(),
        class: class.to_string(),
        open: is_open,
        peers: count(peers),
        crdts: figure(Store::crdt_count),
        items: figure(Store::item_count),
        bytes: figure(Store::bytes),
        log_head: figure(Store::log_head),
        root,
        state_id,
        pressure: pressure.unwrap_or_default(),
    }
}

/// See [`crate::Node::peers`].
pub(crate) fn peers(shared: &Shared, namespace: NamespaceId) -> Vec<PeerInfo> {
    let links = shared.links();
    let (statuses, head, lags, breakers) = {
        let core = shared.core();
        let lags = core.lags(shared.clock.now(), namespace);
        let breakers = breakers::read(&core, shared.clock.mono());
        (core.peers(namespace), shared.store(&core, namespace).log_head(), lags, breakers)
    };
    let mut peers = merge_peers(&links, &statuses, head);
    let listed = |id: &NodeId| {
        links.iter().any(|link| link.id == Some(*id)) || statuses.iter().any(|status| status.node == *id)
    };
    // One that was removed before it was met is on no other list.
    let removed = breakers.removed().filter(|id| !listed(id));
    peers.extend(removed.map(|id| PeerInfo { peer: Some(id.to_hex()), ..peer(None, None, head) }));
    for peer in &mut peers {
        let Some(id) = peer.peer.as_deref().and_then(NodeId::from_hex) else { continue };
        peer.breaker = breakers.of(id).cloned().unwrap_or_default();
        peer.evidence = shared.evidence.of(id);
        peer.lag_ms = lags.iter().find(|lag| lag.node == id).map(|lag| lag.oldest_ms);
        let status = statuses.iter().find(|status| status.node == id);
        let keys = status.and_then(|status| shared.divergence.keys(namespace, status));
        peer.divergent_keys = keys.map(|(receive, send)| receive.saturating_add(send));
    }
    peers
}

fn merge_peers(links: &[LinkStatus], statuses: &[PeerStatus], head: u64) -> Vec<PeerInfo> {
    let status_of = |id: Option<NodeId>| statuses.iter().find(|status| Some(status.node) == id);
    let mut peers: Vec<PeerInfo> =
        links.iter().map(|link| peer(Some(link), status_of(link.id), head)).collect();
    let linked = |status: &PeerStatus| links.iter().any(|link| link.id == Some(status.node));
    peers.extend(
        statuses.iter().filter(|status| !linked(status)).map(|status| peer(None, Some(status), head)),
    );
    peers
}

fn peer(link: Option<&LinkStatus>, status: Option<&PeerStatus>, head: u64) -> PeerInfo {
    let id = link.and_then(|link| link.id).or(status.map(|status| status.node));
    PeerInfo {
        peer: id.map(|id| id.to_hex()),
        name: link.and_then(|link| link.name.clone()),
        address: link.map(|link| link.addr.clone()),
        configured: link.is_some_and(|link| link.configured),
        connected: link.is_some_and(|link| link.connected),
        blocked: link.is_some_and(|link| link.blocked),
        breaker: BreakerInfo::default(),
        failure: link.and_then(|link| link.failure.clone()),
        attempts: link.map_or(0, |link| link.attempts),
        incarnation: status.and_then(|status| status.incarnation).map(|replica| replica.to_hex()),
        shared: status.is_some_and(|status| status.shared),
        behind: status.is_some_and(|status| status.behind),
        acked: status.and_then(|status| status.acked),
        head: status.map_or(head, |status| status.head),
        roots_equal: status.and_then(|status| status.roots_equal),
        queued_frames: link.map_or(0, |link| count(link.queued_frames)),
        queued_bytes: status.map_or(0, |status| count(status.queued_bytes)),
        lag_ms: None,
        divergent_keys: None,
        clock_ahead_ms: status.and_then(|status| status.clock_ahead_ms),
        evidence: Vec::new(),
        totals: status.map(|status| status.stats.into()).unwrap_or_default(),
    }
}

/// See [`crate::Node::keys`].
pub(crate) fn keys(shared: &Shared, namespace: NamespaceId, prefix: &str) -> Vec<KeyInfo> {
    let core = shared.core();
    let store = shared.store(&core, namespace);
    // What is left of a reset counter is no CRDT any more.
    let present = |info: &ObjectInfo| store.is_present(info.object.key.as_str(), info.object.ty);
    store.objects(prefix).filter(present).map(|info| key_info(shared, &info)).collect()
}

/// The name of a type, of this crate or of the application; `type` and its number if nobody named it here.
pub(crate) fn type_name(shared: &Shared, ty: TypeTag) -> String {
    shared.types.name(ty).map_or_else(|| format!("{ty:?}"), str::to_owned)
}

fn key_info(shared: &Shared, info: &ObjectInfo) -> KeyInfo {
    KeyInfo {
        key: info.object.key.as_str().to_owned(),
        ty: type_name(shared, info.object.ty),
        cells: info.cells,
        items: info.items,
        bytes: info.bytes,
    }
}

/// See [`crate::Node::inspect`].
pub(crate) fn inspect(shared: &Shared, namespace: NamespaceId, key: Option<&str>) -> Inspection {
    let core = shared.core();
    let store = shared.store(&core, namespace);
    let objects = store
        .objects(key.unwrap_or_default())
        .filter(|info| key.is_none_or(|key| info.object.key.as_str() == key))
        .map(|info| ObjectInspection {
            info: key_info(shared, &info),
            shown: if key.is_some() { cells(store, &info.object) } else { Vec::new() },
        })
        .collect();
    Inspection {
        context: store
            .context()
            .columns()
            .map(|(replica, known)| Column { replica: replica.to_hex(), known })
            .collect(),
        log_head: store.log_head(),
        records: count(store.record_count()),
        objects,
    }
}

fn cells(store: &Store, object: &ObjectId) -> Vec<CellInspection> {
    store
        .cells(object.key.as_str(), object.ty)
        .take(CELLS_SHOWN_MAX)
        .map(|(path, items)| CellInspection {
            path: shown_path(object.ty, path),
            items: items.iter().map(|live| item(object.ty, path, live)).collect(),
        })
        .collect()
}

fn item(ty: TypeTag, path: &[u8], item: ItemRef<'_>) -> ItemInspection {
    ItemInspection {
        replica: item.dot.replica.to_hex(),
        seq: item.dot.seq,
        written_ms: item.hlc.wall().0,
        expires_ms: item.expires.0,
        payload: shown_payload(ty, path, item.payload.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sync_core::node::Stats;

    #[test]
    fn a_guest_that_left_is_still_listed() {
        let gone = PeerStatus {
            version: None,
            node: NodeId([5; 32]),
            connected: false,
            shared: true,
            incarnation: None,
            neighbour: false,
            behind: false,
            acked: Some(3),
            head: 9,
            roots_equal: Some(true),
            exchange: 1,
            queued_frames: 0,
            queued_bytes: 0,
            arrival_lag_ms: None,
            clock_ahead_ms: None,
            stats: Stats::default(),
        };
        let peers = merge_peers(&[], &[gone], 9);
        assert_eq!(peers.len(), 1);
        assert_eq!((peers[0].address.as_deref(), peers[0].acked, peers[0].connected), (None, Some(3), false));
    }
}
