//! Server-sent events: bytes of a frame, and who is to be woken. SSE is only a hint that the log has more.
//!
//! | file | what it knows |
//! |---|---|
//! | [`frame`] | bytes |
//! | `ring` | what was published lately on a stream, encoded once for all |
//! | [`hub`] | who is there: joins, leaves, counts, publishes, how far each reader is |
//! | [`subscription`], [`listener`] | one reader of a stream; one producer that listens for signals |
//! | [`wake`] | what other replicas that share the store commit, and whether they have readers |
//!
//! Law: a reader joins the hub, then reads the log, then follows the ring. Whatever the hub does not have, the log has.

pub mod frame;
pub mod hub;
pub mod listener;
mod ring;
pub mod subscription;
pub mod wake;

pub use hub::{Hub, HubConfig, Reader, Readers, TooMany};
pub use listener::{Heard, Listener, Signal};
pub use subscription::{Subscription, Taken};
