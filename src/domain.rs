//! The ground floor: what a ban is and when it holds.
//!
//! **Invariant:** nothing here does I/O, waits, or asks a clock; nothing here knows a wire or a table.

pub mod access;
pub mod ban;
pub mod caller;
pub mod channel;
pub mod clock;
pub mod decide;
pub mod digest;
pub mod erasure;
pub mod exception;
pub mod fields;
pub mod hex;
pub mod identity;
pub mod ids;
pub mod import;
pub mod keys;
pub mod list;
pub mod period;
pub mod policy;
pub mod queue;
pub mod record;
pub mod refusal;
pub mod revision;
pub mod view;
