//! `dbtune snapshot`

use super::Context;
use super::audit::{plural, read_live};
use crate::db::read_column_values;
use crate::model::{Report, Snapshot};
use anyhow::Context as _;
use std::path::{Path, PathBuf};

/// Write what the server knows to a file, for `dbtune audit --snapshot FILE`; changes nothing
///
/// The file holds the schema, its statistics, and the statements of `pg_stat_statements` without their constants. It
/// holds no row value unless --with-values is given: most-common values and histograms are not read. It is written whole or not at all, readable by
/// its owner only. Another version of the format is refused when it is read; fields that a later dbtune added are
/// passed over.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to write; one that is there is replaced
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// A standby whose statistics count as well; may be given several times
    #[arg(long, value_name = "URL")]
    replica: Vec<String>,
    /// Put the most common values and histogram bounds of columns in as well: the file then holds row values
    #[arg(long)]
    with_values: bool,
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<Report> {
    let (mut catalog, statements) = read_live(&args.replica, "snapshot", context).await?;
    let held = if args.with_values {
        let session = context.connect("snapshot").await?;
        let columns = read_column_values(&session, &mut catalog).await?;
        format!(
            "ROW VALUES of {}: treat the file like the database",
            plural(columns, "column", "columns")
        )
    } else {
        "no row value".to_owned()
    };
    let snapshot = Snapshot::new(catalog, statements);
    let path = &args.output;
    let bytes =
        write(&snapshot, path).with_context(|| format!("could not write {}", path.display()))?;
    let catalog = &snapshot.catalog;
    let policies = catalog.tables.values().map(|t| t.policies.len()).sum();
    let statements = snapshot.statements.as_ref().map(|s| s.statements.len());
    let mut report = Report::new(
        "snapshot",
        format!(
            "Wrote {} of database {} to {}: {}, {} and {}, {held}.",
            size(bytes),
            catalog.server.database,
            path.display(),
            plural(catalog.tables.len(), "relation", "relations"),
            plural(policies, "policy", "policies"),
            plural(statements.unwrap_or(0), "statement", "statements"),
        ),
    );
    report.gaps.clone_from(&catalog.gaps);
    report.data = serde_json::json!({
        "file": path,
        "bytes": bytes,
        "database": catalog.server.database,
        "read_at": catalog.server.read_at,
        "relations": catalog.tables.len(),
        "policies": policies,
        "statements": statements,
        "row_values": args.with_values,
    });
    report.next = Some(format!("dbtune audit --snapshot {}", path.display()));
    Ok(report)
}

/// Beside the file first, then in its place: whoever reads it finds the old one or the new one. Returns its size.
pub(super) fn write(snapshot: &Snapshot, path: &Path) -> std::io::Result<u64> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    // Made with mode 0600.
    let file = tempfile::Builder::new()
        .prefix(".dbtune")
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    snapshot.write(file.as_file())?;
    file.as_file().sync_all()?;
    let bytes = file.as_file().metadata()?.len();
    file.persist(path).map_err(|e| e.error)?;
    Ok(bytes)
}

fn size(bytes: u64) -> String {
    match bytes {
        b if b < 10_000 => format!("{b} bytes"),
        b if b < 10_000_000 => format!("{} kB", b / 1_000),
        b => format!("{} MB", b / 1_000_000),
    }
}
