//! One binary, so that the crate and `libpg_query` are linked once.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::format_push_string,
    clippy::too_many_lines,
    reason = "a test that cannot read its inputs should stop, and one story is told in one place"
)]

mod audit;
mod audit_excuses;
mod audit_formats;
mod audit_fuzz;
mod audit_gaps;
mod audit_ground;
mod audit_health;
mod audit_hostile;
mod audit_migrations;
mod audit_nested;
mod audit_platform;
mod audit_policies;
mod audit_replica;
mod audit_roles;
mod audit_run;
mod audit_snapshot;
mod audit_speed;
mod bench_blows;
mod bench_failures;
mod bench_gate;
mod bench_load;
mod bench_page;
mod bench_refs;
mod benching;
mod ci_example;
mod commands;
mod demo;
mod docs;
mod exporting;
mod layers;
mod migrate_blows;
mod migrate_fire;
mod migrate_gain;
mod migrate_ground;
mod migrate_harness;
mod migrate_layouts;
mod migrate_platform;
mod migrate_pooler;
mod migrate_proof;
mod migrate_refusals;
mod migrate_render;
mod migrate_replica;
mod migrate_round_trip;
mod pair;
mod pgbench;
mod planning;
mod propose_earn;
mod proposing;
mod proposing_worlds;
mod recording;
mod rewrite_cases;
mod rewrite_ground;
mod rewrite_worlds;
mod rule_examples;
mod rule_registry;
mod seed;
mod seed_clinic;
mod seed_derive;
mod server;
mod settings_file;
mod tenants;
mod throwaway;
mod verify_access;
mod verify_bench;
mod verify_cases;
mod verify_ground;
mod verify_identity;
mod verify_matrix;
mod verify_rewrites;
mod verify_witness;
mod verify_worlds;
mod verifying;
mod workload_file;
