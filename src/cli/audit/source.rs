//! Where the catalog of an audit comes from.

use super::{From, migrations};
use crate::cli::Context;
use crate::db::{
    Session, Target, merge_replica, read_catalog, read_statements, read_taxes, standbys,
};
use crate::model::{Catalog, Finding, Gap, Snapshot, Statements};
use anyhow::{Context as _, anyhow, bail};
use std::path::Path;

/// What rules judge, and what else is known of it.
pub(super) struct Source {
    pub(super) catalog: Catalog,
    pub(super) statements: Option<Statements>,
    /// Beyond those of the catalog.
    pub(super) gaps: Vec<Gap>,
    /// Whether it is a database that commands can go on with.
    pub(super) live: bool,
    /// Whether anybody has worked with it, so that its statistics say something.
    pub(super) used: bool,
    origins: Option<migrations::Origins>,
}

impl Source {
    /// Drops what is not about the audited schema, and says where the rest comes from.
    pub(super) fn place(&self, findings: &mut Vec<Finding>) {
        if let Some(origins) = &self.origins {
            origins.place(findings);
        }
    }
}

pub(super) async fn read(from: &From, context: &Context) -> anyhow::Result<Source> {
    if let Some(path) = &from.snapshot {
        return read_snapshot(path);
    }
    if let Some(folder) = &from.migrations {
        let (catalog, origins, gaps) = migrations::build(folder, from, context).await?;
        return Ok(Source {
            catalog,
            statements: None,
            gaps,
            live: false,
            used: false,
            origins: Some(origins),
        });
    }
    let (catalog, statements) = read_live(&from.replica, "audit", context).await?;
    Ok(Source {
        catalog,
        statements,
        gaps: Vec::new(),
        live: true,
        used: true,
        origins: None,
    })
}

/// The database and its standbys, as one.
pub(in crate::cli) async fn read_live(
    replicas: &[String],
    purpose: &str,
    context: &Context,
) -> anyhow::Result<(Catalog, Option<Statements>)> {
    let replicas = replicas
        .iter()
        .map(|url| Target::resolve(Some(url), &context.env))
        .collect::<Result<Vec<_>, _>>()?;
    let names: std::collections::BTreeSet<String> =
        replicas.iter().map(Target::to_string).collect();
    if names.len() < replicas.len() {
        bail!("the same replica is named twice: its statistics would count twice");
    }
    let session = context.connect(purpose).await?;
    let _task = context.progress.start(purpose, 0);
    let mut catalog = read_catalog(&session).await?;
    let mut statements = read_statements(&session, &mut catalog).await?;
    read_taxes(&session, &mut catalog).await?;
    for target in &replicas {
        let replica = Session::connect(target, purpose)
            .await
            .with_context(|| format!("replica {target}"))?;
        merge_replica(&session, &replica, &mut catalog, statements.as_mut())
            .await
            .with_context(|| format!("replica {target}"))?;
    }
    let known = standbys(&session).await?;
    if known > replicas.len() {
        catalog.gaps.push(Gap {
            what: "use on standbys".to_owned(),
            why: format!(
                "the server has {known} standbys and {} were looked at: what only they use counts as unused",
                replicas.len()
            ),
            remedy: Some("Name each with --replica URL.".to_owned()),
        });
    }
    Ok((catalog, statements))
}

fn read_snapshot(path: &Path) -> anyhow::Result<Source> {
    let shown = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("could not read {shown}"))?;
    let snapshot = Snapshot::parse(&bytes).map_err(|e| anyhow!("could not use {shown}: {e}"))?;
    let own = env!("CARGO_PKG_VERSION");
    let other = (snapshot.written_by != own).then(|| Gap {
        what: "facts that later versions read".to_owned(),
        why: format!(
            "dbtune {} wrote the snapshot, and this is {own}: a rule that one of them does not know of stays silent",
            snapshot.written_by
        ),
        remedy: None,
    });
    Ok(Source {
        catalog: snapshot.catalog,
        statements: snapshot.statements,
        gaps: other.into_iter().collect(),
        live: false,
        used: true,
        origins: None,
    })
}
