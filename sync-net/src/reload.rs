//! Another configuration for a node that runs: what can change does, at once and all of it.
//!
//! The order is such that nobody meets a bound that another part has not heard of yet: the links are given the wider of
//! old and new, then the core the new ones, then the links too.

use std::sync::Arc;

use crate::driver::tell_members;
use crate::node::Shared;
use crate::peers;
use crate::settings::{Mistakes, Reloaded, Settings};
use crate::transport::{LinkBounds, PeerAddr, Transport};

/// See [`crate::Node::reload`].
pub(crate) fn reload(shared: &Shared, wanted: &Settings) -> Reloaded {
    // Held to the end: of two reloads at a time one comes after the other.
    let mut settings = shared.settings.lock().expect("a reload does not panic");
    let before = settings.clone();
    let reloaded = Reloaded::take_over(&mut settings, wanted);
    let transport = shared.transport();
    let (old, new) = (LinkBounds::of(&before.limits), LinkBounds::of(&settings.limits));
    if let Some(transport) = &transport {
        transport.set_bounds(old.wider(new));
    }
    {
        let mut core = shared.core();
        core.set_limits(settings.limits.clone());
        core.set_timing(shared.clock.now(), settings.timing);
    }
    *shared.limits.lock().expect("nothing panics while the limits are copied or replaced") =
        Arc::new(settings.limits.clone());
    if let Some(transport) = &transport {
        transport.set_bounds(new);
        relist(shared, transport, &before.peers, &settings.peers);
    }
    shared.work.notify_one();
    tracing::info!(node = shared.name, "the configuration was read again: {reloaded}");
    shared.events.reloaded(&reloaded);
    reloaded
}

/// See [`crate::Node::reload_refused`].
pub(crate) fn refused(shared: &Shared, mistakes: &Mistakes) {
    for mistake in mistakes.iter() {
        tracing::error!(node = shared.name, "the configuration was read again and has a mistake: {mistake}");
    }
    tracing::error!(
        node = shared.name,
        mistakes = mistakes.count(),
        "nothing of the configuration was taken over"
    );
    shared.events.reload_refused(mistakes);
}

/// Dials who is new on the list, and no more who is gone from it. Who stands on both is left as it is, whatever an
/// operator did to it meanwhile.
fn relist(shared: &Shared, transport: &Transport, before: &[PeerAddr], after: &[PeerAddr]) {
    for gone in before.iter().filter(|peer| !after.contains(peer)) {
        let id = transport.links().into_iter().find(|link| link.addr == gone.addr).and_then(|link| link.id);
        transport.remove_peer(&gone.addr);
        if let Some(id) = id {
            transport.disconnect(&id, "this node's configuration lists the other no more");
        }
    }
    for new in after.iter().filter(|peer| !before.contains(peer)) {
        if let Err(error) = peers::add(shared, &new.to_string()) {
            tracing::warn!(node = shared.name, peer = %new, %error, "a peer of the configuration is not dialled");
        }
    }
    tell_members(shared, transport);
}
