//! `dbtune bench export`

use crate::bench::{k6_script, pgbench_scripts};
use crate::cli::Context;
use crate::db::{Defaults, Limits, Session, resolve};
use crate::model::{Gap, Report};
use anyhow::Context as _;
use std::path::{Path, PathBuf};

/// Write the workload for another engine: scripts for pgbench, or one for k6 with xk6-sql; connects to nothing
///
/// Whoever runs the scripts draws personas and parameters from the database at that moment, so that no row value is in
/// the files. With `--with-values` the database is read now, and the values that `dbtune bench` would use are written.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true, args = ["pgbench", "k6"])]
pub struct Args {
    /// Folder for one script a query and persona, and `run.sh`, which calls pgbench with their weights
    #[arg(long, value_name = "DIR")]
    pub pgbench: Option<PathBuf>,
    /// Script for k6 with the xk6-sql extension
    #[arg(long, value_name = "FILE")]
    pub k6: Option<PathBuf>,
    /// Queries with their personas [default: from the configuration, or the only one under benchmarks/]
    #[arg(long, value_name = "FILE")]
    pub workload: Option<PathBuf>,
    /// Write the drawn parameters and claims, which are row values
    #[arg(long)]
    pub with_values: bool,
}

pub(in crate::cli) async fn run(args: Args, context: &Context) -> anyhow::Result<Report> {
    let settings = context.settings()?;
    let file = context.workload(args.workload.as_deref())?;
    let drawn = if args.with_values {
        let session = Session::connect(&context.target()?, "draw").await?;
        let defaults = Defaults {
            slo_ms: settings.usual_target_ms(),
            draws: settings.draws,
            limits: Limits {
                statement: std::time::Duration::from_millis(settings.statement_timeout_ms),
                ..Limits::default()
            },
        };
        Some(resolve(&session, &file, defaults).await?)
    } else {
        None
    };
    let mut written = Vec::new();
    let mut gaps = Vec::new();
    if let Some(folder) = &args.pgbench {
        let scripts = pgbench_scripts(&file, drawn.as_ref());
        std::fs::create_dir_all(folder)
            .with_context(|| format!("could not make {}", folder.display()))?;
        for (name, text) in &scripts.files {
            write(&folder.join(name), text)?;
        }
        executable(&folder.join("run.sh"))?;
        written.push(format!(
            "{} scripts in {}",
            scripts.files.len().saturating_sub(1),
            folder.display()
        ));
        gaps.extend(scripts.left.into_iter().map(|(what, why)| Gap {
            what,
            why,
            remedy: None,
        }));
    }
    if let Some(path) = &args.k6 {
        let target = |id: &str, own| settings.target_ms(id, own);
        write(path, &k6_script(&file, drawn.as_ref(), &target))?;
        written.push(path.display().to_string());
    }
    let values = if args.with_values {
        "Drawn row values are in what was written."
    } else {
        "No row value is in what was written: --with-values writes the drawn ones."
    };
    let mut report = Report::new(
        "bench export",
        format!("Wrote {}. {values}", written.join(" and ")),
    );
    report.gaps = gaps;
    report.data = serde_json::json!({ "pgbench": args.pgbench, "k6": args.k6, "with_values": args.with_values });
    let pgbench = args.pgbench.map(|folder| folder.join("run.sh"));
    report.next = pgbench
        .map(|script| format!("{} -c 8 -T 60", script.display()))
        .or_else(|| {
            let script = args.k6?;
            Some(format!(
                "k6 run --vus 8 --duration 60s {}",
                script.display()
            ))
        });
    Ok(report)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("could not write {}", path.display()))
}

fn executable(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .with_context(|| format!("could not make {} executable", path.display()))
}
