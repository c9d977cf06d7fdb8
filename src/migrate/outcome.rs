//! How a run is set up and how it ends.

use super::event::Interrupt;
use super::gain::{Gain, Verdict};
use super::plan::{Direction, Forward};
use super::problem::Problem;
use crate::db;
use std::fmt;
use std::time::Duration;

/// What a run may cost other sessions, and how patient it is.
#[derive(Clone, Debug)]
pub struct Options {
    /// The longest that a statement waits for a lock that writers queue up behind.
    pub lock_timeout: Duration,
    /// The longest that a concurrent build waits for other transactions at a time; nobody queues up behind it.
    pub build_timeout: Duration,
    /// How long to go on trying after giving way.
    pub retry_for: Duration,
    /// How long to wait for another runner to end.
    pub wait_for_runner: Duration,
    pub forward: Forward,
    /// Drop indexes at once instead of concurrently.
    pub now: bool,
    /// End sessions that stand in the way while idle in a transaction.
    pub kill_blockers: bool,
    /// Pause before a step while a replica is further behind than this.
    pub max_replica_lag: Option<Duration>,
    /// End a build during which a replica falls further behind than that; else it only is told.
    pub stop_on_lag: bool,
    /// Begin even where the disk seems too small for the new indexes.
    pub ignore_disk: bool,
    /// Whose plans show what a new index is good for.
    pub gain: Option<Gain>,
    pub interrupt: Interrupt,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lock_timeout: Duration::from_secs(2),
            build_timeout: Duration::from_mins(30),
            retry_for: Duration::from_mins(5),
            wait_for_runner: Duration::from_hours(1),
            forward: Forward::default(),
            now: false,
            kill_blockers: false,
            max_replica_lag: None,
            stop_on_lag: false,
            ignore_disk: false,
            gain: None,
            interrupt: Interrupt::never(),
        }
    }
}

/// One migration that was applied or taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    pub label: String,
    pub direction: Direction,
    pub took: Duration,
}

/// A run that did everything it was asked to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    pub done: Vec<Done>,
    /// On the new indexes, newest first; empty where nobody asked.
    pub verdicts: Vec<Verdict>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// A run that did not.
#[derive(Debug)]
pub struct Stop {
    pub reason: Reason,
    /// What it did before.
    pub done: Vec<Done>,
    /// The migration it stopped in the middle of, where a part of it is in the database.
    pub half_way: Option<String>,
    /// The command to type next.
    pub next: Option<String>,
}

#[derive(Debug)]
pub enum Reason {
    /// Nothing was begun.
    Problems(Vec<Problem>),
    /// The server refused a statement of `label`.
    Failed {
        label: Option<String>,
        error: db::Error,
    },
    /// Told to stop; the exit code that the signal stands for.
    Interrupted(u8),
}

impl Stop {
    /// Whether the database is other than it was.
    pub fn changed(&self) -> bool {
        !self.done.is_empty() || self.half_way.is_some()
    }

    pub(super) fn problems(problems: Vec<Problem>) -> Self {
        Self {
            reason: Reason::Problems(problems),
            done: Vec::new(),
            half_way: None,
            next: None,
        }
    }
}

impl From<db::Error> for Stop {
    fn from(error: db::Error) -> Self {
        Self {
            reason: Reason::Failed { label: None, error },
            done: Vec::new(),
            half_way: None,
            next: None,
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Problems(problems) => {
                write!(
                    f,
                    "nothing was changed, because of {} problem(s):",
                    problems.len()
                )?;
                for problem in problems {
                    write!(f, "\n  {problem}")?;
                }
            }
            Reason::Failed {
                label: Some(label),
                error,
            } => write!(f, "{label}: {error}")?,
            Reason::Failed { label: None, error } => error.fmt(f)?,
            Reason::Interrupted(_) => f.write_str("stopped on request")?,
        }
        if !self.done.is_empty() {
            let labels: Vec<&str> = self.done.iter().map(|d| d.label.as_str()).collect();
            write!(f, "\n  Done before it stopped: {}.", labels.join(", "))?;
        }
        match &self.half_way {
            Some(label) => write!(f, "\n  A part of {label} is in the database.")?,
            None if self.done.is_empty() => f.write_str("\n  Nothing was changed.")?,
            None => {}
        }
        if let Some(next) = &self.next {
            write!(f, "\n  Next: {next}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Stop {}
