//! What `apply` and `rollback` tell while they work and when they end.

use super::progress::{Progress, Task};
use super::{CANNOT, Failure, HALF_WAY};
use crate::migrate::{Direction, Event, Interrupt, Interrupter, Outcome, Problem, Reason, Stop};
use crate::model::{Block, Grid, Report};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Turns events into progress on standard error, and lines in the audit file.
pub(super) struct Teller<'a> {
    progress: &'a Progress,
    action: &'static str,
    audit: Option<File>,
    task: Option<Task>,
    /// The build's phase, and since when.
    phase: (String, Instant),
}

impl<'a> Teller<'a> {
    pub(super) fn new(
        progress: &'a Progress,
        action: &'static str,
        audit: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let open = |path: &Path| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.map_err(|e| Failure {
                code: CANNOT,
                message: format!("could not open {}: {e}", path.display()),
            })
        };
        Ok(Self {
            progress,
            action,
            audit: audit.map(open).transpose()?,
            task: None,
            phase: (String::new(), Instant::now()),
        })
    }

    pub(super) fn tell(&mut self, event: Event<'_>) {
        match event {
            Event::Begun {
                label,
                number,
                total,
                direction,
            } => {
                let verb = match direction {
                    Direction::Up => "apply",
                    Direction::Down => "take back",
                };
                let title = format!("[{number}/{total}] {verb} {label}");
                self.task = Some(self.progress.start(&title, 0));
            }
            Event::Done { label, took } => {
                self.task = None;
                self.progress
                    .say(&format!("  {label}: done in {:.1} s", took.as_secs_f64()));
                self.audit(label, "done", Some(took), None);
            }
            Event::Note(text) => self.progress.say(text),
            Event::Ended(blocker) => self.progress.say(&format!("ended {blocker}")),
            Event::WaitingForRunner(Some(holder)) => self.progress.say(&format!(
                "another runner is at work in this database: {holder}; waiting …"
            )),
            Event::WaitingForRunner(None) => self
                .progress
                .say("another runner is at work in this database; waiting …"),
            Event::Statement { .. } => {}
            Event::Blocked(blockers) => {
                let who: Vec<String> = blockers.iter().map(ToString::to_string).collect();
                self.doing(&format!("waits for {}", who.join("; ")));
            }
            Event::Building(build) => {
                let text = self.build(build);
                self.doing(&text);
            }
            Event::Retry { reason, after } => self.doing(&format!(
                "gave way ({reason}); again in {:.1} s",
                after.as_secs_f64()
            )),
            Event::Cleaning(index) => self.doing(&format!("drops the unfinished index {index}")),
        }
    }

    fn doing(&mut self, text: &str) {
        match &mut self.task {
            Some(task) => task.note(text),
            None => self.progress.say(text),
        }
    }

    fn build(&mut self, build: &crate::db::Build) -> String {
        if self.phase.0 != build.phase {
            self.phase = (build.phase.clone(), Instant::now());
        }
        let mut text = build.phase.clone();
        if let Some(percent) = (build.done * 100).checked_div(build.total) {
            text = format!("{text}: {percent} %");
            let left = build.total.saturating_sub(build.done);
            let spent = u64::try_from(self.phase.1.elapsed().as_millis()).unwrap_or(u64::MAX);
            if let Some(eta) = spent
                .saturating_mul(left)
                .checked_div(build.done)
                .filter(|e| *e > 1000)
            {
                text = format!("{text}, about {} s left", eta / 1000);
            }
        }
        match build.waits_for {
            Some(pid) => format!("{text}, waits for pid {pid}"),
            None => text,
        }
    }

    /// The outcome, or the failure with its exit code; the audit file is told either way.
    pub(super) fn finish(mut self, ended: Result<Outcome, Stop>) -> anyhow::Result<Outcome> {
        self.task = None;
        match ended {
            Ok(outcome) => Ok(outcome),
            Err(stop) => {
                let label = match &stop.reason {
                    Reason::Failed {
                        label: Some(label), ..
                    } => label.clone(),
                    _ => stop.half_way.clone().unwrap_or_default(),
                };
                let outcome = match stop.reason {
                    Reason::Interrupted(_) => "cancelled",
                    _ => "failed",
                };
                self.audit(&label, outcome, None, Some(&stop));
                Err(failure(&stop))
            }
        }
    }

    fn audit(&mut self, label: &str, outcome: &str, took: Option<Duration>, stop: Option<&Stop>) {
        let Some(file) = &mut self.audit else { return };
        let line = serde_json::json!({
            "at": chrono::Utc::now().to_rfc3339(),
            "tool": concat!("dbtune ", env!("CARGO_PKG_VERSION")),
            "action": self.action,
            "migration": label,
            "outcome": outcome,
            "milliseconds": took.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX)),
            "error": stop.map(ToString::to_string),
        });
        if let Err(error) = writeln!(file, "{line}") {
            self.progress
                .say(&format!("could not write to the audit file: {error}"));
        }
    }
}

/// 4 where the database was changed, the signal's own code where it was not, else 2.
pub(super) fn failure(stop: &Stop) -> anyhow::Error {
    let code = match stop.reason {
        _ if stop.changed() => HALF_WAY,
        Reason::Interrupted(code) => code,
        _ => CANNOT,
    };
    anyhow::Error::new(Failure {
        code,
        message: stop.to_string(),
    })
}

pub(super) fn refused(problems: &[Problem]) -> anyhow::Error {
    let lines: Vec<String> = problems.iter().map(|p| format!("\n  {p}")).collect();
    anyhow::Error::new(Failure {
        code: CANNOT,
        message: format!("the migrations cannot be read:{}", lines.concat()),
    })
}

/// Comes with SIGINT (130) or SIGTERM (143).
pub(super) fn interrupt() -> anyhow::Result<Interrupt> {
    use tokio::signal::unix::{SignalKind, signal};
    let (interrupter, interrupt) = Interrupter::new();
    let mut int = signal(SignalKind::interrupt())?;
    let mut term = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        let code = tokio::select! {
            _ = int.recv() => 130,
            _ = term.recv() => 143,
        };
        interrupter.stop(code);
        // Kept, so that the run does not take its end for a change of mind.
        std::future::pending::<()>().await;
    });
    Ok(interrupt)
}

pub(super) fn report(command: &str, verb: &str, outcome: &Outcome) -> Report {
    let mut report = Report::new(command, String::new());
    if !outcome.done.is_empty() {
        let mut grid = Grid::new(&["Migration", "Took"], &["Took"]);
        for done in &outcome.done {
            let took = format!("{:.2} s", done.took.as_secs_f64());
            let label = match done.direction {
                Direction::Down if command == "apply" => format!("{} (taken back)", done.label),
                _ => done.label.clone(),
            };
            grid.rows.push(vec![label.into(), took.into()]);
        }
        report.blocks.push(Block::Table(grid));
    }
    if !outcome.notes.is_empty() {
        report.blocks.push(Block::Text(outcome.notes.join("\n")));
    }
    let done: Vec<serde_json::Value> = outcome
        .done
        .iter()
        .filter(|d| command != "apply" || d.direction == Direction::Up)
        .map(|d| {
            serde_json::json!({
                "migration": d.label,
                "milliseconds": u64::try_from(d.took.as_millis()).unwrap_or(u64::MAX),
            })
        })
        .collect();
    report.data = serde_json::json!({ verb: done, "notes": outcome.notes });
    report
}
