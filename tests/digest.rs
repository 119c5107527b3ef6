//! The digest of a state: it depends on the state alone, and tells any two states apart.

#[path = "digest/roads.rs"]
mod roads;
