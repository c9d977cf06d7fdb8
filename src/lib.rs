#![doc = include_str!("../docs/ARCHITECTURE.md")]

// In layer order: a module uses only those above it. `tests/it/layers.rs` keeps it so.
pub mod model;

pub mod sql;

pub mod rules;

pub mod propose;

pub mod config;

pub mod record;

pub mod report;

pub mod db;

pub mod migrate;

pub mod seed;

pub mod bench;

pub mod verify;

pub mod cli;
