//! One file a command: its arguments, and how it strings the stages together.

use crate::db::{Env, Session, Target};
use crate::model::Report;
use clap::{Parser, Subcommand};
use std::path::PathBuf;

mod apply;
mod audit;
mod bench;
mod demo;
mod duration;
mod exit;
mod gaining;
mod given;
mod load;
mod migrating;
mod outputs;
mod paired;
mod progress;
mod propose;
mod proving;
mod rollback;
mod rules;
mod seed;
mod snapshot;
mod status;
mod verify;
mod worlds;

pub use exit::{CANNOT, Failure, HALF_WAY, INTERRUPTED, code_for, failure_json};
pub use progress::Progress;

/// Tunes PostgreSQL databases whose rows are guarded by row-level security.
#[derive(Debug, Parser)]
#[command(
    name = "dbtune",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// From the process's arguments. A usage error ends the process with code 2, help and version with 0.
    pub fn from_arguments() -> Self {
        Self::parse()
    }
}

#[derive(Debug, clap::Args)]
pub struct Global {
    /// Database to work on: a URL or `keyword=value` pairs [default: `DATABASE_URL`, then the PG* variables]
    #[arg(long, global = true, value_name = "URL")]
    pub db: Option<String>,
    /// How to print the result
    #[arg(long, global = true, default_value = "table", value_parser = formats())]
    pub format: String,
    /// Configuration file [default: dbtune.yaml, where there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// No progress on standard error
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// No colours. Where the locale is C or POSIX, tables keep to ASCII as well
    #[arg(long, global = true)]
    pub no_color: bool,
}

fn formats() -> clap::builder::PossibleValuesParser {
    crate::report::ALL
        .iter()
        .map(|f| clap::builder::PossibleValue::new(f.name).help(f.about))
        .collect::<Vec<_>>()
        .into()
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Demo(demo::Args),
    /// Find what makes queries under row-level security slow or unsafe; changes nothing
    Audit(audit::Args),
    Snapshot(snapshot::Args),
    /// List the audit's rules, or explain one
    Rules(rules::Args),
    Apply(apply::Args),
    Status(status::Args),
    Rollback(rollback::Args),
    /// Propose indexes and policy rewrites, tried as the personas that run the queries
    Propose(propose::Args),
    /// Fill a database with deterministic data
    Seed(seed::Args),
    Bench(bench::Args),
    Verify(verify::Args),
}

impl Command {
    /// Whether the command measures latencies.
    pub fn is_timed(&self) -> bool {
        matches!(self, Self::Bench(_))
    }
}

/// What every command is given: the edge of the process, read once.
pub struct Context {
    pub global: Global,
    pub env: Env,
    pub progress: Progress,
}

impl Context {
    /// Where `--db`, the configuration or the environment point to.
    pub fn target(&self) -> anyhow::Result<Target> {
        let given = self
            .global
            .db
            .as_deref()
            .or_else(|| self.env.get("DATABASE_URL").map(String::as_str));
        Ok(Target::resolve(given, &self.env)?)
    }

    pub async fn connect(&self, purpose: &str) -> anyhow::Result<Session> {
        Ok(Session::connect(&self.target()?, purpose).await?)
    }
}

impl Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Demo(_) => "demo",
            Self::Audit(_) => "audit",
            Self::Snapshot(_) => "snapshot",
            Self::Rules(_) => "rules",
            Self::Apply(_) => "apply",
            Self::Status(_) => "status",
            Self::Rollback(_) => "rollback",
            Self::Propose(_) => "propose",
            Self::Seed(_) => "seed",
            Self::Bench(_) => "bench",
            Self::Verify(_) => "verify",
        }
    }
}

/// Before anything is looked at: a format may show some commands only.
fn check_format(command: &Command, format: &str) -> anyhow::Result<()> {
    let wrong = crate::report::format(format).filter(|f| !f.shows(command.name()));
    let Some(wrong) = wrong else { return Ok(()) };
    let fits = crate::report::ALL
        .iter()
        .filter(|f| f.shows(command.name()));
    anyhow::bail!(
        "--format {format} shows {} only; `{}` can be shown as {}",
        wrong.commands.join(", "),
        command.name(),
        fits.map(|f| f.name).collect::<Vec<_>>().join(", ")
    )
}

/// Runs one command to its report.
pub async fn run(command: Command, context: &Context) -> anyhow::Result<Report> {
    check_format(&command, &context.global.format)?;
    match command {
        Command::Demo(args) => demo::run(args, context).await,
        Command::Audit(args) => audit::run(args, context).await,
        Command::Snapshot(args) => snapshot::run(args, context).await,
        Command::Rules(args) => rules::run(args, context).await,
        Command::Apply(args) => apply::run(args, context).await,
        Command::Status(args) => status::run(args, context).await,
        Command::Rollback(args) => rollback::run(args, context).await,
        Command::Propose(args) => propose::run(args, context).await,
        Command::Seed(args) => seed::run(args, context).await,
        Command::Bench(args) => bench::run(args, context).await,
        Command::Verify(args) => verify::run(args, context).await,
    }
}

/// Whether the environment asks for ASCII: the locale is C or POSIX by the first of `LC_ALL`, `LC_CTYPE` and `LANG` that is
/// set. Where none is, as on many CI servers, UTF-8 is printed.
pub fn is_ascii(env: &Env) -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| env.get(*name).filter(|value| !value.is_empty()))
        .is_some_and(|locale| matches!(locale.as_str(), "C" | "POSIX"))
}

/// Columns of the terminal on standard output; `None` where it is none.
pub fn terminal_width() -> Option<u16> {
    terminal_size::terminal_size().map(|(width, _)| width.0)
}
