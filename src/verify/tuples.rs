//! The distinct rows a policy can tell apart, made on both clones: those that are there, with how often they are, and those
//! that are made up.
//!
//! A policy's decision depends on the columns that it reads and on the session, so a table of a million rows is decided by as
//! many evaluations as there are different values in those columns.

use super::imagined::{add, made_up};
use super::pairing::Subject;
use super::pool::{Sources, Value};
use super::side::{Column, Guarded};
use crate::db::{Result, Session};
use crate::sql::quote;

/// Holds what dbtune makes on a clone.
pub(super) const SCHEMA: &str = "dbtune_verify";

/// Made once on each clone. Open to everybody, because each role decides over the rows itself; a clone goes away.
const PREPARE: &str = r"
create schema dbtune_verify;
grant usage on schema dbtune_verify to public;
create function dbtune_verify.takes(type text, value text) returns boolean language plpgsql set search_path = '' as $$
begin
  execute format('select %L::%s', value, type);
  return true;
exception when others then
  return false;
end $$;
-- Decides row by row, for expressions that raise for some of them.
create function dbtune_verify.decide(relation text, alias text, expression text)
returns table (h text, o int, ok boolean, n bigint, d text) language plpgsql as $$
declare r record;
begin
  for r in execute format('select dbtune_h, dbtune_o, dbtune_ok, dbtune_n from dbtune_verify.%I order by dbtune_o, dbtune_h', relation) loop
    begin
      execute format('select case when (%s) then ''1'' else ''0'' end from (select * from dbtune_verify.%I where dbtune_h = $1 limit 1) as %s',
        expression, relation, alias) into d using r.dbtune_h;
    exception when others then
      d := sqlstate;
    end;
    h := r.dbtune_h; o := r.dbtune_o; ok := r.dbtune_ok; n := r.dbtune_n;
    return next;
  end loop;
end $$;
-- Default privileges may have taken it from the public.
grant execute on all functions in schema dbtune_verify to public;
";

/// Makes the room for tuples on a clone.
pub(super) async fn prepare(clone: &Session) -> Result<()> {
    clone.execute("prepare a clone", PREPARE).await
}

/// Where the tuples of a subject are.
pub(super) fn relation(subject: &Subject) -> String {
    format!("t{}", subject.number)
}

pub(super) fn place(subject: &Subject) -> String {
    format!("{SCHEMA}.{}", relation(subject))
}

/// What was made.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Made {
    /// Rows of the table before the change.
    pub(super) rows: u64,
    pub(super) made_up: usize,
}

/// Makes the tuples of `subject` on both clones, as a role that sees every row.
pub(super) async fn make(
    (before, after): (&Session, &Session),
    subject: &Subject,
    sources: &Sources,
) -> Result<Made> {
    let (b, a) = tokio::join!(
        group(before, subject, false, false),
        group(after, subject, true, false)
    );
    b?;
    a?;
    let made_up = made_up((before, after), subject, sources).await?;
    let (b, a) = tokio::join!(
        add(before, subject, false, &made_up),
        add(after, subject, true, &made_up)
    );
    b?;
    a?;
    let count = format!(
        "select coalesce(sum(dbtune_n), 0)::text from {} where dbtune_o = 0",
        place(subject)
    );
    let rows = before.texts("count the rows of a table", &count).await?;
    Ok(Made {
        rows: rows.concat().parse().unwrap_or_default(),
        made_up: made_up.len(),
    })
}

/// The rows of a subject whose sides are one clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Single {
    pub(super) rows: u64,
    pub(super) tuples: u64,
    /// Of all keys.
    pub(super) digest: String,
    /// Values of the made-up rows, the first of which is called `s0`.
    pub(super) made_up: Vec<Vec<Value>>,
}

/// [`make`] for one clone, with a digest of keys beside each tuple. Rows are made up where policies read columns.
pub(super) async fn make_single(
    clone: &Session,
    subject: &Subject,
    sources: &Sources,
) -> Result<Single> {
    group(clone, subject, false, true).await?;
    let mut single = Single::default();
    let count = format!(
        "select json_build_array(coalesce(sum(dbtune_n), 0), count(*), coalesce(sum(dbtune_k), 0)::text)::text from {}",
        place(subject)
    );
    let counted = clone.texts("count the rows of a table", &count).await?;
    if let Ok(counted) = serde_json::from_str(&counted.concat()) {
        (single.rows, single.tuples, single.digest) = counted;
    }
    if !subject.columns.is_empty() {
        single.made_up = made_up((clone, clone), subject, sources).await?;
        add(clone, subject, false, &single.made_up).await?;
    }
    Ok(single)
}

/// A number that stands for the key of a row; for the whole row where there is no key.
pub(super) fn digest_of_key(table: &Guarded) -> String {
    let keyed = |c: &&Column| table.key.is_empty() || table.key.contains(&c.number);
    let columns: Vec<String> = table
        .columns
        .iter()
        .filter(keyed)
        .map(|c| quote::ident(&c.name))
        .collect();
    format!(
        "pg_catalog.hashtextextended(row({})::text, 0)::numeric",
        columns.join(", ")
    )
}

/// The rows that are there.
async fn group(clone: &Session, subject: &Subject, after: bool, keyed: bool) -> Result<()> {
    let table = subject.on(after);
    let columns: Vec<(&Column, bool)> = subject
        .columns
        .iter()
        .filter_map(|p| Some((p.on(after)?, p.shared())))
        .collect();
    let sql = grouping(table, &columns, &place(subject), keyed);
    let doing = format!("group the rows of {}", table.name());
    seeing_all(clone, &doing, table, &sql).await
}

/// Runs statements on a clone, for good, that see every row of `table`.
pub(super) async fn seeing_all(
    clone: &Session,
    doing: &str,
    table: &Guarded,
    statements: &str,
) -> Result<()> {
    let sql = format!(
        "begin read write; set local row_security = off; set local lock_timeout = '10s'; {statements}"
    );
    // A policy would filter what the owner reads where it is forced on it. The clone alone is changed, and only inside.
    let done = clone.execute(doing, &sql).await;
    let done = match done {
        Err(error) if error.is("42501") && table.forced => {
            clone.end().await?;
            let quoted = table.quoted();
            let sql = sql.replacen(
                "set local lock_timeout",
                &format!(
                    "alter table {quoted} no force row level security; set local lock_timeout"
                ),
                1,
            );
            let back = format!("; alter table {quoted} force row level security");
            clone.execute(doing, &(sql + &back)).await
        }
        other => other,
    };
    match done {
        Ok(()) => clone.execute(doing, "commit").await,
        Err(error) => {
            clone.end().await?;
            Err(error)
        }
    }
}

/// What tells a tuple from others on both sides, as an expression over a row: a digest of the texts of its shared columns.
pub(super) fn hash(subject: &Subject, after: bool) -> String {
    let texts: Vec<String> = subject
        .columns
        .iter()
        .filter(|p| p.shared())
        .filter_map(|p| Some(format!("{}::text", quote::ident(&p.on(after)?.name))))
        .collect();
    hash_of(&texts)
}

fn hash_of(texts: &[String]) -> String {
    format!("md5(row({})::text)", texts.join(", "))
}

/// `CREATE TABLE AS` with one row for each distinct tuple.
///
/// Rows are the same where their values are the same to the byte: two that are equal by `=` may still be told apart, by a cast
/// to text for example. With `keyed` each tuple carries a digest of the keys of its rows, which adds up: that of the rows that
/// are admitted is the sum over the tuples that are.
fn grouping(table: &Guarded, columns: &[(&Column, bool)], place: &str, keyed: bool) -> String {
    let names: Vec<String> = columns.iter().map(|(c, _)| quote::ident(&c.name)).collect();
    let keys: Vec<String> = columns
        .iter()
        .zip(&names)
        .map(|((column, _), name)| {
            if column.image {
                name.clone()
            } else {
                format!("{name}::text collate pg_catalog.\"C\"")
            }
        })
        .collect();
    let shared: Vec<String> = columns
        .iter()
        .zip(&names)
        .filter(|((_, shared), _)| *shared)
        .map(|(_, name)| format!("{name}::text"))
        .collect();
    let hash = hash_of(&shared);
    let list = |items: &[String]| {
        items
            .iter()
            .flat_map(|i| [i.as_str(), ", "])
            .collect::<String>()
    };
    let (from, own) = (table.quoted(), list(&names));
    let extra = format!("{hash} as dbtune_h, 0 as dbtune_o, true as dbtune_ok");
    let digest = format!("sum({})", digest_of_key(table));
    let digested = |over: &str| {
        if keyed {
            format!("{digest}{over} as dbtune_k, {extra}")
        } else {
            extra.clone()
        }
    };
    let select = if keys.is_empty() {
        format!("select count(*) as dbtune_n, {} from {from}", digested(""))
    } else if columns.iter().all(|(c, _)| c.image) {
        format!(
            "select {own}count(*) as dbtune_n, {} from {from} group by {}",
            digested(""),
            keys.join(", ")
        )
    } else {
        let keys = keys.join(", ");
        let over = format!(" over (partition by {keys})");
        format!(
            "select distinct on ({keys}) {own}count(*){over} as dbtune_n, {} from {from} order by {keys}",
            digested(&over)
        )
    };
    format!(
        "create unlogged table {place} as {select}; create index on {place} (dbtune_h); grant select on {place} to public; \
         analyze {place}"
    )
}
