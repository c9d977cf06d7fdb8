//! One side recorded in a file, to be compared with another day.

use super::comparison::Measured;
use crate::db::{Error, Limits, Result, Session};
use crate::model::{Samples, Workload};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What `bench --before` writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// Of the file's form.
    pub version: u32,
    pub recorded_at: DateTime<Utc>,
    pub environment: Environment,
    /// By `query@persona`.
    pub queries: BTreeMap<String, Samples>,
}

/// What must be equal for two runs to be comparable. Digests only; no value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    pub dbtune: String,
    pub server_version_num: i32,
    /// Planner and memory settings.
    pub settings: BTreeMap<String, String>,
    /// Rows and a digest of a sample of each table that could be read.
    pub tables: BTreeMap<String, String>,
    pub statement_timeout_ms: u64,
}

const FORM: u32 = 1;

/// Settings that decide how fast a statement is.
const SETTINGS: &str = "'shared_buffers','work_mem','effective_cache_size','random_page_cost','seq_page_cost','jit',\
    'max_parallel_workers_per_gather','default_statistics_target','hash_mem_multiplier'";

/// Looks at the server and the data of `session`, in a read-only transaction.
pub async fn environment(session: &Session, limits: Limits) -> Result<Environment> {
    session.begin_reading(limits).await?;
    let found = look(session, limits).await;
    session.end().await?;
    found
}

async fn look(session: &Session, limits: Limits) -> Result<Environment> {
    let doing = "look at the server for a baseline";
    let version = session
        .texts(doing, "select current_setting('server_version_num')")
        .await?;
    let pairs = session
        .texts(
            doing,
            &format!("select name || '=' || setting from pg_settings where name in ({SETTINGS}) order by 1"),
        )
        .await?;
    let settings = pairs
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    let names = session
        .texts(
            doing,
            "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where c.relkind = 'r' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
               and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select') and not row_security_active(c.oid)
             order by 1",
        )
        .await?;
    let mut tables = BTreeMap::new();
    for name in names {
        // The first pages stand for the content: reading all of a large table to compare it is too dear.
        let sql = format!(
            "select count(*) || ' ' || (select coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) from {name} t
               where ctid = any (array(select format('(%s,%s)', page, line)::tid
                 from generate_series(0, 3) page, generate_series(1, 200) line)))
             from {name}"
        );
        let digest = session.texts(doing, &sql).await?.concat();
        tables.insert(name, digest);
    }
    Ok(Environment {
        dbtune: env!("CARGO_PKG_VERSION").to_owned(),
        server_version_num: version.concat().parse().unwrap_or_default(),
        settings,
        tables,
        statement_timeout_ms: u64::try_from(limits.statement.as_millis()).unwrap_or(u64::MAX),
    })
}

impl Environment {
    /// Why runs in the two cannot be compared, if they cannot. Tables that are only in `now` do not matter.
    pub fn obstacle(&self, now: &Self) -> Option<String> {
        if self.server_version_num != now.server_version_num {
            return Some(format!(
                "the baseline is of server version {}, this is {}",
                self.server_version_num, now.server_version_num
            ));
        }
        if self.statement_timeout_ms != now.statement_timeout_ms {
            return Some(format!(
                "the baseline was cut off at {} ms, this run is at {} ms",
                self.statement_timeout_ms, now.statement_timeout_ms
            ));
        }
        for (name, value) in &self.settings {
            if now.settings.get(name) != Some(value) {
                return Some(format!("the baseline had another {name}"));
            }
        }
        for (name, digest) in &self.tables {
            if now.tables.get(name) != Some(digest) {
                return Some(format!(
                    "the baseline is of another data set: {name} has other rows"
                ));
            }
        }
        None
    }
}

impl Baseline {
    pub fn new(
        recorded_at: DateTime<Utc>,
        environment: Environment,
        workload: &Workload,
        samples: Vec<Samples>,
    ) -> Self {
        let ids = workload.queries.iter().map(|q| q.id.clone());
        Self {
            version: FORM,
            recorded_at,
            environment,
            queries: ids.zip(samples).collect(),
        }
    }

    /// Reads the text of `file`, which is named in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let doing = || format!("read the baseline {file}");
        let baseline: Self = serde_json::from_str(text).map_err(|e| {
            Error::new(doing(), e.to_string())
                .advise("Record it again: dbtune bench --before -o FILE")
        })?;
        if baseline.version == FORM {
            Ok(baseline)
        } else {
            Err(Error::new(
                doing(),
                format!("it has form {}, expected {FORM}", baseline.version),
            ))
        }
    }

    /// Pairs what was recorded with what was measured now; the names of queries that were not recorded come second.
    pub fn against(
        &self,
        workload: &Workload,
        samples: Vec<Samples>,
    ) -> (Vec<Measured>, Vec<String>) {
        let mut measured = Vec::new();
        let mut unknown = Vec::new();
        for (query, after) in workload.queries.iter().zip(samples) {
            match self.queries.get(&query.id) {
                None => unknown.push(query.id.clone()),
                Some(before) => measured.push(Measured {
                    query: query.id.clone(),
                    weight: query.weight,
                    slo_ms: query.slo_ms,
                    before: before.clone(),
                    after,
                    repeatable: !crate::sql::is_limited(&query.sql),
                    thresholds: None,
                    allowed: None,
                }),
            }
        }
        (measured, unknown)
    }
}
