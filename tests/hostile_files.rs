//! Files that nobody vouches for: each is read exactly or refused with an error that says why.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "hostile_files/config.rs"]
mod config;
#[path = "hostile_files/config_values.rs"]
mod config_values;
#[path = "hostile_files/header.rs"]
mod header;
#[path = "hostile_files/layout.rs"]
mod layout;
#[path = "hostile_files/mutations.rs"]
mod mutations;
#[path = "hostile_files/round_trip.rs"]
mod round_trip;
#[path = "hostile_files/shards.rs"]
mod shards;
#[path = "hostile_files/support.rs"]
mod support;
