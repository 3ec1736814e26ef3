//! The state machine of **sync**: a function of its inputs.
//!
//! `sync-core` holds the data model and the protocol of the engine and touches nothing outside: no
//! clock, no operating system randomness, no I/O. [`node::Node`] takes what the world did and gives back
//! what it wants done:
//!
//! ```
//! use sync_core::id::{NamespaceId, NodeId, OwnerId, ReplicaId};
//! use sync_core::node::{Config, Node};
//! use sync_core::time::{Now, Timestamp, WallMillis};
//! use sync_core::types::or_set;
//!
//! let now = Now::at(Timestamp::ZERO, WallMillis(1_700_000_000_000));
//! let config = Config::new(NodeId([1; 32]), ReplicaId([1; 16]), OwnerId([1; 16]), [7; 32]);
//! let mut node = Node::new(config, now);
//! let namespace = NamespaceId::named("default");
//! node.write(now, namespace, |group| or_set::add(group, "cart/17850", b"85123A"))?;
//! let store = node.store(namespace).expect("the default namespace is always open");
//! assert!(or_set::contains(store, "cart/17850", b"85123A"));
//! # Ok::<(), sync_core::error::WriteError>(())
//! ```
//!
//! `docs/architecture.md` is the map; each module begins with what it is for.

#![forbid(unsafe_code)]

pub mod breaker;
pub mod causal;
pub mod cell;
pub mod class;
pub mod codec;
pub mod dictionary;
pub mod error;
pub mod fragment;
pub mod id;
mod large;
pub mod limits;
mod memory;
pub mod merkle;
pub mod message;
pub mod mutant;
pub mod nested;
pub mod node;
pub mod pacing;
pub mod push;
pub mod queue;
pub mod rows;
pub mod session;
mod small;
pub mod store;
pub mod time;
pub mod token;
pub mod trace;
pub mod types;
