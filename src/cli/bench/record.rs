//! `dbtune bench record`

use crate::cli::Context;
use crate::db::{Defaults, Limits, Session, read_catalog, read_statements, resolve};
use crate::model::{
    Catalog, Gap, ParamSpec, Persona, PersonaSpec, QuerySpec, Report, RunAs, WorkloadFile,
};
use crate::record::{
    Generated, Left, Noted, Peopled, Recorded, Recording, Seen, choose, generate, log, people,
};
use anyhow::{Context as _, bail};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Write a workload file from what the server saw: `pg_stat_statements`, or a log with parameters; changes nothing
///
/// Takes the statements with the most total time among those that policies apply to. Weights come from calls; personas
/// from what the policies compare claims with: users of the smallest, the median and the biggest tenant. Parameters are
/// drawn from the columns that they are compared with; a statement with one of which nothing is known is left out, with
/// the reason. The file holds no row value unless `--keep-values` is given.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The workload file to write; one that is there is replaced
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
    /// How many statements, by total time
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub top: u64,
    /// A csvlog or jsonlog instead of `pg_stat_statements` (`log_min_duration_statement` and its like; parameters come
    /// from `log_parameter_max_length`)
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Who ran the statements of a log that do not say it by SET ROLE
    #[arg(long, value_name = "ROLE", requires = "log")]
    pub role: Option<String>,
    /// Write the parameter values that the log holds: they are row values
    #[arg(long, requires = "log")]
    pub keep_values: bool,
}

pub(in crate::cli) async fn run(args: Args, context: &Context) -> anyhow::Result<Report> {
    let session = context.connect("record").await?;
    let mut task = context.progress.start("record", 0);
    task.note("the catalog");
    let mut catalog = read_catalog(&session).await?;
    let mut gaps = Vec::new();
    let (seen, source) = read_seen(&args, &session, &mut catalog, &mut gaps).await?;
    let top = usize::try_from(args.top).unwrap_or(usize::MAX);
    let chosen = choose(&seen, &catalog, top);
    gaps.extend(chosen.gaps);
    if chosen.statements.is_empty() {
        let why: Vec<String> = gaps
            .iter()
            .map(|g| format!("{}: {}", g.what, g.why))
            .collect();
        bail!(
            "nothing to record: {source} has no statement that policies apply to{}{}",
            if why.is_empty() { "" } else { "; " },
            why.join("; ")
        );
    }
    let mut maker = Maker {
        session: &session,
        catalog: &catalog,
        limits: Limits {
            statement: std::time::Duration::from_millis(context.settings()?.statement_timeout_ms),
            ..Limits::default()
        },
        calls: chosen.statements.iter().map(|s| s.calls).sum(),
        recording: Recording::default(),
        gaps,
    };
    let peopled = maker.people(&chosen.statements).await;
    for (at, statement) in (0..).zip(&chosen.statements) {
        task.advance(at, args.top, &statement.name);
        maker.query(statement, &peopled).await?;
    }
    let (mut recording, gaps) = (maker.recording, maker.gaps);
    recording.notes = notes(&source, &catalog, args.keep_values);
    finish(&args, &recording, gaps)
}

async fn read_seen(
    args: &Args,
    session: &Session,
    catalog: &mut Catalog,
    gaps: &mut Vec<Gap>,
) -> anyhow::Result<(Vec<Seen>, String)> {
    if let Some(path) = &args.log {
        let shown = path.display();
        let file = std::fs::File::open(path).with_context(|| format!("could not read {shown}"))?;
        let options = log::Options {
            database: Some(catalog.server.database.clone()),
            role: args.role.clone(),
            keep_values: args.keep_values,
        };
        let read = log::read(std::io::BufReader::new(file), &options)
            .with_context(|| format!("could not read {shown}"))?;
        gaps.extend(read.gaps);
        return Ok((read.seen, format!("the log {shown}")));
    }
    let before = catalog.gaps.len();
    let found = read_statements(session, catalog).await?;
    gaps.extend(catalog.gaps.iter().skip(before).cloned());
    let Some(statements) = found else {
        let gap = catalog.gaps.last();
        let why = gap.map_or_else(String::new, |g| {
            let remedy = g.remedy.as_ref().map(|r| format!("; {r}"));
            format!(": {}{}", g.why, remedy.unwrap_or_default())
        });
        bail!("pg_stat_statements cannot be read{why} (or give a log with --log FILE)");
    };
    Ok((
        Seen::from_statements(&statements),
        "pg_stat_statements".to_owned(),
    ))
}

fn notes(source: &str, catalog: &Catalog, values: bool) -> Vec<String> {
    let values = if values {
        "It holds values of rows: treat it as you treat the data."
    } else {
        "It holds no value of any row: parameters and personas are drawn when it is run."
    };
    vec![
        format!(
            "Written by `dbtune bench record` from {source}, database {}.",
            catalog.server.database
        ),
        values.to_owned(),
    ]
}

struct Maker<'a> {
    session: &'a Session,
    catalog: &'a Catalog,
    limits: Limits,
    /// Of all chosen statements.
    calls: u64,
    recording: Recording,
    gaps: Vec<Gap>,
}

impl Maker<'_> {
    /// The personas of each role, as drawn from the data; those that the data has nobody for are left out.
    async fn people(&mut self, statements: &[Recorded]) -> BTreeMap<String, Vec<Persona>> {
        let mut by_role: BTreeMap<&str, Vec<&Recorded>> = BTreeMap::new();
        for statement in statements {
            by_role.entry(&statement.role).or_default().push(statement);
        }
        let mut drawn = BTreeMap::new();
        for (role, own) in by_role {
            let Peopled { role, personas } = people(role, &own, self.catalog);
            let mut found: Vec<Persona> = Vec::new();
            for (name, spec) in personas {
                match self.sample(&name, &spec.value).await {
                    Ok(persona) if found.iter().any(|p| p.settings == persona.settings) => {}
                    Ok(persona) => {
                        found.push(persona);
                        self.recording.personas.push((name, spec));
                    }
                    Err(why) => self.gaps.push(Gap {
                        what: format!("persona {name}"),
                        why,
                        remedy: None,
                    }),
                }
            }
            drawn.insert(role, found);
        }
        drawn
    }

    async fn sample(&self, name: &str, spec: &PersonaSpec) -> Result<Persona, String> {
        let file = WorkloadFile {
            version: 1,
            personas: BTreeMap::from([(name.to_owned(), spec.clone())]),
            ..WorkloadFile::default()
        };
        let workload = self.resolve(&file).await?;
        let persona = workload.personas.into_iter().next();
        let persona = persona.ok_or_else(|| "it was not drawn".to_owned())?;
        self.session
            .begin_as(&persona, true, self.limits)
            .await
            .map_err(|e| e.to_string())?;
        self.session.end().await.map_err(|e| e.to_string())?;
        Ok(persona)
    }

    async fn resolve(&self, file: &WorkloadFile) -> Result<crate::model::Workload, String> {
        let defaults = Defaults {
            draws: 1,
            limits: self.limits,
            ..Defaults::default()
        };
        resolve(self.session, file, defaults)
            .await
            .map_err(|e| e.to_string())
    }

    async fn query(
        &mut self,
        statement: &Recorded,
        people: &BTreeMap<String, Vec<Persona>>,
    ) -> anyhow::Result<()> {
        let personas = people.get(&statement.role).map_or(&[][..], Vec::as_slice);
        match self.spec(statement, personas).await {
            Ok((query, notes)) => self.recording.queries.push((query, notes)),
            Err(_) if self.session.client().is_closed() => {
                bail!("the connection was lost while recording")
            }
            Err(why) => {
                self.gaps.push(Gap {
                    what: format!("query {}", statement.name),
                    why: why.clone(),
                    remedy: None,
                });
                self.recording.left.push(Left {
                    name: statement.name.clone(),
                    sql: statement.sql.clone(),
                    why,
                });
            }
        }
        Ok(())
    }

    async fn spec(
        &self,
        statement: &Recorded,
        personas: &[Persona],
    ) -> Result<(Noted<QuerySpec>, Vec<Option<String>>), String> {
        if personas.is_empty() {
            return Err(format!(
                "no persona of role {} could be drawn",
                statement.role
            ));
        }
        let doing = format!("describe {}", statement.name);
        let types = self
            .session
            .parameter_types(&doing, &statement.sql, self.limits)
            .await
            .map_err(|e| e.to_string())?;
        let (params, notes) = generate(statement, &types, self.catalog)?
            .into_iter()
            .map(|Generated { param, note }| (param, note))
            .unzip::<ParamSpec, Option<String>, Vec<_>, Vec<_>>();
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let share = 100.0 * statement.calls as f64 / self.calls.max(1) as f64;
        #[expect(clippy::cast_precision_loss, reason = "a number of personas")]
        let weight = share / personas.len() as f64;
        let mut spec = QuerySpec {
            name: statement.name.clone(),
            personas: personas.iter().map(|p| p.name.clone()).collect(),
            sql: statement.sql.clone(),
            params,
            weight: three_digits(weight),
            write: statement.write,
            ..QuerySpec::default()
        };
        self.drawable(&mut spec, personas).await?;
        let value = Noted {
            value: spec,
            notes: vec![format!(
                "{} {}, {:.1} ms in all",
                statement.calls,
                if statement.calls == 1 {
                    "call"
                } else {
                    "calls"
                },
                statement.total_ms
            )],
        };
        Ok((value, notes))
    }

    /// Draws each parameter once; where a persona sees no row to draw from, the connecting role draws instead.
    async fn drawable(&self, spec: &mut QuerySpec, personas: &[Persona]) -> Result<(), String> {
        let people = personas.iter().map(|p| {
            let literal = PersonaSpec {
                role: p.role.clone(),
                settings: p.settings.clone(),
                ..PersonaSpec::default()
            };
            (p.name.clone(), literal)
        });
        let mut file = WorkloadFile {
            version: 1,
            personas: people.collect(),
            queries: vec![spec.clone()],
            ..WorkloadFile::default()
        };
        if self.resolve(&file).await.is_ok() {
            return Ok(());
        }
        for param in &mut spec.params {
            param.run_as = RunAs::Owner;
        }
        file.queries = vec![spec.clone()];
        self.resolve(&file).await.map(drop)
    }
}

fn three_digits(weight: f64) -> f64 {
    let text = format!("{weight:.2e}");
    text.parse::<f64>().unwrap_or(weight).max(1e-6)
}

fn finish(args: &Args, recording: &Recording, gaps: Vec<Gap>) -> anyhow::Result<Report> {
    if recording.queries.is_empty() {
        let why: Vec<&str> = recording.left.iter().map(|l| l.why.as_str()).collect();
        bail!("nothing to record: {}", why.join("; "));
    }
    let path = &args.output;
    std::fs::write(path, recording.to_yaml())
        .with_context(|| format!("could not write {}", path.display()))?;
    let mut report = Report::new(
        "bench record",
        format!(
            "Recorded {} queries as {} personas in {}; {} left out.",
            recording.queries.len(),
            recording.personas.len(),
            path.display(),
            recording.left.len()
        ),
    );
    report.gaps = gaps;
    let names: Vec<&str> = recording
        .queries
        .iter()
        .map(|(q, _)| q.value.name.as_str())
        .collect();
    let personas: Vec<&str> = recording.personas.iter().map(|(n, _)| n.as_str()).collect();
    let open: Vec<String> = recording
        .personas
        .iter()
        .flat_map(|(name, p)| p.notes.iter().map(move |note| format!("{name}: {note}")))
        .collect();
    for note in &open {
        report.blocks.push(crate::model::Block::Text(note.clone()));
    }
    report.data = serde_json::json!({
        "file": path,
        "queries": names,
        "personas": personas,
        "open": open,
        "left_out": recording.left.iter().map(|l| serde_json::json!({ "name": l.name, "why": l.why })).collect::<Vec<_>>(),
    });
    report.next = Some(format!(
        "dbtune bench --before --after --workload {}",
        quote_path(path)
    ));
    Ok(report)
}

/// As a shell takes it.
fn quote_path(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    let plain = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    if plain {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
