//! bancheck
pub mod domain;
pub mod feed;
pub mod store;
pub mod views;
