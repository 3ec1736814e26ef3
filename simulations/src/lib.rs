//! A simulated world around the engine: virtual time, faults, and judges. One seed decides everything.
//!
//! The nodes are the very same [`sync_core::node::Node`] that runs in production. Around them stand
//! machines with clocks that jump and disks that lose their tail, a network that loses, doubles, reorders
//! and cuts, and an application. Replicas that agree can all be wrong, so beside agreement an oracle,
//! computed from who had seen what, says what every replica must show.
//!
//! ```
//! let scenario = simulations::Scenario { nodes: 3, ..Default::default() };
//! let outcome = simulations::World::new(&scenario).run();
//! assert!(outcome.violation.is_none(), "{outcome:?}");
//! ```
//!
//! - [`scenario`]: all that decides a run, as a TOML file or drawn from a seed;
//! - [`world`]: the machines and their event queue; [`net`](scenario::Network): the links;
//! - [`faults`]: what goes wrong; [`workload`]: what the application does;
//! - [`history`], [`oracle`], [`checkers`]: who wrote what, what follows, and what must hold;
//! - [`mod@run`]: one run in two phases; [`timeline`], [`svg`]: what it looked like, and its picture;
//! - [`groups`]: groups of writes in many interleavings, read after every step;
//! - [`exhaust`]: everything that two or three nodes can do, in a small scope.

#![forbid(unsafe_code)]

pub mod checkers;
pub mod deed;
pub mod exhaust;
pub mod faults;
pub mod groups;
pub mod history;
pub mod images;
pub mod library;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod neighbours;
mod net;
pub mod oracle;
pub mod plant;
pub mod random;
pub mod replay;
pub mod run;
pub mod scenario;
pub mod shrink;
pub mod svg;
pub mod swarm;
pub mod timeline;
pub mod workload;
pub mod world;

pub use run::{Outcome, run};
pub use scenario::Scenario;
pub use workload::Workload;
pub use world::{Turn, World, Writer};
