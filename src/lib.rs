//! bancheck
pub mod api;
pub mod auth;
pub mod checker;
pub mod cli;
pub mod config;
pub mod desk;
pub mod domain;
pub mod feed;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod views;
