//! Answers, before every call, chat and message: is this customer banned here?
//!
//! A check is a pure function of what a pod holds in memory: [`decide`](domain::decide::decide),
//! asked about a [`TenantView`](domain::view::TenantView) and an instant. One task follows the feed
//! of the database and alone makes new views, so every pod hears of a ban by the same road, and
//! every answer says how fresh it is. `ARCHITECTURE.md` tells why, and what else was thought of.
//!
//! # The floors
//!
//! An import may only point down.
//!
//! | floor | module | what it does |
//! |---|---|---|
//! | 5 | [`cli`], [`server`], [`config`], [`telemetry`] | command line; building, running and ending; settings; logs and metrics |
//! | 4 | [`api`], [`auth`] | the wire, which only translates; who asks |
//! | 3 | [`checker`], [`tally`], [`desk`], [`keeper`] | answering checks and counting matches; changing and looking up bans, lists and tenants; what time does |
//! | 2 | [`views`], [`feed`] | the views in memory; following the feed, loads, the lease |
//! | 1 | [`store`] | the promise S-0 to S-11, kept on Postgres and on SQLite |
//! | 0 | [`domain`] | what a ban is and when it holds; no I/O, no waiting, no clock |
//!
//! # The two flows
//!
//! A question: [`api::CheckApi`] takes the message apart, [`Checker::check`](checker::Checker::check)
//! looks at the clock, at where the pod [stands](feed::Standing) and at the [view](views::Views::get),
//! in that order, and decides. Where there is no view, [`Feed::load`](feed::Feed::load) has one made.
//!
//! News: [`Desk::write`](desk::Desk::write) runs a [`Job`](desk::Job) on a [`Work`](store::Work), one
//! transaction that holds its tenant's row: rows, event and feed row commit together. The pods'
//! [`feed::run`] hears of it and hands it to the [`Follower`](feed::Follower), which makes the next
//! view; the writer is answered once its own pod has come that far.
//!
//! # What always holds, within one history
//!
//! - **C-1** no check that starts after this pod applied revision r answers from a view older than r
//!   for that tenant
//! - **C-2** the applied revision never goes back within an epoch
//! - **C-3** revisions applied have no gap
//! - **C-4** past the lease no answer says FRESH
//! - **C-5** an answer equals `decide` on the state at one single revision, batch included
//! - **C-6** an acknowledged ban is never lost, a deactivated one never returns
//! - **V-1** a ban outside its times never decides
//! - **V-2** a shadow ban never decides
//! - **V-3** without exceptions, adding a ban never turns DENY into ALLOW
//! - **V-4** check, batch, stream and explain agree
//!
//! # The whole service in one example
//!
//! ```
//! use bancheck::{
//!     api::v1::{
//!         Channel, CheckInteractionRequest, Consistency, CreateBanRequest, Decision, Identity,
//!         admin_service_client::AdminServiceClient, check_service_client::CheckServiceClient,
//!         consistency::Requirement,
//!     },
//!     config::{Effective, Flags},
//!     server::Server,
//! };
//!
//! let folder = tempfile::tempdir()?;
//! let free_port = || Some("127.0.0.1:0".to_owned());
//! let flags = Flags {
//!     check_listen: free_port(),
//!     admin_listen: free_port(),
//!     metrics_listen: free_port(),
//!     data_dir: Some(folder.path().display().to_string()),
//!     database_url: Some(String::new()), // SQLite, whatever the environment says
//!     ..Flags::default()
//! };
//! let mut server = Server::start(&Effective::gather(&flags)?.config()?)?;
//! server.ready()?;
//! let (admin, check) = (server.admin, server.check);
//!
//! let caller = |value: &str| Identity { value: value.to_owned(), ..Identity::default() };
//! let decision = tokio::runtime::Runtime::new()?.block_on(async {
//!     let ban = CreateBanRequest {
//!         tenant: "default".to_owned(),
//!         channels: vec![Channel::Call as i32],
//!         targets: vec![caller("+420 601 123 456")],
//!         reason: "threats on the line".to_owned(),
//!         ..CreateBanRequest::default()
//!     };
//!     let mut desk = AdminServiceClient::connect(format!("http://{admin}")).await?;
//!     let made = desk.create_ban(ban).await?.into_inner();
//!
//!     let question = CheckInteractionRequest {
//!         tenant: "default".to_owned(),
//!         channel: Channel::Call as i32,
//!         identities: vec![caller("00420601123456")],
//!         consistency: made.written_at.map(|token| Consistency {
//!             requirement: Some(Requirement::AtLeastAsFresh(token)),
//!         }),
//!         ..CheckInteractionRequest::default()
//!     };
//!     let mut checker = CheckServiceClient::connect(format!("http://{check}")).await?;
//!     let answer = checker.check_interaction(question).await?.into_inner();
//!     Ok::<_, Box<dyn std::error::Error>>(answer.decision())
//! })?;
//! assert_eq!(decision, Decision::Deny);
//! server.stop(std::time::Duration::ZERO);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod api;
pub mod auth;
pub mod checker;
pub mod cli;
pub mod config;
pub mod desk;
pub mod domain;
pub mod feed;
pub mod keeper;
pub mod server;
pub mod store;
pub mod tally;
#[doc(hidden)]
pub mod teeth;
pub mod telemetry;
pub mod views;
pub mod watcher;
