//! The program's word on each change, beside the truth.

use super::change::{Change, Meant};
use super::ground::Ground;
use super::truth::{Before, Truth, truth};
use crate::server::{self, Db};
use futures_util::future::join_all;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A run that takes longer is stuck.
const PATIENCE: Duration = Duration::from_mins(5);

pub(super) struct Options {
    pub(super) most: Option<usize>,
    words: Vec<String>,
    at_once: usize,
    program: PathBuf,
    keep: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self::from(&BTreeMap::new())
    }
}

impl Options {
    pub(super) fn from(environment: &BTreeMap<String, String>) -> Self {
        let given = |name: &str| environment.get(&format!("DBTUNE_VERIFY_{name}")).cloned();
        let changes = given("CHANGES").unwrap_or_default();
        let asked = changes.split(',').map(str::trim).filter(|w| !w.is_empty());
        let (numbers, words): (Vec<&str>, Vec<&str>) =
            asked.partition(|w| w.parse::<usize>().is_ok());
        Self {
            most: numbers.first().map(|n| n.parse().unwrap()),
            words: words.into_iter().map(str::to_owned).collect(),
            at_once: given("AT_ONCE").map_or(2, |n| n.parse().unwrap()),
            program: given("PROGRAM")
                .map_or(PathBuf::from(env!("CARGO_BIN_EXE_dbtune")), PathBuf::from),
            keep: given("KEEP").map(PathBuf::from),
        }
    }

    /// Whether anything of the schema `name`, one of `schemas`, is asked for.
    pub(super) fn wants(&self, name: &str, schemas: &[&str]) -> bool {
        let mut named = self
            .words
            .iter()
            .filter(|w| schemas.contains(&w.as_str()))
            .peekable();
        named.peek().is_none() || named.any(|w| w == name)
    }

    /// Those of `changes` that hold one of the words asked for, the names of `schemas` aside; all where there is none.
    pub(super) fn choose(&self, schemas: &[&str], mut changes: Vec<Change>) -> Vec<Change> {
        let words: Vec<&String> = self
            .words
            .iter()
            .filter(|w| !schemas.contains(&w.as_str()))
            .collect();
        changes.retain(|c| {
            words.is_empty()
                || words
                    .iter()
                    .any(|w| c.kind.contains(w.as_str()) || c.sql.contains(w.as_str()))
        });
        changes
    }
}

/// How a run of the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Code(i32),
    Signal,
    Stuck,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Right,
    /// The change differs, and passed.
    Missed,
    /// The change is equal by construction, and was called different.
    Accused,
    /// Exit code 2, a signal, no end.
    Broken,
    /// Called different where nothing that was tried differs: to be looked at.
    Doubtful,
    /// A change that is equal by construction differs: the generator is wrong.
    Miswritten,
}

pub(super) struct Found {
    pub(super) change: Change,
    pub(super) truth: Truth,
    pub(super) end: End,
    pub(super) judgement: Judgement,
    pub(super) said: String,
    pub(super) seconds: f64,
}

fn judged(change: &Change, truth: &Truth, end: End) -> Judgement {
    let differs = matches!(truth, Truth::Differs(_));
    match (end, differs, change.meant) {
        (_, true, Meant::Equal) => Judgement::Miswritten,
        (End::Code(0), true, Meant::Mutation) => Judgement::Missed,
        (End::Code(1), false, Meant::Equal) => Judgement::Accused,
        (End::Code(1), false, Meant::Mutation) => Judgement::Doubtful,
        (End::Code(0 | 1 | 3), _, _) => Judgement::Right,
        _ => Judgement::Broken,
    }
}

/// Judges `changes`, some side by side; those that touch the whole server last and alone. Changes that cannot be made are left out.
pub(super) async fn judge(ground: &Ground, changes: Vec<Change>, options: &Options) -> Vec<Found> {
    let before = Before::new(ground).await;
    let (alone, together): (Vec<_>, Vec<_>) = changes.into_iter().partition(|c| c.undo.is_some());
    let known = RefCell::new(Known::read(options));
    let mut found = Vec::new();
    for (changes, lanes) in [(together, options.at_once), (alone, 1)] {
        let (next, total) = (Cell::new(0), changes.len());
        let lane = async || {
            let (asked, shown) = (ground.copy().await, ground.shown().await);
            let mut found = Vec::new();
            while let Some(change) = changes.get(next.replace(next.get() + 1)) {
                let at = next.get();
                if let Some(one) =
                    one(ground, &before, (&asked, &shown), change, options, &known).await
                {
                    let line = format!(
                        "{} {at}/{total} {:?} {:?} {:.1} s: {} {}",
                        ground.scheme.name,
                        one.judgement,
                        one.end,
                        one.seconds,
                        change.kind,
                        flat(&change.sql)
                    );
                    tell(&line);
                    found.push(one);
                }
            }
            server::remove(&asked).await;
            server::remove(&shown).await;
            found
        };
        found.extend(
            join_all((0..lanes).map(|_| lane()))
                .await
                .into_iter()
                .flatten(),
        );
    }
    found
}

async fn one(
    ground: &Ground,
    before: &Before,
    (asked, shown): (&Db, &Db),
    change: &Change,
    options: &Options,
    known: &RefCell<Known>,
) -> Option<Found> {
    let key = format!("{} {}", ground.scheme.name, change.sql);
    let had = known.borrow().truths.get(&key).cloned();
    let truth = match had {
        Some(truth) => truth,
        None => truth(ground, before, asked, change).await,
    };
    known.borrow_mut().learn(key, &truth);
    if let Truth::Invalid(why) = &truth {
        assert!(
            change.meant == Meant::Mutation,
            "cannot be made: {why}\n{}",
            change.sql
        );
        return None;
    }
    let begun = Instant::now();
    let (end, said) = run(ground, shown, change, options).await;
    if let Some(undo) = &change.undo {
        let client = shown.client().await;
        client.batch_execute(undo).await.unwrap();
        server::close(client, &shown.name).await;
    }
    let found = Found {
        judgement: judged(change, &truth, end),
        change: change.clone(),
        truth,
        end,
        said,
        seconds: begun.elapsed().as_secs_f64(),
    };
    known.borrow().note(ground.scheme.name, &found);
    Some(found)
}

async fn run(ground: &Ground, shown: &Db, change: &Change, options: &Options) -> (End, String) {
    let folder = tempfile::tempdir().unwrap();
    let migrations = folder.path().join("migrations");
    std::fs::create_dir(&migrations).unwrap();
    std::fs::write(
        migrations.join("20990101000000_change.up.sql"),
        format!("{}\n", change.sql),
    )
    .unwrap();
    let workload = folder.path().join("workload.yaml");
    std::fs::write(&workload, ground.scheme.workload).unwrap();
    let mut command = tokio::process::Command::new(&options.program);
    command
        .args([
            "verify",
            "--format",
            "json",
            "-q",
            "--db",
            &shown.url_as(ground.scheme.owner),
        ])
        .arg("--workload")
        .arg(&workload)
        .arg("--migrations")
        .arg(&migrations)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let Ok(output) = tokio::time::timeout(PATIENCE, command.output()).await else {
        return (End::Stuck, String::new());
    };
    let output = output.unwrap();
    let said = format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    (output.status.code().map_or(End::Signal, End::Code), said)
}

#[expect(clippy::print_stderr, reason = "a run takes an hour")]
fn tell(line: &str) {
    eprintln!("{line}");
}

/// On one line.
pub(super) fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What earlier runs found, and where to leave what this one finds.
struct Known {
    folder: Option<PathBuf>,
    truths: BTreeMap<String, Truth>,
}

impl Known {
    fn read(options: &Options) -> Self {
        let folder = options.keep.clone();
        let text = folder
            .as_ref()
            .and_then(|f| std::fs::read_to_string(f.join("truth.jsonl")).ok())
            .unwrap_or_default();
        let truths = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        Self { folder, truths }
    }

    fn append(&self, file: &str, line: &str) {
        let Some(folder) = &self.folder else { return };
        std::fs::create_dir_all(folder).unwrap();
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join(file))
            .unwrap();
        writeln!(file, "{line}").unwrap();
    }

    fn learn(&mut self, key: String, truth: &Truth) {
        if !self.truths.contains_key(&key) {
            self.append(
                "truth.jsonl",
                &serde_json::to_string(&(&key, truth)).unwrap(),
            );
            self.truths.insert(key, truth.clone());
        }
    }

    fn note(&self, schema: &str, found: &Found) {
        let line = serde_json::json!({
            "schema": schema, "kind": found.change.kind, "sql": found.change.sql, "truth": found.truth,
            "end": format!("{:?}", found.end), "judgement": format!("{:?}", found.judgement),
            "seconds": found.seconds, "said": found.said,
        });
        self.append("found.jsonl", &line.to_string());
    }
}
