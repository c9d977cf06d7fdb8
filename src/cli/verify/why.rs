//! `dbtune verify --why IDENTITY TABLE KEY`

use crate::cli::Context;
use crate::cli::migrating;
use crate::cli::paired::interruptible;
use crate::db::{Defaults, Limits, Session, resolve};
use crate::model::{Outcome, Report, WorkloadFile};
use crate::verify::matrix::people;
use crate::verify::why::{report, why};
use anyhow::bail;
use std::time::Duration;

pub(super) async fn run(
    asked: &[String],
    file: &WorkloadFile,
    time: Duration,
    context: &Context,
) -> anyhow::Result<Report> {
    let [identity, table, key] = asked else {
        bail!("--why takes an identity, a table and a key");
    };
    let target = context.target()?;
    let looked = async {
        let session = Session::connect(&target, "verify").await?;
        let personas = resolve(&session, file, Defaults::default()).await?.personas;
        let (everybody, _) = people(&session, &personas).await?;
        drop(session);
        let Some(somebody) = everybody.iter().find(|s| s.person.name == *identity) else {
            let names: Vec<&str> = everybody.iter().map(|s| s.person.name.as_str()).collect();
            bail!(
                "there is no identity {identity}: there are {}",
                names.join(", ")
            );
        };
        let limits = Limits {
            statement: time,
            ..Limits::default()
        };
        Ok(why(&target, &somebody.persona, (table, key), limits).await?)
    };
    let found = interruptible(migrating::interrupt()?, Box::pin(looked)).await?;
    let report = report(&found);
    if report.outcome == Outcome::Inconclusive {
        let lines = report.blocks.iter().filter_map(|b| match b {
            crate::model::Block::Code { text, .. } => Some(text.as_str()),
            _ => None,
        });
        bail!(
            "could not tell whether the row is seen\n{}",
            lines.collect::<Vec<_>>().join("\n")
        );
    }
    Ok(report)
}
