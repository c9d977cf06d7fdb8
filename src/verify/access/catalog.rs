//! Reads [`Definitions`] with a fixed number of queries in one read-only transaction.

use super::mention::Mentions;
use super::{Definitions, Key, Kind, Object};
use crate::db::{Error, Limits, OWN_SCHEMA, Result, Session};
use crate::model::Name;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// How often a catalog from which something is dropped meanwhile is read again.
const ATTEMPTS: usize = 4;

/// Subject and query of what has grants are completed with the column of the list, its kind and the owner's column.
const QUERIES: [(&str, &str, Option<[&str; 3]>); 9] = [
    (
        "tables and views",
        include_str!("queries/relations.sql"),
        Some(["c.relacl", "'r'", "c.relowner"]),
    ),
    ("columns", include_str!("queries/columns.sql"), None),
    ("policies", include_str!("queries/policies.sql"), None),
    (
        "functions",
        include_str!("queries/functions.sql"),
        Some(["p.proacl", "'f'", "p.proowner"]),
    ),
    (
        "triggers and rules",
        include_str!("queries/hooks.sql"),
        None,
    ),
    ("constraints", include_str!("queries/constraints.sql"), None),
    ("types", include_str!("queries/types.sql"), None),
    ("roles", include_str!("queries/roles.sql"), None),
    (
        "schemas",
        include_str!("queries/surroundings.sql"),
        Some(["n.nspacl", "'n'", "n.nspowner"]),
    ),
];

/// What decides who sees and writes rows in the database behind `session`. Takes no lock but those of reading.
pub async fn read(session: &Session) -> Result<Definitions> {
    read_within(session, Limits::default()).await
}

/// The same, waiting no longer than `limits` say.
pub async fn read_within(session: &Session, limits: Limits) -> Result<Definitions> {
    let mut attempt = 1;
    loop {
        session.begin_reading(limits).await?;
        let found = read_in_transaction(session).await;
        session.end().await?;
        match found {
            // A snapshot does not cover what the server prints of stored expressions.
            Err(error) if attempt < ATTEMPTS && gone_meanwhile(&error) => attempt += 1,
            other => return other,
        }
    }
}

fn gone_meanwhile(error: &Error) -> bool {
    ["XX000", "42P01", "42704", "42883"]
        .iter()
        .any(|state| error.is(state))
}

async fn read_in_transaction(session: &Session) -> Result<Definitions> {
    // Names are printed in full, and compiling takes longer than it saves.
    let sql = "set local search_path = pg_catalog; set local jit = off";
    session.execute("prepare to read definitions", sql).await?;
    let texts = session
        .texts(
            "read the server's version",
            "select current_setting('server_version_num')",
        )
        .await?;
    let version = texts.concat().parse().unwrap_or(0);
    let mut found = Definitions {
        server_version: version,
        ..Definitions::default()
    };
    let mut ids: BTreeMap<(u32, u32), Key> = BTreeMap::new();
    let mut edges: Vec<(u32, u32, u32, u32)> = Vec::new();
    for (what, sql, grants) in QUERIES {
        let sql = completed(sql, grants, version);
        for row in rows::<Row>(session, what, &sql).await? {
            let (class, number) = row.id;
            edges.extend(row.mentions.iter().map(|m| (class, number, m.0, m.1)));
            let also = row.also.clone();
            let (key, object) = row.object();
            for id in also.into_iter().chain([object.id]) {
                ids.insert(id, key.clone());
            }
            found.objects.insert(key, object);
        }
    }
    let depends = include_str!("queries/depends.sql");
    edges.extend(rows::<(u32, u32, u32, u32)>(session, "dependencies", depends).await?);
    Mentions::new(&mut found).add(&ids, &edges);
    Ok(found)
}

async fn rows<T: DeserializeOwned>(session: &Session, what: &str, sql: &str) -> Result<Vec<T>> {
    let doing = format!("read {what}");
    let texts = session.texts(&doing, sql).await?;
    let parse = |text: &String| {
        serde_json::from_str(text)
            .map_err(|_| Error::new(&*doing, "the server's answer was not understood"))
    };
    texts.iter().map(parse).collect()
}

/// An object as the queries give it.
#[derive(Deserialize)]
struct Row {
    kind: Kind,
    schema: String,
    name: String,
    #[serde(default)]
    part: String,
    id: (u32, u32),
    facts: BTreeMap<String, String>,
    #[serde(default)]
    trees: BTreeMap<String, String>,
    /// Other entries of the catalog that are this object.
    #[serde(default)]
    also: Vec<(u32, u32)>,
    #[serde(default)]
    mentions: Vec<(u32, u32)>,
}

impl Row {
    fn object(self) -> (Key, Object) {
        let key = Key::part(self.kind, Name::new(self.schema, self.name), self.part);
        let object = Object {
            id: self.id,
            facts: self.facts,
            trees: self.trees,
            ..Object::default()
        };
        (key, object)
    }
}

/// A query with its `{…}` filled in.
fn completed(sql: &str, grants: Option<[&str; 3]>, version: u32) -> String {
    let body = if version >= 140_000 {
        "p.prosqlbody"
    } else {
        "null::text"
    };
    let schemas = if version >= 150_000 {
        "coalesce((select jsonb_object_agg('publishes schema ' || s.pnnspid::regnamespace, '') \
          from pg_publication_namespace s where s.pnpubid = p.oid), '{}')"
    } else {
        "'{}'::jsonb"
    };
    let granted = grants.map_or_else(String::new, |[list, kind, owner]| {
        format!(
            "coalesce((select jsonb_object_agg('grant ' || x.privilege_type || ' to ' || x.who, x.how) from (\
             select a.privilege_type, case a.grantee when 0 then 'PUBLIC' when {owner} then '(owner)' \
             else pg_get_userbyid(a.grantee)::text end as who, \
             case when bool_or(a.is_grantable) then 'with grant option' else 'plain' end as how \
             from aclexplode(coalesce({list}, acldefault({kind}, {owner}))) a group by 1, 2) x), '{{}}')"
        )
    });
    let sql = sql
        .replace("{sqlbody}", body)
        .replace("{schemas}", schemas)
        .replace("{grants}", &granted);
    let sql = filled(&sql, "{tree:", |value| {
        // Where something stood in the text says nothing.
        format!(
            "regexp_replace(({value})::text, ':(location|stmt_location|stmt_len|(rexpr_)?list_(start|end)) -?[0-9]+', '', 'g')"
        )
    });
    filled(&sql, "{own:", |what| {
        let (class, oid) = what.split_once(':').unwrap_or((what, "0"));
        format!(
            "n.nspname !~ '^pg_' and n.nspname not in ('information_schema', '{OWN_SCHEMA}') and not exists (select from pg_depend e \
             where e.classid = '{class}'::regclass and e.objid = {oid} and e.deptype = 'e')"
        )
    })
}

/// `text` with every `{open…}` replaced by what `with` makes of its inside.
fn filled(text: &str, open: &str, with: impl Fn(&str) -> String) -> String {
    let mut parts = text.split(open);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('}') {
            Some((inside, rest)) => {
                out.push_str(&with(inside));
                out.push_str(rest);
            }
            None => out.push_str(part),
        }
    }
    out
}
