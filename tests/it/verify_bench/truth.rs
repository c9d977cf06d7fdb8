//! Whether a change differs, found by running statements on a database without it and on one with it.
//!
//! Nothing here knows how dbtune decides: the database itself is asked, as each identity, and everything is rolled back.

use super::catalog::{Catalog, bare};
use super::change::Change;
use super::ground::{Ground, Identity};
use super::probes::{Block, blocks, value, whole};
use crate::server::Db;
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::Mutex;
use tokio_postgres::Client;

const PROBE: &str = include_str!("probe.sql");

/// What is known of a change.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Truth {
    /// The change cannot be made.
    Invalid(String),
    /// Somebody reads or writes other rows; a statement that shows it.
    Differs(String),
    /// Only the reason for which a statement is refused differs.
    RefusedOtherwise(String),
    /// Nothing that was tried shows a difference.
    NoneKnown,
}

/// Outcomes by identity and statement.
type Outcomes = BTreeMap<String, String>;

/// The side without a change: asked once for each subject.
pub(super) struct Before {
    db: Db,
    known: Mutex<BTreeMap<String, Outcomes>>,
}

/// What is asked: a relation of the ground with all that can be done to it, or a read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Table(usize),
    Read(String),
    /// Of a relation that the change makes.
    New(String),
}

/// What is asked first, because it is cheap and shows most, and what only where that shows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    AsTheyAre,
    RowByRow,
}

const PHASES: [Phase; 2] = [Phase::AsTheyAre, Phase::RowByRow];

impl Before {
    pub(super) async fn new(ground: &Ground) -> Self {
        Self {
            db: ground.copy().await,
            known: Mutex::default(),
        }
    }

    /// What is known of the side without a change; asked now where it is not.
    async fn of(&self, ground: &Ground, subject: &Subject, phase: Phase) -> Outcomes {
        let key = format!("{subject:?} {phase:?}");
        let mut known = self.known.lock().await;
        if !known.contains_key(&key) {
            let mut found = Outcomes::new();
            for who in &ground.identities {
                let subjects = std::slice::from_ref(subject);
                found.extend(ask(ground, &self.db, None, subjects, who, phase).await);
            }
            known.insert(key.clone(), found);
        }
        known[&key].clone()
    }
}

/// Judges `change` on `db`, a copy that is left as it was.
pub(super) async fn truth(ground: &Ground, before: &Before, db: &Db, change: &Change) -> Truth {
    let about = if change.about.is_empty() {
        let all = ground.tables.iter().map(|t| t.relation.name.clone());
        all.collect()
    } else {
        change.about.clone()
    };
    let mut subjects = subjects(ground, &ground.catalog.reached(&about), change);
    match reached_now(ground, db, &about, change).await {
        Err(why) => return Truth::Invalid(why),
        Ok(reached) => {
            for subject in reached {
                if !subjects.contains(&subject) {
                    subjects.push(subject);
                }
            }
        }
    }
    let mut found = Truth::NoneKnown;
    for phase in PHASES {
        let mut outcomes = Outcomes::new();
        for subject in &subjects {
            outcomes.extend(before.of(ground, subject, phase).await);
        }
        for who in &ground.identities {
            let after = ask(ground, db, Some(change), &subjects, who, phase).await;
            match compare(&outcomes, &after) {
                Truth::Differs(line) => return Truth::Differs(line),
                Truth::NoneKnown => {}
                other => found = other,
            }
        }
    }
    found
}

/// Makes `change` as the owner, in a transaction that whoever asks gives up.
async fn make(client: &Client, ground: &Ground, change: &Change) -> Result<(), String> {
    let sql = format!(
        "begin; set local role {};\n{}\n;set local role none",
        ground.scheme.owner, change.sql
    );
    client.batch_execute(&sql).await.map_err(|error| {
        let message = error.as_db_error().map(|e| e.message().to_owned());
        message.unwrap_or(error.to_string())
    })
}

/// What there is to ask for after `change`, where it may lead to more than what was there did.
async fn reached_now(
    ground: &Ground,
    db: &Db,
    about: &[String],
    change: &Change,
) -> Result<Vec<Subject>, String> {
    let client = db.client().await;
    make(&client, ground, change).await?;
    let catalog = Catalog::read(&client).await;
    client.batch_execute("rollback").await.unwrap();
    let mut found = subjects(ground, &catalog.reached(about), change);
    let known: BTreeSet<&String> = ground.catalog.relations.iter().map(|r| &r.name).collect();
    // What asks as its caller shows nobody more than he reads himself.
    let new = catalog
        .relations
        .iter()
        .filter(|r| !known.contains(&r.name) && !r.asks_as_caller);
    found.extend(new.map(|r| Subject::New(r.name.clone())));
    Ok(found)
}

fn subjects(ground: &Ground, reached: &BTreeSet<String>, change: &Change) -> Vec<Subject> {
    let tables = ground.tables.iter().enumerate();
    let tables = tables.filter(|(_, t)| reached.contains(bare(&t.relation.name)));
    let mut found: Vec<Subject> = tables.map(|(at, _)| Subject::Table(at)).collect();
    let reads = ground.scheme.reads.iter().map(|r| (*r).to_owned());
    found.extend(reads.chain(change.reads.iter().cloned()).map(Subject::Read));
    found
}

/// The outcomes of `subjects` in `db` as `who`, where `change` has been made.
async fn ask(
    ground: &Ground,
    db: &Db,
    change: Option<&Change>,
    subjects: &[Subject],
    who: &Identity,
    phase: Phase,
) -> Outcomes {
    let mut outcomes = Outcomes::new();
    let mut blocks_of: Vec<Block> = Vec::new();
    for subject in subjects {
        blocks_of.extend(match subject {
            Subject::Table(at) => blocks(ground, &ground.tables[*at], who),
            Subject::Read(sql) => vec![value(sql)],
            Subject::New(name) => vec![whole(name)],
        });
    }
    blocks_of.retain(|block| block.prepare.is_some() == (phase == Phase::RowByRow));
    if blocks_of.is_empty() {
        return outcomes;
    }
    let client = session(db, who).await;
    if let Some(change) = change {
        make(&client, ground, change).await.unwrap();
    }
    for block in &blocks_of {
        sweep(&client, who, block, &mut outcomes).await;
    }
    if change.is_some() {
        // The next one waits for no lock.
        client.batch_execute("rollback").await.unwrap();
    }
    outcomes
}

/// A connection of the superuser with the settings of `who`, so that a setting that `who` never made was never made.
async fn session(db: &Db, who: &Identity) -> Client {
    let client = db.client().await;
    client.batch_execute("set statement_timeout = '120s'; set max_parallel_workers_per_gather = 0; set jit = off").await.unwrap();
    client.batch_execute(PROBE).await.unwrap();
    for (name, value) in &who.settings {
        client
            .query("select set_config($1, $2, false)", &[name, value])
            .await
            .unwrap();
    }
    client
}

async fn sweep(client: &Client, who: &Identity, block: &Block, outcomes: &mut Outcomes) {
    let said: Vec<&str> = block.probes.iter().map(|p| p.said.as_str()).collect();
    let look: Vec<Option<&str>> = block.probes.iter().map(|p| p.look.as_deref()).collect();
    let is_read: Vec<bool> = block.probes.iter().map(|p| p.is_read).collect();
    let asked = client
        .query_one(
            "select pg_temp.sweep($1, $2, $3, $4, $5)",
            &[&who.role, &block.prepare, &said, &look, &is_read],
        )
        .await;
    let state = block.prepare.as_deref().map_or(String::new(), |p| {
        let begins: String = p.chars().take(120).collect();
        format!(" after {begins} … ({:x})", super::mixed(p))
    });
    let came: Vec<Option<String>> = asked.unwrap().get(0);
    for (probe, came) in block.probes.iter().zip(came) {
        let key = format!("{}: {}{state}", who.name, probe.said);
        outcomes.insert(key, came.unwrap_or_default());
    }
}

fn compare(before: &Outcomes, after: &Outcomes) -> Truth {
    let refused = |outcome: &str| outcome.starts_with("error ");
    // What is not there and what may not be asked give no row, and neither does what is there and is empty.
    let nothing =
        |outcome: &str| refused(outcome) || outcome.starts_with("0 rows") || outcome == "0";
    let mut found = Truth::NoneKnown;
    for (key, after) in after {
        let Some(before) = before.get(key) else {
            panic!("not asked before the change: {key}");
        };
        if before == after {
            continue;
        }
        let line = format!("{key}: {} -> {}", short(before), short(after));
        if !(nothing(before) && nothing(after)) {
            return Truth::Differs(line);
        }
        found = Truth::RefusedOtherwise(line);
    }
    found
}

fn short(outcome: &str) -> String {
    outcome.chars().take(60).collect()
}
