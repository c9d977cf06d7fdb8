//! One binary, so that the crate and `libpg_query` are linked once.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read its inputs should stop"
)]

mod benching;
mod layers;
mod migrate_fire;
mod migrate_ground;
mod migrate_harness;
mod migrate_layouts;
mod migrate_pooler;
mod migrate_refusals;
mod migrate_render;
mod migrate_round_trip;
mod planning;
mod seed;
mod seed_clinic;
mod seed_derive;
mod server;
mod tenants;
mod throwaway;
mod verifying;
mod workload_file;
