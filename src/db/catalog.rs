//! Reads the [`Catalog`] in one read-only transaction, with a fixed number of queries however large the schema is.

use super::{Error, Limits, Result, Session};
use crate::model::Catalog;

mod access;
pub(super) mod decode;
mod evaluated;
mod functions;
mod health;
mod indexes;
mod server;
mod tables;

/// How often a catalog that moves while it is read is read again.
const ATTEMPTS: usize = 4;

/// Fewer indexes are described faster than a second connection is made.
const WORTH_A_CONNECTION: usize = 3000;
/// How long a second connection may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);
const PREPARE: &str = "prepare to read the catalog";

/// Where the sizes of relations come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sizes {
    /// Asked of the file system, which takes a weak lock on each relation.
    Exact,
    /// Pages as of the last VACUUM or ANALYZE: no lock at all.
    Estimated,
}

/// One reading: the session, the server's version, and how to ask for sizes.
struct Reader<'a> {
    session: &'a Session,
    version: u32,
    sizes: Sizes,
}

/// Everything dbtune knows of the database behind `session`.
///
/// A snapshot does not cover what the server prints of stored expressions, so the schema is fingerprinted
/// before and after and read again where it moved. What the role may not see is among the gaps.
pub async fn read_catalog(session: &Session) -> Result<Catalog> {
    let mut sizes = Sizes::Exact;
    let mut latest = None;
    for _ in 0..ATTEMPTS {
        let before = fingerprint(session).await?;
        match read_once(session, sizes).await {
            // A relation is locked against everybody: its size is not worth waiting for.
            Err(error) if error.is("55P03") && sizes == Sizes::Exact => sizes = Sizes::Estimated,
            // What was dropped meanwhile cannot be described any more.
            Err(error) if fingerprint(session).await? == before => return Err(error),
            Err(_) => {}
            Ok(catalog) if fingerprint(session).await? == before => return Ok(catalog),
            Ok(catalog) => latest = Some(catalog),
        }
    }
    let mut catalog = latest.ok_or_else(|| {
        Error::new(
            "read the catalog",
            "other sessions keep changing the schema",
        )
        .advise("Run it again when no schema change is under way.")
    })?;
    catalog.gaps.push(crate::model::Gap {
        what: "a consistent view of the schema".to_owned(),
        why: format!("other sessions changed it during each of {ATTEMPTS} readings"),
        remedy: Some("Run it again when no schema change is under way.".to_owned()),
    });
    Ok(catalog)
}

async fn read_once(session: &Session, sizes: Sizes) -> Result<Catalog> {
    session.begin_reading(Limits::default()).await?;
    // Compiling a query over a large catalog takes longer than it saves.
    session.execute(PREPARE, "set local jit = off").await?;
    let catalog = read_in_transaction(session, sizes).await;
    // Without this a failed reading would leave the session in a failed transaction.
    session.end().await?;
    catalog
}

async fn read_in_transaction(session: &Session, sizes: Sizes) -> Result<Catalog> {
    let mut catalog = Catalog::default();
    let reader = Reader::start(session, sizes, &mut catalog).await?;
    let beside = beside(&reader).await?;
    let indexes = Reader {
        session: beside.as_ref().unwrap_or(session),
        ..reader
    };
    let rest = async {
        reader.read_health(&mut catalog).await?;
        let names = reader.read_tables(&mut catalog).await?;
        reader.read_parts(&mut catalog, &names).await?;
        reader.read_access(&mut catalog).await?;
        reader.read_table_access(&mut catalog, &names).await?;
        reader.read_evaluated(&mut catalog, &names).await?;
        reader.read_statistics(&mut catalog, &names).await?;
        reader.read_functions(&mut catalog).await?;
        Ok(names)
    };
    let (names, indexes) = tokio::try_join!(rest, indexes.read_indexes())?;
    indexes::place(indexes, &mut catalog, &names);
    for table in catalog.tables.values_mut() {
        table.columns.shrink_to_fit();
        table.policies.shrink_to_fit();
        table.indexes.shrink_to_fit();
    }
    if sizes == Sizes::Estimated {
        catalog.gaps.push(crate::model::Gap {
            what: "exact sizes of tables and indexes".to_owned(),
            why:
                "a relation is locked by another session, so pages as of the last ANALYZE are used"
                    .to_owned(),
            remedy: None,
        });
    }
    Ok(catalog)
}

/// A second connection, ready to read, where describing the indexes takes the server longer than connecting. `None` too
/// where no connection is to be had: then one reads all. Its snapshot is another one; that the schema is the same in
/// both is what the fingerprints show.
async fn beside(reader: &Reader<'_>) -> Result<Option<Session>> {
    let sql = format!("select count(*) >= {WORTH_A_CONNECTION} as worth from pg_catalog.pg_index");
    let rows = reader.rows("count indexes", &sql).await?;
    if !rows
        .first()
        .is_some_and(|row| row.try_get("worth").unwrap_or(false))
    {
        return Ok(None);
    }
    let open = async {
        let session = Session::connect(reader.session.target(), "indexes").await?;
        session.begin_reading(Limits::default()).await?;
        let sql = "set local jit = off; set local search_path = ''";
        session.execute(PREPARE, sql).await?;
        Ok::<_, Error>(session)
    };
    // A pooler with no connection left lets wait until this one is given back.
    let opened = tokio::time::timeout(PATIENCE, open).await;
    Ok(opened.ok().and_then(Result::ok))
}

/// Outside the transaction, so that each call sees what is committed by then.
async fn fingerprint(session: &Session) -> Result<String> {
    let sql = include_str!("queries/fingerprint.sql");
    let rows = decode::query(session, "fingerprint the catalog", sql).await?;
    match rows.first() {
        Some(row) => decode::get(row, "fingerprint"),
        None => Ok(String::new()),
    }
}

impl Reader<'_> {
    /// Runs `sql` without the lines that are for other versions or the other way to ask for sizes.
    async fn rows(&self, doing: &str, sql: &str) -> Result<Vec<tokio_postgres::Row>> {
        decode::query(
            self.session,
            doing,
            &for_version(sql, self.version, self.sizes),
        )
        .await
    }
}

/// Keeps the lines of `sql` that hold for this server: a line may end in `-- 16+` (version 16 and later), `-- <16`
/// (before), `-- exact` or `-- estimated`.
fn for_version(sql: &str, version_num: u32, sizes: Sizes) -> String {
    let major = version_num / 10_000;
    let holds = |line: &str| {
        let Some((_, mark)) = line.rsplit_once("-- ") else {
            return true;
        };
        match mark {
            "exact" => sizes == Sizes::Exact,
            "estimated" => sizes == Sizes::Estimated,
            _ => match (mark.strip_suffix('+'), mark.strip_prefix('<')) {
                (Some(since), _) => since.parse().map_or(true, |since: u32| major >= since),
                (_, Some(until)) => until.parse().map_or(true, |until: u32| major < until),
                _ => true,
            },
        }
    };
    sql.lines()
        .filter(|line| holds(line))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_other_versions_are_left_out() {
        let sql =
            "select\n a, -- 16+\n b, -- <16\n s, -- exact\n e, -- estimated\n c -- plain remark";
        assert_eq!(
            for_version(sql, 150_018, Sizes::Exact),
            "select\n b, -- <16\n s, -- exact\n c -- plain remark"
        );
        assert_eq!(
            for_version(sql, 160_000, Sizes::Estimated),
            "select\n a, -- 16+\n e, -- estimated\n c -- plain remark"
        );
    }
}
