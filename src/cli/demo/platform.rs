//! The clinic platform that the demo tunes: what the repository holds, carried inside the binary.

use crate::cli::{Context, migrating, seed as seeding};
use crate::config::parse_workload;
use crate::db::throwaway::Throwaway;
use crate::db::{Session, Target};
use crate::migrate::{self, Folder, Options};
use crate::model::WorkloadFile;
use crate::seed::{self, Spec, Summary};
use anyhow::Context as _;
use include_dir::{Dir, include_dir};
use std::path::Path;

const DATABASE: &str = "clinic";
/// Owns the schema, is no superuser; everything but the bootstrap runs as this role.
const OWNER: &str = "clinic_owner";

static MIGRATIONS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/migrations");
static POLICIES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/policies/naive");
const BOOTSTRAP: &str = include_str!("../../../fixtures/bootstrap.sql");
const SEED: &str = include_str!("../../../fixtures/clinic.yaml");
const WORKLOAD: &str = include_str!("../../../benchmarks/clinic.yaml");

/// Database, roles, schema and policies; the migrations are written to `folder`.
pub(super) async fn build(
    server: &Throwaway,
    context: &Context,
    folder: &Path,
) -> anyhow::Result<Target> {
    let target = |database: &str, user: &str| {
        Target::resolve(Some(&server.url(database, user)), &context.env)
    };
    let admin = Session::connect(&target("postgres", server.superuser())?, "demo").await?;
    admin
        .execute(
            "create the database",
            &format!("create database {DATABASE}"),
        )
        .await?;
    let admin = Session::connect(&target(DATABASE, server.superuser())?, "demo").await?;
    admin
        .execute("create roles and extensions", BOOTSTRAP)
        .await?;
    drop(admin);
    let owner = target(DATABASE, OWNER)?;
    for file in MIGRATIONS.files() {
        let path = folder.join(file.path());
        std::fs::write(&path, file.contents())
            .with_context(|| format!("could not write {}", path.display()))?;
    }
    let folder = Folder::read(folder).map_err(|p| migrating::refused(&p))?;
    migrate::apply(&owner, &folder, &Options::default(), &mut |_| {})
        .await
        .map_err(|stop| migrating::failure(&stop))?;
    let session = Session::connect(&owner, "demo").await?;
    let mut policies: Vec<_> = POLICIES.files().collect();
    policies.sort_by_key(|file| file.path());
    for file in policies {
        let sql = file.contents_utf8().unwrap_or_default();
        let doing = format!("create the policies of {}", file.path().display());
        session.execute(&doing, sql).await?;
    }
    Ok(owner)
}

pub(super) async fn fill(owner: &Target, scale: f64, context: &Context) -> anyhow::Result<Summary> {
    let session = Session::connect(owner, "demo").await?;
    let spec = Spec::parse(SEED, "fixtures/clinic.yaml")?;
    let options = seed::Options {
        scale,
        ..seed::Options::default()
    };
    seeding::fill(&session, &spec, options, context).await
}

/// The workload, and its text for whoever wants to go on from here.
pub(super) fn workload() -> anyhow::Result<(WorkloadFile, &'static str)> {
    Ok((
        parse_workload("benchmarks/clinic.yaml", WORKLOAD)?,
        WORKLOAD,
    ))
}
