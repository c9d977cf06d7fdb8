//! What a folder of migrations makes of an empty database, and which line made what.

use super::From;
use crate::cli::{CANNOT, Context, Failure, given, migrating};
use crate::db::throwaway::{Options, Throwaway};
use crate::db::{Error, Made, Recorder, Session, Target, read_catalog};
use crate::migrate::{Entry, Folder, Layout};
use crate::model::{Catalog, Finding, Gap, Name, Object, ObjectKind, Origin};
use crate::rules::{self, Category};
use crate::sql::columns::columns_made;
use crate::sql::script::{self, Kind, Statement};
use anyhow::Context as _;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const DATABASE: &str = "migrations";

/// What migrations lean on without making it, least first, and what is in it.
const STANDINS: [(&str, &str); 2] = [
    (
        include_str!("standins/roles.sql"),
        "the roles anon, authenticated, authenticator and service_role",
    ),
    (
        include_str!("standins/platform.sql"),
        "the schemas auth, storage and extensions with auth.uid(), auth.jwt(), auth.users and the like",
    ),
];

/// Something that a statement names is not there: schema, object, function, table.
const MISSING: [&str; 4] = ["3F000", "42704", "42883", "42P01"];

/// Applies the folder to a database of its own and reads what came of it.
pub(super) async fn build(
    folder: &Path,
    from: &From,
    context: &Context,
) -> anyhow::Result<(Catalog, Origins, Vec<Gap>)> {
    let layout = Layout::named(&from.layout).unwrap_or_default();
    let folder = Folder::read_as(folder, layout).map_err(|p| migrating::refused(&p))?;
    let scripts = folder
        .entries
        .iter()
        .map(read)
        .collect::<Result<Vec<_>, _>>()?;
    let bootstrap = from.bootstrap.as_deref().map(given::read).transpose()?;

    let task = context.progress.start("throwaway server", 0);
    let server = Throwaway::start(Options::from_env(&context.env)?).await?;
    drop(task);
    let admin = connect(&server, "postgres", context).await?;
    // Not a copy of template1, which has extensions that migrations may want to create themselves.
    let sql = format!("create database {DATABASE} template template0");
    admin.execute("create a database", &sql).await?;
    let session = connect(&server, DATABASE, context).await?;
    let recorder = Recorder::begin(&session).await?;
    let mut build = Build {
        session: &session,
        recorder: &recorder,
        standins: if bootstrap.is_some() { &[] } else { &STANDINS },
        used: Vec::new(),
    };
    if let (Some(sql), Some(path)) = (&bootstrap, &from.bootstrap) {
        let doing = format!("run {}", path.display());
        session.execute(&doing, sql).await?;
    }
    let mut own_roles = roles(&session).await?;
    // There they are in every database, before the first migration.
    while layout == Layout::Supabase && build.stand_in(&mut own_roles).await? {}
    let mut task = context.progress.start("migrations", scripts.len() as u64);
    for (number, script) in scripts.iter().enumerate() {
        task.advance(number as u64, scripts.len() as u64, &script.file);
        build.apply(number, script, &mut own_roles).await?;
    }
    drop(task);
    let used = build.used;
    let made = recorder.end().await?;
    let catalog = read_catalog(&session).await?;
    drop((session, admin));
    server.stop().await?;
    let mut gaps = vec![empty()];
    gaps.extend((!used.is_empty()).then(|| stood_in(&used)));
    Ok((catalog, Origins::new(&scripts, &made, own_roles), gaps))
}

async fn connect(server: &Throwaway, database: &str, context: &Context) -> anyhow::Result<Session> {
    let url = server.url(database, server.superuser());
    let target = Target::resolve(Some(&url), &context.env)?;
    Ok(Session::connect(&target, "audit").await?)
}

async fn roles(session: &Session) -> anyhow::Result<BTreeSet<String>> {
    let sql = "select rolname::text from pg_catalog.pg_roles";
    Ok(session
        .texts("read roles", sql)
        .await?
        .into_iter()
        .collect())
}

/// A file, taken apart.
struct Script {
    file: String,
    statements: Vec<Statement>,
    in_transaction: bool,
}

fn read(entry: &Entry) -> Result<Script, Failure> {
    let fail = |line: usize, message: &str| Failure {
        code: CANNOT,
        message: format!("{}:{}: {message}", entry.up_file, entry.up_line(line)),
    };
    let script = &entry.migration.up;
    let mut statements = script::parse(&script.sql).map_err(|p| fail(p.line, &p.message))?;
    if let Some(copy) = statements.iter().find(|s| s.kind == Kind::NeedsInput) {
        let message = "COPY from the client: a migration has no rows to send";
        return Err(fail(copy.line, message));
    }
    for statement in &mut statements {
        statement.line = entry.up_line(statement.line);
    }
    let alone = |s: &Statement| s.kind == Kind::TransactionControl || s.kind.needs_no_transaction();
    Ok(Script {
        file: entry.up_file.clone(),
        in_transaction: !script.no_transaction && !statements.iter().any(alone),
        statements,
    })
}

struct Build<'a> {
    session: &'a Session,
    recorder: &'a Recorder<'a>,
    /// Those not made yet.
    standins: &'a [(&'static str, &'static str)],
    used: Vec<&'static str>,
}

impl Build<'_> {
    /// Runs one file; where it misses something, again with a stand-in for what platforms have.
    async fn apply(
        &mut self,
        number: usize,
        script: &Script,
        own_roles: &mut BTreeSet<String>,
    ) -> anyhow::Result<()> {
        loop {
            let Err((line, error)) = self.run(number, script).await else {
                return Ok(());
            };
            let missing = error
                .sqlstate
                .as_deref()
                .is_some_and(|s| MISSING.contains(&s));
            if !missing || !self.stand_in(own_roles).await? {
                let advice = if missing {
                    "\nIf this is not made by a migration but was there before them, make it with --bootstrap FILE (SQL)."
                } else {
                    ""
                };
                let message = format!("{}:{line}: {error}{advice}", script.file);
                return Err(Failure {
                    code: CANNOT,
                    message,
                })
                .context("the migrations cannot be applied");
            }
        }
    }

    /// Makes the next of the stand-ins; false where none is left.
    async fn stand_in(&mut self, own_roles: &mut BTreeSet<String>) -> anyhow::Result<bool> {
        let Some(((sql, what), rest)) = self.standins.split_first() else {
            return Ok(false);
        };
        let before = roles(self.session).await?;
        self.recorder.label("").await?;
        self.session
            .execute("make what platforms have", sql)
            .await?;
        own_roles.extend(roles(self.session).await?.difference(&before).cloned());
        self.used.push(what);
        self.standins = rest;
        Ok(true)
    }

    /// The line of the statement that failed, and how.
    async fn run(&self, number: usize, script: &Script) -> Result<(), (usize, Error)> {
        let start = |e: Error| (1, e);
        // Each file in a session as new.
        for sql in ["reset session authorization", "reset role", "reset all"] {
            self.session
                .execute("set up the session", sql)
                .await
                .map_err(start)?;
        }
        if script.in_transaction {
            self.session
                .execute("begin", "begin")
                .await
                .map_err(start)?;
        }
        for (at, statement) in script.statements.iter().enumerate() {
            let ran = async {
                self.recorder.label(&format!("{number}:{at}")).await?;
                self.session.execute("apply it", &statement.sql).await
            };
            if let Err(error) = ran.await {
                // Outside a transaction this is a warning of the server's.
                let _ = self.session.execute("end", "rollback").await;
                return Err((statement.line, error));
            }
        }
        if script.in_transaction {
            let last = script.statements.last().map_or(1, |s| s.line);
            let committed = self.session.execute("commit it", "commit").await;
            committed.map_err(|e| (last, e))?;
        }
        Ok(())
    }
}

fn empty() -> Gap {
    Gap {
        what: "rows, use and settings".to_owned(),
        why: "the migrations were audited on an empty database: what depends on the size of a table, on statistics, \
              on traffic or on how the server is set up is not judged"
            .to_owned(),
        remedy: Some("dbtune audit --db URL".to_owned()),
    }
}

fn stood_in(used: &[&str]) -> Gap {
    Gap {
        what: "what the platform has".to_owned(),
        why: format!(
            "the migrations need it and do not make it, so there were stand-ins: {}",
            used.join("; ")
        ),
        remedy: Some("Name SQL that makes the real ones with --bootstrap FILE.".to_owned()),
    }
}

/// Which line made what.
pub(super) struct Origins {
    /// By object, in the order of the statements.
    places: BTreeMap<Object, Vec<Place>>,
    /// What is there without any migration.
    given: BTreeSet<Object>,
    own_roles: BTreeSet<String>,
}

#[derive(Clone)]
struct Place {
    origin: Origin,
    columns: BTreeSet<String>,
}

impl Origins {
    fn new(scripts: &[Script], made: &[Made], own_roles: BTreeSet<String>) -> Self {
        let mut places: BTreeMap<Object, Vec<Place>> = BTreeMap::new();
        let mut given = BTreeSet::new();
        for one in made {
            match place(scripts, &one.at) {
                Some(place) => places.entry(one.object.clone()).or_default().push(place),
                None => {
                    given.insert(one.object.clone());
                }
            }
        }
        given.retain(|object| !places.contains_key(object));
        Self {
            places,
            given,
            own_roles,
        }
    }

    /// Gives each finding the line that made its object; drops those that are about the throwaway server and what
    /// stands in for a platform.
    pub(super) fn place(&self, findings: &mut Vec<Finding>) {
        findings.retain(|f| !self.is_given(f));
        for finding in findings {
            finding.origin = self.of(&finding.object);
        }
    }

    fn is_given(&self, finding: &Finding) -> bool {
        let object = &finding.object;
        match object.kind {
            ObjectKind::Statement => true,
            ObjectKind::Role => self.own_roles.contains(&object.name.name),
            ObjectKind::Database => {
                rules::find(&finding.rule).is_none_or(|r| r.category != Category::Safety)
            }
            ObjectKind::Function | ObjectKind::Index => {
                self.given.contains(&whole(object.kind, &object.name))
            }
            ObjectKind::Table | ObjectKind::Column | ObjectKind::Policy => {
                self.given.contains(&whole(ObjectKind::Table, &object.name))
                    && !self.places.contains_key(object)
            }
        }
    }

    fn of(&self, object: &Object) -> Option<Origin> {
        let table = || self.places.get(&whole(ObjectKind::Table, &object.name));
        let found = match object.kind {
            // The last to change it wrote what is there now.
            ObjectKind::Policy => self.places.get(object)?.last(),
            ObjectKind::Function => self.places.get(&whole(object.kind, &object.name))?.last(),
            ObjectKind::Index => self.places.get(&whole(object.kind, &object.name))?.first(),
            ObjectKind::Table => table()?.first(),
            ObjectKind::Column => {
                let column = object.part.as_deref()?;
                let places = table()?;
                let named = places.iter().rfind(|p| p.columns.contains(column));
                named.or_else(|| places.first())
            }
            ObjectKind::Role | ObjectKind::Statement | ObjectKind::Database => None,
        };
        found.map(|place| place.origin.clone())
    }
}

fn whole(kind: ObjectKind, name: &Name) -> Object {
    Object {
        kind,
        name: name.clone(),
        part: None,
    }
}

/// The statement that a label names: `file:statement`, both by number.
fn place(scripts: &[Script], label: &str) -> Option<Place> {
    let (file, statement) = label.split_once(':')?;
    let script = scripts.get(file.parse::<usize>().ok()?)?;
    let statement = script.statements.get(statement.parse::<usize>().ok()?)?;
    Some(Place {
        origin: Origin {
            file: script.file.clone(),
            line: statement.line,
        },
        columns: columns_made(&statement.sql),
    })
}
