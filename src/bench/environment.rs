//! What must be alike for two measurements to be comparable: the data, the server, its settings, the machine. Digests only; no
//! value.

use super::machine::{Machine, digest};
use crate::db::{Error, Limits, Result, Session, Target};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where and over what something was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    pub dbtune: String,
    pub server: Server,
    /// That dbtune ran on: the server's too where it was reached without a network.
    pub machine: Machine,
    /// Settings that decide how a statement is planned and how fast it is.
    pub settings: BTreeMap<String, String>,
    /// Each table that could be read.
    pub tables: BTreeMap<String, Table>,
    /// Tables with rows that this role does not see, or that are too large to be read.
    pub unread: Vec<String>,
    pub statement_timeout_ms: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub version_num: i32,
    /// How it was reached.
    pub reached: Reached,
    /// A digest of its address.
    pub address: String,
    /// A digest of its cluster's identity, where this role may ask for that.
    pub cluster: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reached {
    #[default]
    Socket,
    Loopback,
    Network,
}

/// What a table holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Unless there are too many to count them.
    pub rows: Option<u64>,
    /// By column, of the rows with the first and the last keys; of all rows where there is no key and the table is small.
    pub columns: BTreeMap<String, String>,
}

/// How two environments differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Why their data is not the same, if it is not.
    pub data: Option<String>,
    /// What may be the reason of a difference in time, each in words.
    pub warnings: Vec<String>,
}

const DOING: &str = "look at the server and its data";

const SETTINGS: &str = "select name || '=' || current_setting(name) from pg_settings
    where name in ('shared_buffers','work_mem','effective_cache_size','default_statistics_target','hash_mem_multiplier',
        'plan_cache_mode','max_parallel_workers','max_parallel_workers_per_gather','effective_io_concurrency','io_method',
        'from_collapse_limit','join_collapse_limit','geqo','constraint_exclusion','huge_pages','temp_buffers')
      or name ~ '^(enable|cpu|jit|parallel|min_parallel)_' or name ~ '_page_cost$' or name = 'jit'
    order by 1";

/// Ledgers of migration tools: they say what was done to the database, and are not its data.
const TABLES: &str = "select jsonb_build_object('name', format('%I.%I', n.nspname, c.relname), 'bytes', pg_table_size(c.oid),
      'hidden', row_security_active(c.oid) or not has_table_privilege(c.oid, 'select'),
      'columns', (select coalesce(jsonb_agg(quote_ident(a.attname) order by a.attname), '[]') from pg_attribute a
        join pg_type t on t.oid = a.atttypid
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and t.typname not in ('oid', 'xid', 'xid8', 'cid', 'tid')),
      'key', (select coalesce(jsonb_agg(quote_ident(a.attname) order by k.ord), '[]') from pg_index i
        cross join unnest(i.indkey) with ordinality k(attnum, ord)
        join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
        where i.indrelid = c.oid and i.indisprimary
          and not exists (select from unnest(i.indcollation) l where l <> 0)))::text
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind = 'r' and c.relpersistence <> 't' and has_schema_privilege(n.oid, 'usage')
      and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'dbtune', 'supabase_migrations')
      and c.relname not in ('_sqlx_migrations', 'schema_migrations', 'flyway_schema_history')
    order by 1";

/// Rows at each end of a key that stand for all: reading the content of a large table to compare it is too dear.
const ENDS: u32 = 500;
/// A table of no more bytes is read whole where it has no key.
const SMALL: u64 = 8 << 20;
/// The rows of a table of no more bytes are counted.
const COUNTABLE: u64 = 1 << 30;

/// Looks at the server and the data of `target`, in read-only transactions.
pub async fn environment(target: &Target, limits: Limits) -> Result<Environment> {
    let session = Session::connect(target, "bench").await?;
    let version = session
        .texts(DOING, "select current_setting('server_version_num')")
        .await?;
    let settings = session.texts(DOING, SETTINGS).await?;
    let settings = settings.iter().filter_map(|pair| pair.split_once('='));
    let mut environment = Environment {
        dbtune: env!("CARGO_PKG_VERSION").to_owned(),
        server: Server {
            version_num: version.concat().parse().unwrap_or_default(),
            reached: reached(&target.host),
            address: digest(&["server", &target.host, &target.port.to_string()]),
            cluster: cluster(&session).await?,
        },
        machine: Machine::here(),
        settings: settings
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect(),
        statement_timeout_ms: u64::try_from(limits.statement.as_millis()).unwrap_or(u64::MAX),
        ..Environment::default()
    };
    for text in session.texts(DOING, TABLES).await? {
        let shape: Shape =
            serde_json::from_str(&text).map_err(|e| Error::new(DOING, e.to_string()))?;
        let read = if shape.hidden {
            None
        } else {
            content(&session, &shape, limits).await?
        };
        match read {
            Some(table) => {
                environment.tables.insert(shape.name, table);
            }
            None => environment.unread.push(shape.name),
        }
    }
    Ok(environment)
}

fn reached(host: &str) -> Reached {
    let loopback = host == "localhost" || host == "::1" || host.starts_with("127.");
    match host {
        _ if host.starts_with('/') => Reached::Socket,
        _ if loopback => Reached::Loopback,
        _ => Reached::Network,
    }
}

async fn cluster(session: &Session) -> Result<Option<String>> {
    let may = "select has_function_privilege('pg_catalog.pg_control_system()', 'execute')::text";
    if session.texts(DOING, may).await?.concat() != "true" {
        return Ok(None);
    }
    let sql = "select system_identifier::text from pg_catalog.pg_control_system()";
    let found = session.texts(DOING, sql).await?;
    Ok(Some(digest(&["cluster", &found.concat()])))
}

#[derive(Deserialize)]
struct Shape {
    name: String,
    bytes: u64,
    hidden: bool,
    /// Quoted, in the order of their names.
    columns: Vec<String>,
    /// Of the primary key, where its order is the same on every server.
    key: Vec<String>,
}

/// `None` where nothing is known of it, because it is too large or reading it took too long.
async fn content(session: &Session, shape: &Shape, limits: Limits) -> Result<Option<Table>> {
    let Shape { name, .. } = shape;
    let small = shape.bytes <= SMALL;
    let count = if shape.bytes <= COUNTABLE {
        format!("(select count(*)::text from {name})")
    } else {
        "null::text".to_owned()
    };
    let unread = shape.columns.is_empty() || shape.key.is_empty() && !small;
    let (rows, columns) = if unread {
        (String::from("(select) s"), &[][..])
    } else if shape.key.is_empty() {
        (name.clone(), shape.columns.as_slice())
    } else {
        let ends = ["", " desc"].map(|order| {
            let key: Vec<String> = shape.key.iter().map(|k| format!("{k}{order}")).collect();
            let key = key.join(", ");
            format!("(select * from {name} order by {key} limit {ENDS})")
        });
        (
            format!("({}) s", ends.join(" union all ")),
            shape.columns.as_slice(),
        )
    };
    let sums = columns.iter().map(|column| {
        format!(
            ", coalesce(sum(hashtextextended({column}::text collate \"C\", 0)::numeric), 0)::text"
        )
    });
    let sql = format!(
        "select to_json(array[{count}{}])::text from {rows}",
        sums.collect::<String>()
    );
    session.begin_reading(limits).await?;
    let found = async {
        // Else one value might be written in two ways.
        let way = "set local timezone = 'UTC'; set local datestyle = 'ISO, YMD'; set local intervalstyle = 'postgres'; \
                   set local extra_float_digits = 1; set local bytea_output = 'hex'; set local xmloption = 'content'";
        session.execute(DOING, way).await?;
        session.texts(DOING, &sql).await
    };
    let found = found.await;
    session.end().await?;
    let found = match found {
        Err(error) if error.is("57014") || error.is("55P03") => return Ok(None),
        other => other?.concat(),
    };
    let values: Vec<Option<String>> =
        serde_json::from_str(&found).map_err(|e| Error::new(DOING, e.to_string()))?;
    let mut values = values.into_iter();
    let table = Table {
        rows: values.next().flatten().and_then(|n| n.parse().ok()),
        columns: columns.iter().cloned().zip(values.flatten()).collect(),
    };
    Ok((table != Table::default()).then_some(table))
}

impl Environment {
    /// How `self`, the side before, differs from `after`. What a migration does to tables is no difference of the data: columns
    /// that only one of them has, and tables that only `after` has.
    pub fn difference(&self, after: &Self) -> Difference {
        let mut warnings = Vec::new();
        let mut warn = |text: Option<String>| warnings.extend(text);
        let (b, a) = (&self.server, &after.server);
        warn((b.version_num != a.version_num).then(|| {
            let (before, after) = (version(b.version_num), version(a.version_num));
            format!("server versions: {before} before, {after} after")
        }));
        let same_server = match (&b.cluster, &a.cluster) {
            (Some(before), Some(after)) => before == after,
            _ => b.address == a.address,
        };
        warn((!same_server).then(|| "servers: not the same one before and after".to_owned()));
        warn((b.reached != a.reached).then(|| {
            let way = |reached| match reached {
                Reached::Socket => "over a socket",
                Reached::Loopback => "over the loopback address",
                Reached::Network => "over a network",
            };
            format!(
                "ways to the server: {} before, {} after",
                way(b.reached),
                way(a.reached)
            )
        }));
        let other = self.settings.iter().filter_map(|(name, before)| {
            let after = after.settings.get(name)?;
            (before != after).then(|| format!("{name} {before} before, {after} after"))
        });
        let other: Vec<String> = other.collect();
        warn((!other.is_empty()).then(|| format!("settings: {}", other.join("; "))));
        let machines = self.machine.difference(&after.machine);
        warn(machines.map(|words| format!("machines: {words}")));
        warn(
            (self.dbtune != after.dbtune)
                .then(|| format!("dbtune: {} before, {} after", self.dbtune, after.dbtune)),
        );
        Difference {
            data: self.other_data(after),
            warnings,
        }
    }

    fn other_data(&self, after: &Self) -> Option<String> {
        for (name, before) in &self.tables {
            let Some(after) = after.tables.get(name) else {
                if after.unread.contains(name) {
                    continue;
                }
                return Some(format!("{name} is there before and not after"));
            };
            if let (Some(b), Some(a)) = (before.rows, after.rows)
                && b != a
            {
                return Some(format!("{name} has {b} rows before and {a} after"));
            }
            let mut both = before
                .columns
                .iter()
                .filter_map(|(column, digest)| Some((column, digest, after.columns.get(column)?)));
            if let Some((column, ..)) = both.find(|(_, before, after)| before != after) {
                return Some(format!(
                    "{name} has other values in {column} before and after"
                ));
            }
        }
        None
    }
}

/// As people write it.
fn version(num: i32) -> String {
    format!("{}.{}", num / 10_000, num % 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        let columns = [("id", "1"), ("body", "2")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let table = Table {
            rows: Some(3),
            columns: columns.into(),
        };
        Environment {
            tables: [("public.notes".to_owned(), table)].into(),
            settings: [("work_mem".to_owned(), "4MB".to_owned())].into(),
            ..Environment::default()
        }
    }

    #[test]
    fn a_new_column_is_no_other_data_and_another_value_is() {
        let before = environment();
        let mut after = before.clone();
        assert_eq!(before.difference(&after), Difference::default());
        let notes = after.tables.get_mut("public.notes").unwrap();
        notes.columns.insert("made".to_owned(), "9".to_owned());
        after
            .tables
            .insert("public.new".to_owned(), Table::default());
        assert_eq!(before.difference(&after).data, None);
        let notes = after.tables.get_mut("public.notes").unwrap();
        notes.columns.insert("body".to_owned(), "3".to_owned());
        let words = before.difference(&after).data.unwrap();
        assert!(
            words.contains("public.notes") && words.contains("body"),
            "{words}"
        );
        after.tables.get_mut("public.notes").unwrap().rows = Some(2);
        let words = before.difference(&after).data.unwrap();
        assert!(words.contains("3 rows before and 2 after"), "{words}");
        after.tables.remove("public.notes");
        assert!(before.difference(&after).data.is_some());
        after.unread.push("public.notes".to_owned());
        assert_eq!(before.difference(&after).data, None);
    }

    #[test]
    fn servers_settings_and_machines_are_warned_of() {
        let before = environment();
        let mut after = before.clone();
        after.server.version_num = 170_002;
        after.server.address = "elsewhere".to_owned();
        after.server.reached = Reached::Network;
        after
            .settings
            .insert("work_mem".to_owned(), "64MB".to_owned());
        after.machine.processors = Some(64);
        let difference = before.difference(&after);
        assert_eq!(difference.data, None);
        let all = difference.warnings.join("\n");
        for words in [
            "17.2 after",
            "not the same one",
            "network",
            "work_mem 4MB",
            "× 64",
        ] {
            assert!(all.contains(words), "{words}: {all}");
        }
        // The same cluster at two addresses.
        let mut before = before;
        for server in [&mut before.server, &mut after.server] {
            server.cluster = Some("c".to_owned());
        }
        let all = before.difference(&after).warnings.join("\n");
        assert!(!all.contains("not the same one"), "{all}");
    }
}
