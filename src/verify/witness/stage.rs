//! What a table and a role are, and some rows of the table, as its owner sees them.

use super::ask::softly;
use crate::db::{Error, Limits, Result, Session};
use crate::sql::quote;
use crate::verify::pairing::Subject;
use crate::verify::tuples::{SCHEMA, hash, place, seeing_all};
use serde::Deserialize;
use std::collections::BTreeSet;

/// Rows spread over the table.
const SPREAD: usize = 40;
/// Pages that they come from.
const PAGES: u32 = 24;

/// What the statements of one role on one table may name.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Facts {
    /// `server_version_num`.
    pub(super) version: u32,
    /// Rewrite rules turn statements into others.
    pub(super) rules: bool,
    /// A foreign table among its partitions or children.
    pub(super) foreign: bool,
    /// Columns of the primary key.
    pub(super) key: Vec<String>,
    /// Whether the role may read `ctid`: a privilege on columns does not cover it.
    pub(super) places: bool,
    pub(super) select: BTreeSet<String>,
    pub(super) insert: BTreeSet<String>,
    pub(super) update: BTreeSet<String>,
    pub(super) delete: bool,
}

/// A row of the table.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    /// Its number in the staged rows.
    pub(super) number: u64,
    /// `tableoid`.
    pub(super) part: String,
    /// `ctid`.
    pub(super) place: String,
    /// Its tuple.
    pub(super) hash: String,
    /// Whether that is one of those that were decided.
    pub(super) known: bool,
}

impl Spot {
    /// `tableoid` and `ctid` as one word.
    pub(super) fn label(&self) -> String {
        format!("{}{}", self.part, self.place)
    }
}

/// Where the staged rows of a subject are.
pub(super) fn staged(subject: &Subject) -> String {
    format!("{SCHEMA}.r{}", subject.number)
}

pub(super) async fn facts(
    owner: &Session,
    subject: &Subject,
    after: bool,
    role: &str,
) -> Result<Facts> {
    let oid = subject.on(after).oid;
    let doing = format!("read the rights of role {role}");
    let role = quote::literal(role);
    let columns = |privilege: &str, more: &str| {
        format!(
            "(select coalesce(json_agg(a.attname), '[]') from pg_attribute a where a.attrelid = c.oid and a.attnum > 0
               and not a.attisdropped {more} and has_column_privilege({role}, c.oid, a.attnum, '{privilege}'))"
        )
    };
    let writable = "and a.attgenerated = '' and a.attidentity <> 'a'";
    let sql = format!(
        "select json_build_object(
           'version', current_setting('server_version_num')::int,
           'rules', c.relhasrules,
           'foreign', exists (
             with recursive parts(oid) as (select c.oid union select i.inhrelid from pg_inherits i join parts p on p.oid = i.inhparent)
             select from parts p join pg_class f on f.oid = p.oid where f.relkind = 'f'),
           'key', coalesce((
             select json_agg(a.attname order by k.at) from pg_index i
             cross join unnest(i.indkey::int2[]) with ordinality k(number, at)
             join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number
             where i.indrelid = c.oid and i.indisprimary and i.indimmediate), '[]'),
           'places', has_table_privilege({role}, c.oid, 'select'),
           'delete', has_table_privilege({role}, c.oid, 'delete'),
           'select', {}, 'insert', {}, 'update', {})::text
         from pg_class c where c.oid = {oid}",
        columns("select", ""),
        columns("insert", writable),
        columns("update", writable),
    );
    owner.begin_reading(Limits::default()).await?;
    let texts = owner.texts(&doing, &sql).await;
    owner.end().await?;
    serde_json::from_str(&texts?.concat()).map_err(|e| Error::new(doing, e.to_string()))
}

/// Copies rows for everybody to read: those at `seen` (tableoid, ctid) and others spread over the table.
pub(super) async fn stage(
    owner: &Session,
    subject: &Subject,
    after: bool,
    seen: &BTreeSet<(String, String)>,
) -> Result<Vec<Spot>> {
    let table = subject.on(after);
    let doing = format!("choose rows of {}", table.name());
    let (name, to) = (table.quoted(), staged(subject));
    let labels: Vec<String> = seen
        .iter()
        .map(|(part, place)| quote::literal(&format!("{part}{place}")))
        .collect();
    let places: BTreeSet<String> = seen
        .iter()
        .map(|(_, place)| format!("{}::tid", quote::literal(place)))
        .collect();
    let places: Vec<String> = places.into_iter().collect();
    // Line pointers of pages spread evenly; places without a row are harmless.
    let spread = format!(
        "array(
          with recursive parts(oid) as (select {oid}::oid union select i.inhrelid from pg_inherits i join parts p on p.oid = i.inhparent),
          size as (select greatest(max(pg_relation_size(c.oid) / current_setting('block_size')::int), 1) as pages,
              least(greatest(ceil(max(c.reltuples / greatest(c.relpages, 1))), 30), 150)::int as lines
            from parts p join pg_class c on c.oid = p.oid where c.relkind in ('r', 'p'))
          select format('(%s,%s)', k * pages / least(pages, {PAGES}), line)::tid
          from size, generate_series(0, least(pages, {PAGES}) - 1) k, generate_series(1, lines) line)",
        oid = table.oid
    );
    let label = "t.tableoid::text || t.ctid::text";
    let sql = format!(
        "drop table if exists {to}; create unlogged table {to} as
         select row_number() over () as dbtune_i, s.* from (
           select t.tableoid as dbtune_part, t.ctid as dbtune_place, {hash} as dbtune_h, t.*
           from {name} t where t.ctid = any ({spread} || array[{places}]::tid[])
           order by {label} = any (array[{labels}]::text[]) desc, md5({label}) limit {most}) s;
         grant select on {to} to public",
        hash = hash(subject, after),
        places = places.join(", "),
        labels = labels.join(", "),
        most = SPREAD + seen.len()
    );
    seeing_all(owner, &doing, table, &sql).await?;
    let texts = owner
        .texts(
            &doing,
            &format!(
                "select json_build_array(r.dbtune_i, r.dbtune_part::text, r.dbtune_place::text, r.dbtune_h,
                   exists (select from {} u where u.dbtune_h = r.dbtune_h and u.dbtune_o = 0))::text
                 from {to} r order by r.dbtune_i",
                place(subject)
            ),
        )
        .await?;
    Ok(texts
        .iter()
        .filter_map(|text| serde_json::from_str::<(u64, String, String, String, bool)>(text).ok())
        .map(|(number, part, place, hash, known)| Spot {
            number,
            part,
            place,
            hash,
            known,
        })
        .collect())
}

/// Switches off what changes rows besides the statement, until the end of the open transaction: triggers of the table, and of
/// those that its foreign keys reach. Returns whether it could.
pub(super) async fn still(session: &Session, subject: &Subject, after: bool) -> Result<bool> {
    let doing = format!("disable the triggers of {}", subject.name());
    let sql = format!(
        "do $dbtune$
         declare place record;
         begin
           begin
             perform set_config('session_replication_role', 'replica', true);
           exception when others then null;
           end;
           for place in
             with recursive parts(oid) as (select {oid}::oid union select i.inhrelid from pg_inherits i join parts p on p.oid = i.inhparent),
             edges(parent, child) as (select inhparent, inhrelid from pg_inherits
               union all select confrelid, conrelid from pg_constraint where contype = 'f'),
             reached(oid) as (select {oid}::oid union select e.child from reached r join edges e on e.parent = r.oid)
             select c.oid::regclass as t, exists (select from parts p where p.oid = c.oid) as own
             from reached join pg_class c using (oid)
             where c.relkind in ('r', 'p')
               and exists (select from pg_trigger g where g.tgrelid = c.oid and not g.tgisinternal and g.tgenabled <> 'D')
           loop
             begin
               execute format('alter table %s disable trigger user', place.t);
             exception when insufficient_privilege then
               if place.own then raise; end if;
             end;
           end loop;
         end $dbtune$",
        oid = subject.on(after).oid
    );
    session.execute(&doing, "savepoint dbtune").await?;
    match session.execute(&doing, &sql).await {
        Ok(()) => Ok(true),
        Err(error) if super::ask::of_the_query(&error) => {
            session
                .execute(&doing, "rollback to savepoint dbtune")
                .await?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Rows that the session's role sees, at most twenty; `None` where it cannot be asked.
pub(super) async fn seen(
    session: &Session,
    subject: &Subject,
    after: bool,
) -> Result<Option<BTreeSet<(String, String)>>> {
    let sql = format!(
        "select json_build_array(t.tableoid::text, t.ctid::text)::text from {} t limit 20",
        subject.on(after).quoted()
    );
    let doing = format!("look at rows of {}", subject.name());
    let texts = softly(session, &doing, &sql).await?;
    Ok(texts.map(|texts| {
        let places = texts.iter().filter_map(|t| serde_json::from_str(t).ok());
        places.collect()
    }))
}
