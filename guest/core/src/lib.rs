//! rejoin-core: the meaning of Rejoin. Job table, fold, resume; nothing else.
//!
//! The law: **the core never waits and never asks.** It has no clock, no randomness, no I/O: time is an argument,
//! what it must know is given to [`session::Session::open`], and what should happen comes out as
//! [`types::Effect`]s that the caller carries out and answers with [`session::Session::settle`].
//!
//! | room | what it knows |
//! |---|---|
//! | [`json`] | JSON as borrowed text, checked once |
//! | [`lines`], [`event`] | from pushed text to records, and what a record means |
//! | [`job`] | the job table: status x command |
//! | [`content`] | the fold from events to content parts |
//! | [`resume`], [`final_event`] | run steps, and the last record |
//! | [`session`] | one live generation: joins all of the above |
//! | [`translate`] | from a model provider's body to records |
//!
//! ```
//! use rejoin_core::lines::Framing;
//! use rejoin_core::session::{Fence, Session, Settled};
//! use rejoin_core::types::{Effect, Limits};
//!
//! let limits = Limits { record_bytes_max: 1 << 20, records_max: 1000, log_bytes_max: 1 << 26, idle_ms: 60_000, paused_idle_ms: 600_000 };
//! let mut session = Session::open(None, None, limits);
//! session.create(1_789_000_000_000, Some("u1"), None, "{}").expect("the stream is free");
//! session.settle(1, Settled::Accepted).expect("it was under way");
//!
//! let step = r#"{"event":"on_run_step","data":{"id":"s","index":0,"stepDetails":{"type":"message_creation"}}}"#;
//! let text = r#"{"event":"on_message_delta","data":{"id":"s","delta":{"content":{"type":"text","text":"Hi"}}}}"#;
//! session.push(1_789_000_000_010, Fence(None), Framing::Ndjson, &format!("{step}\n{text}\n"), None).expect("running");
//! assert!(session.content().is_err(), "nobody sees what the store has not accepted");
//! session.settle(2, Settled::Accepted).expect("it was under way");
//! assert_eq!(session.content().as_deref(), Ok(r#"[{"type":"text","text":"Hi"}]"#));
//! assert_eq!(session.head().to_string(), "1789000000000-2");
//! assert!(session.take_effects().iter().any(|effect| matches!(effect, Effect::Append { first, .. } if first.sequence == 1)));
//! ```

#![forbid(unsafe_code)]

pub mod content;
pub mod event;
pub mod final_event;
pub mod job;
pub mod json;
pub mod lines;
pub mod resume;
pub mod session;
pub mod translate;
pub mod types;
