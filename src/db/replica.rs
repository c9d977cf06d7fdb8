//! What standbys know that the primary does not: what is used there.

use super::catalog::decode::{get, query};
use super::{Error, Limits, Result, Session, read_statements};
use crate::model::{Catalog, Gap, Name, Statement, Statements};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

const DOING: &str = "read the statistics of a replica";

/// How many standbys follow the server now, as far as it shows.
pub async fn standbys(session: &Session) -> Result<usize> {
    let sql = "select count(*) as number from pg_catalog.pg_stat_replication r \
        left join pg_catalog.pg_replication_slots s on s.active_pid = r.pid \
        where s.slot_type is distinct from 'logical' and r.state is distinct from 'backup'";
    let rows = query(session, "look for standbys", sql).await?;
    let number: i64 = match rows.first() {
        Some(row) => get(row, "number")?,
        None => 0,
    };
    Ok(usize::try_from(number).unwrap_or(0))
}

/// Adds the scans and statements of `replica` to what was read from `primary`. The statistics then count since the
/// latest moment at which all of them did.
///
/// # Errors
/// Where `replica` is no standby of the same database.
pub async fn merge_replica(
    primary: &Session,
    replica: &Session,
    catalog: &mut Catalog,
    statements: Option<&mut Statements>,
) -> Result<()> {
    let there = identify(replica).await?;
    let here = identify(primary).await?;
    let wrong = |message: String| Err(Error::new("use the replica", message));
    if !there.in_recovery {
        return wrong("it is no standby: it takes writes of its own".to_owned());
    }
    if there.database != here.database {
        return wrong(format!(
            "it is connected to database {}, expected {}",
            there.database.0, here.database.0
        ));
    }
    match (&here.system, &there.system) {
        (Some(here), Some(there)) if here != there => {
            return wrong(
                "it is a standby of another server: the system identifiers differ".to_owned(),
            );
        }
        (Some(_), Some(_)) => {}
        _ => catalog.gaps.push(Gap {
            what: format!("whether {} is a standby of this server", replica.target()),
            why: "the system identifier may not be read, so names and numbers of tables were compared instead"
                .to_owned(),
            remedy: Some("grant execute on function pg_control_system() to PUBLIC; -- or to the roles used here".to_owned()),
        }),
    }
    replica.begin_reading(Limits::default()).await?;
    let certain = here.system.is_some() && there.system.is_some();
    let merged = merge_scans(replica, catalog, certain).await;
    replica.end().await?;
    merged?;
    catalog.server.stats_since = catalog.server.stats_since.max(there.stats_since);
    if let Some(statements) = statements {
        merge_statements(replica, catalog, statements).await?;
    }
    Ok(())
}

struct Identity {
    in_recovery: bool,
    /// Name and number.
    database: (String, u32),
    /// `None` where it may not be read.
    system: Option<String>,
    stats_since: Option<DateTime<Utc>>,
}

async fn identify(session: &Session) -> Result<Identity> {
    let sql = "select pg_catalog.pg_is_in_recovery() as in_recovery, d.datname::text as name, d.oid, \
        coalesce(pg_catalog.pg_stat_get_db_stat_reset_time(d.oid), pg_catalog.pg_postmaster_start_time()) as since, \
        has_function_privilege('pg_catalog.pg_control_system()', 'execute') as may \
        from pg_catalog.pg_database d where d.datname = current_database()";
    let rows = query(session, "identify the server", sql).await?;
    let row = rows
        .first()
        .ok_or_else(|| Error::new("identify the server", "it does not list its own database"))?;
    let system = if get(row, "may")? {
        let sql = "select system_identifier::text as id from pg_catalog.pg_control_system()";
        let rows = query(session, "read the system identifier", sql).await?;
        rows.first().map(|row| get(row, "id")).transpose()?
    } else {
        None
    };
    Ok(Identity {
        in_recovery: get(row, "in_recovery")?,
        database: (get(row, "name")?, get(row, "oid")?),
        system,
        stats_since: get(row, "since")?,
    })
}

/// Use of one table or index.
struct Scans {
    scans: i64,
    rows: i64,
    last: Option<DateTime<Utc>>,
}

/// Where it is not `certain` that it is a replica, its tables must have the names and numbers of these.
async fn merge_scans(replica: &Session, catalog: &mut Catalog, certain: bool) -> Result<()> {
    let last = if catalog.server.version_num >= 160_000 {
        "pg_catalog.pg_stat_get_lastscan(c.oid)"
    } else {
        "null::timestamptz"
    };
    let sql = format!(
        "select c.oid, n.nspname::text as schema, c.relname::text as name, \
         pg_catalog.pg_stat_get_numscans(c.oid) as scans, \
         pg_catalog.pg_stat_get_tuples_returned(c.oid) as rows, {last} as last_scan \
         from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
         where c.relkind in ('r', 'm', 'i') and c.oid >= 16384"
    );
    let mut found: BTreeMap<u32, (Name, Scans)> = BTreeMap::new();
    for row in query(replica, DOING, &sql).await? {
        let name = Name::new(get::<&str>(&row, "schema")?, get::<&str>(&row, "name")?);
        let scans = Scans {
            scans: get(&row, "scans")?,
            rows: get(&row, "rows")?,
            last: get(&row, "last_scan")?,
        };
        found.insert(get(&row, "oid")?, (name, scans));
    }
    for (name, table) in &mut catalog.tables {
        if let Some((there, scans)) = found.get(&table.oid) {
            if !certain && there != name {
                return Err(Error::new(
                    "use the replica",
                    format!(
                        "its table {there} has the number of {name} here: it is a copy of another server, or far behind"
                    ),
                ));
            }
            table.activity.seq_scans += scans.scans;
            table.activity.seq_rows += scans.rows;
        }
        for index in &mut table.indexes {
            if let Some((_, scans)) = found.get(&index.oid) {
                index.scans += scans.scans;
                index.last_scan = index.last_scan.max(scans.last);
                table.activity.idx_scans += scans.scans;
            }
        }
    }
    Ok(())
}

async fn merge_statements(
    replica: &Session,
    catalog: &mut Catalog,
    statements: &mut Statements,
) -> Result<()> {
    // What the reader takes from a catalog: the extension, and whom to name in a GRANT.
    let mut there = Catalog {
        server: catalog.server.clone(),
        ..Catalog::default()
    };
    replica.target().user.clone_into(&mut there.server.user);
    let read = read_statements(replica, &mut there).await?;
    catalog.gaps.extend(there.gaps.into_iter().map(|gap| Gap {
        what: format!("{} of replica {}", gap.what, replica.target()),
        ..gap
    }));
    if let Some(read) = read {
        merge(statements, read);
    }
    Ok(())
}

/// Adds up what is the same statement of the same role.
fn merge(into: &mut Statements, from: Statements) {
    into.since = into.since.max(from.since);
    into.evicted = match (into.evicted, from.evicted) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    };
    let key = |s: &Statement| (s.query_id, s.role.clone(), s.top_level);
    let mut places: BTreeMap<_, _> = into
        .statements
        .iter()
        .enumerate()
        .map(|(at, s)| (key(s), at))
        .collect();
    for statement in from.statements {
        let at = places.get(&key(&statement)).copied();
        match at.and_then(|at| into.statements.get_mut(at)) {
            Some(known) => add(known, statement),
            None => {
                places.insert(key(&statement), into.statements.len());
                into.statements.push(statement);
            }
        }
    }
    into.statements.sort_by(|a, b| {
        b.total_ms
            .total_cmp(&a.total_ms)
            .then(a.query_id.cmp(&b.query_id))
            .then_with(|| a.role.cmp(&b.role))
    });
}

#[expect(clippy::cast_precision_loss, reason = "numbers of calls")]
fn add(to: &mut Statement, more: Statement) {
    let (n, m) = (to.calls as f64, more.calls as f64);
    let total = to.total_ms + more.total_ms;
    let mean = total / (n + m).max(1.0);
    let squares = n * (to.stddev_ms.powi(2) + to.mean_ms.powi(2))
        + m * (more.stddev_ms.powi(2) + more.mean_ms.powi(2));
    to.stddev_ms = (squares / (n + m).max(1.0) - mean.powi(2)).max(0.0).sqrt();
    to.mean_ms = mean;
    to.total_ms = total;
    to.min_ms = to.min_ms.min(more.min_ms);
    to.max_ms = to.max_ms.max(more.max_ms);
    to.calls += more.calls;
    to.plan_ms += more.plan_ms;
    to.plans += more.plans;
    to.rows += more.rows;
    to.shared_hit += more.shared_hit;
    to.shared_read += more.shared_read;
    to.temp_blocks += more.temp_blocks;
    to.wal_bytes += more.wal_bytes;
    to.since = to.since.max(more.since);
    to.text = to.text.take().or(more.text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(query_id: i64, times: &[f64]) -> Statement {
        let n = times.len() as f64;
        let total: f64 = times.iter().sum();
        let mean = total / n;
        let variance = times.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / n;
        Statement {
            query_id,
            calls: i64::try_from(times.len()).unwrap(),
            total_ms: total,
            mean_ms: mean,
            min_ms: times.iter().copied().fold(f64::INFINITY, f64::min),
            max_ms: times.iter().copied().fold(0.0, f64::max),
            stddev_ms: variance.sqrt(),
            ..Statement::default()
        }
    }

    #[test]
    fn the_same_statement_of_two_servers_is_one() {
        let mut into = Statements {
            statements: vec![statement(1, &[1.0, 2.0, 3.0]), statement(2, &[5.0])],
            ..Statements::default()
        };
        let from = Statements {
            statements: vec![statement(1, &[10.0, 20.0]), statement(3, &[0.5])],
            ..Statements::default()
        };
        merge(&mut into, from);
        let ids: Vec<i64> = into.statements.iter().map(|s| s.query_id).collect();
        assert_eq!(ids, [1, 2, 3]);
        let expected = statement(1, &[1.0, 2.0, 3.0, 10.0, 20.0]);
        let found = &into.statements[0];
        assert_eq!(
            (found.calls, found.max_ms),
            (expected.calls, expected.max_ms)
        );
        assert!((found.stddev_ms - expected.stddev_ms).abs() < 1e-9);
        assert!((found.mean_ms - expected.mean_ms).abs() < 1e-9);
    }
}
