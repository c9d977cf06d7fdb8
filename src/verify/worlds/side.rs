//! Worlds on the server: one transaction on emptied tables that is rolled back at the end, one call a world.

use super::generate::World;
use super::kind::Family;
use super::probe::{Probe, inserts};
use super::shape::Shape;
use crate::db::{Error, Result, Session, Target};
use crate::sql::quote;
use serde::Deserialize;
use std::time::Duration;

/// Where old and new are found.
#[derive(Clone, Copy, Debug)]
pub enum Sides<'a> {
    /// Two databases, both throwaway.
    Two {
        before: &'a Target,
        after: &'a Target,
    },
    /// One throwaway database, and the statements that bring it to either side.
    One {
        target: &'a Target,
        before: &'a [String],
        after: &'a [String],
    },
}

impl<'a> Sides<'a> {
    pub(super) fn targets(&self) -> (&'a Target, &'a Target) {
        match self {
            Self::Two { before, after } => (before, after),
            Self::One { target, .. } => (target, target),
        }
    }
}

/// What one side answered in one world.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Answers {
    /// For each row whether it is there (`0`), or the SQLSTATE that refused it.
    pub(super) rows: Vec<String>,
    /// For each probe `=` and what it returned, or an SQLSTATE.
    pub(super) outcomes: Vec<String>,
}

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs one world and takes it back. A row that a constraint refuses is not there; a probe's writes are gone before the next.
const WORLD: &str = r"
create function pg_temp.dbtune_world(before text[], rows text[], ready text[], settings text[], role text, keeper text,
  probes text[], writes boolean[], reading text) returns text language plpgsql as $world$
declare
  statement text; answer text; digest text; n bigint;
  there text[] := '{}'; outcomes text[] := '{}';
begin
  foreach statement in array before loop execute statement; end loop;
  foreach statement in array rows loop
    begin
      execute statement;
      there := there || '0'::text;
    exception when others then there := there || sqlstate;
    end;
  end loop;
  foreach statement in array ready loop execute statement; end loop;
  for i in 1 .. cardinality(settings) / 2 loop
    perform set_config(settings[2 * i - 1], settings[2 * i], true);
  end loop;
  for i in 1 .. cardinality(probes) loop
    begin
      execute format('set local role %I', role);
      if writes[i] then
        execute probes[i];
        get diagnostics n = row_count;
        digest := '';
        if n > 0 and reading <> '' then
          execute format('set local role %s', keeper);
          execute reading into digest;
        end if;
        answer := n || ':' || digest;
      else
        execute probes[i] into answer;
      end if;
      raise exception using errcode = 'DBT01';
    exception
      when sqlstate 'DBT01' then outcomes := outcomes || ('=' || answer);
      when others then outcomes := outcomes || sqlstate;
    end;
  end loop;
  raise exception using errcode = 'DBT02';
exception when sqlstate 'DBT02' then
  return json_build_object('rows', there, 'outcomes', outcomes)::text;
end $world$;
grant execute on function pg_temp.dbtune_world to public;
";

/// What every call of a search has in common.
#[derive(Clone, Debug, Default)]
pub(super) struct Stage {
    /// Empties the tables: all at once, because it reaches from one to another.
    empty: String,
    /// Before the rows come: triggers off.
    before: Vec<String>,
    /// After they came: as it was.
    ready: Vec<String>,
    /// As whom the rows of each table are inserted, ready for SET ROLE.
    keepers: Vec<String>,
    /// The statement that says what a write left, as the subject's keeper.
    reading: String,
    /// Settings that policies write: as if they had been set before, because later worlds find them so.
    touched: Vec<String>,
}

impl Stage {
    /// `user` is who connects, `superuser` whether policies and owners do not concern it.
    pub(super) fn new(
        shapes: &[Shape],
        subject: usize,
        (user, superuser): (&str, bool),
        touched: impl IntoIterator<Item = String>,
    ) -> Self {
        let tables: Vec<String> = shapes.iter().map(Shape::quoted).collect();
        let mut stage = Self {
            empty: format!("truncate {} cascade;", tables.join(", ")),
            touched: touched.into_iter().collect(),
            ..Self::default()
        };
        for (at, shape) in shapes.iter().enumerate() {
            let other = !superuser && shape.owner != user;
            let keeper = if other {
                quote::ident(&shape.owner)
            } else {
                "none".to_owned()
            };
            let table = shape.quoted();
            let as_keeper = |to: &mut Vec<String>, sql: String| {
                to.push(format!("set local role {keeper}"));
                to.push(sql);
            };
            let lifted = shape.forced && !superuser;
            if lifted {
                as_keeper(
                    &mut stage.before,
                    format!("alter table {table} no force row level security"),
                );
                as_keeper(
                    &mut stage.ready,
                    format!("alter table {table} force row level security"),
                );
            }
            for trigger in &shape.triggers {
                let trigger = quote::ident(trigger);
                as_keeper(
                    &mut stage.before,
                    format!("alter table {table} disable trigger {trigger}"),
                );
                as_keeper(
                    &mut stage.ready,
                    format!("alter table {table} enable trigger {trigger}"),
                );
            }
            if at == subject && !lifted {
                stage.reading = reading(shape);
            }
            stage.keepers.push(keeper);
        }
        stage.ready.push("set local role none".to_owned());
        stage
    }

    fn opening(&self) -> String {
        let mut sql = format!(
            "begin; set local statement_timeout = {}; set local lock_timeout = '10s'; set local jit = off;
             set local client_min_messages = error;",
            PATIENCE.as_millis()
        );
        sql.push_str(&self.empty);
        for setting in &self.touched {
            let setting = quote::literal(setting);
            let touch = format!(
                "select set_config({setting}, coalesce(current_setting({setting}, true), ''), true);"
            );
            sql.push_str(&touch);
        }
        sql.push_str(WORLD);
        sql
    }

    /// The call that runs `world`.
    pub(super) fn call(
        &self,
        world: &World,
        shapes: &[Shape],
        probes: &[Probe],
        subject: usize,
    ) -> String {
        let mut rows = Vec::new();
        let mut keeper = "none";
        for (table, _, sql) in inserts(world, shapes) {
            let needed = self.keepers.get(table).map_or("none", String::as_str);
            if needed == keeper {
                rows.push(sql);
            } else {
                // One statement a row, so that answers and rows keep step.
                let become_keeper = quote::literal(&format!("set local role {needed}"));
                let insert = quote::literal(&sql);
                rows.push(format!(
                    "do $dbtune_do$ begin execute {become_keeper}; execute {insert}; end $dbtune_do$"
                ));
                keeper = needed;
            }
        }
        let settings = world.identity.settings.iter();
        let settings = settings.flat_map(|(n, v)| [n.clone(), v.clone()]);
        let writes: Vec<&str> = probes
            .iter()
            .map(|p| if p.reads { "false" } else { "true" })
            .collect();
        format!(
            "select pg_temp.dbtune_world({}, {}, {}, {}, {}, {}, {}, array[{}]::boolean[], {});",
            array(self.before.iter().cloned()),
            array(rows),
            array(self.ready.iter().cloned()),
            array(settings),
            quote::literal(&world.identity.role),
            quote::literal(self.keepers.get(subject).map_or("none", String::as_str)),
            array(probes.iter().map(|p| p.sql.clone())),
            writes.join(", "),
            quote::literal(&self.reading),
        )
    }
}

/// What a write left, as a digest. Times are left out: triggers write the present one.
fn reading(shape: &Shape) -> String {
    let columns = shape.columns.iter();
    let columns = columns.filter(|c| c.kind.family != Family::Moment);
    let columns: Vec<String> = columns.map(|c| quote::ident(&c.name)).collect();
    format!(
        "select md5(coalesce(string_agg(x, '|' order by x collate \"C\"), ''))
         from (select row({})::text as x from {}) dbtune_rows",
        columns.join(", "),
        shape.quoted()
    )
}

fn array(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().map(|i| quote::literal(&i)).collect();
    format!("array[{}]::text[]", items.join(", "))
}

/// Connections on which worlds run. Dropped, everything is rolled back.
pub(super) enum Runner {
    Two(Box<(Session, Session)>),
    One {
        session: Box<Session>,
        before: String,
        after: String,
    },
}

impl Runner {
    /// Fresh connections: settings that no world sets have never been set there.
    pub(super) async fn open(sides: Sides<'_>, stage: &Stage) -> Result<Self> {
        let purpose = "small worlds";
        let opening = stage.opening();
        let doing = "empty the tables of a clone";
        match sides {
            Sides::Two { before, after } => {
                let open = async |target: &Target| {
                    let session = Session::connect(target, purpose).await?;
                    session.texts_at_once(doing, &opening).await?;
                    Ok::<_, Error>(session)
                };
                let (before, after) = tokio::join!(open(before), open(after));
                Ok(Self::Two(Box::new((before?, after?))))
            }
            Sides::One {
                target,
                before,
                after,
            } => {
                let session = Session::connect(target, purpose).await?;
                session.texts_at_once(doing, &opening).await?;
                let joined = |statements: &[String]| {
                    let ended = statements.iter().flat_map(|s| {
                        [
                            s.as_str(),
                            ";
",
                        ]
                    });
                    ended.collect::<String>()
                };
                Ok(Self::One {
                    session: Box::new(session),
                    before: joined(before),
                    after: joined(after),
                })
            }
        }
    }

    /// The answers of both sides to each call.
    pub(super) async fn run(&self, calls: &[String]) -> Result<Vec<(Answers, Answers)>> {
        let doing = "compare small worlds";
        let sql = calls.concat();
        let (before, after) = match self {
            Self::Two(both) => {
                let (before, after) = &**both;
                let (before, after) = tokio::join!(
                    before.texts_at_once(doing, &sql),
                    after.texts_at_once(doing, &sql)
                );
                (before?, after?)
            }
            Self::One {
                session,
                before,
                after,
            } => {
                let sql = format!(
                    "savepoint dbtune_side;\n{before}{sql}rollback to savepoint dbtune_side;\n{after}{sql}rollback to savepoint dbtune_side;"
                );
                let mut texts = session.texts_at_once(doing, &sql).await?;
                let half = texts.split_off(texts.len() / 2);
                (texts, half)
            }
        };
        if before.len() != calls.len() || after.len() != calls.len() {
            return Err(Error::new(doing, "the server answered too little"));
        }
        let read = |text: &String| {
            serde_json::from_str(text)
                .map_err(|_| Error::new(doing, "the server's answer is no answer"))
        };
        before
            .iter()
            .zip(&after)
            .map(|(b, a)| Ok((read(b)?, read(a)?)))
            .collect()
    }
}
