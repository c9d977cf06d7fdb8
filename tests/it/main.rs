//! One binary, so that the crate and `libpg_query` are linked once.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read its inputs should stop"
)]

mod benching;
mod layers;
mod seed;
mod planning;
mod server;
mod tenants;
mod throwaway;
mod verifying;
mod workload_file;
