//! The digest of a state: it depends on the state alone, tells any two states apart, and is the same
//! on every pod that serves the state, and in the database.

#[path = "digest/command.rs"]
mod command;
#[path = "stage/database.rs"]
#[expect(
    dead_code,
    reason = "the rest is for suites that open a store themselves"
)]
mod database;
#[path = "it/requests.rs"]
#[expect(dead_code, reason = "the rest is for those who ask about single rules")]
mod requests;
#[path = "digest/roads.rs"]
mod roads;
#[path = "digest/served.rs"]
mod served;
#[path = "stage/server.rs"]
#[expect(dead_code, reason = "the rest is for those who ask about single rules")]
mod server;
#[path = "digest/writes.rs"]
mod writes;
