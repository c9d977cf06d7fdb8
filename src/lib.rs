#![doc = include_str!("../docs/ARCHITECTURE.md")]

pub mod model;

pub mod db;
