//! What could be read of a node's own items on its rotten disk is not lost: once all agree, its event is known, or it
//! was written again.

use sync_core::id::NamespaceId;
use sync_core::node::{DEFAULT_NAMESPACE, Node};

use super::{Checker, Violation};
use crate::history::{History, Seen};

const NAME: &str = "what a rotten disk still gave is saved";

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Salvaged;

impl Checker for Salvaged {
    fn name(&self) -> &'static str {
        NAME
    }

    fn at_end(
        &mut self,
        history: &History,
        nodes: &mut [(usize, &mut Node)],
        converged: bool,
    ) -> Result<(), Violation> {
        let Some((_, state)) = nodes.first().filter(|_| converged) else { return Ok(()) };
        let Some(store) = state.store(NamespaceId::named(DEFAULT_NAMESPACE)) else { return Ok(()) };
        match history.unsaved(&Seen::from(store.context()), store.horizon().0) {
            None => Ok(()),
            Some(lost) => {
                let what = format!("nobody knows {:?}, and it was not written again", lost.dot);
                Err(Violation { property: NAME, node: lost.node, what })
            }
        }
    }
}
