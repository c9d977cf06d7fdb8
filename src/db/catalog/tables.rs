use super::Reader;
use super::decode::{get, letter, unsigned};
use crate::db::Result;
use crate::model::{
    Activity, Catalog, Collation, Column, ColumnStats, Command, ForeignKey, Gap, Name, Policy,
    Table, TableKind,
};
use std::collections::BTreeMap;
use tokio_postgres::Row;

/// Tables by oid, as the other queries name them.
pub(super) type Names = BTreeMap<u32, Name>;

impl Reader<'_> {
    pub(super) async fn read_tables(&self, catalog: &mut Catalog) -> Result<Names> {
        let sql = include_str!("../queries/tables.sql");
        let rows = self.rows("read tables", sql).await?;
        let mut names = Names::new();
        for row in &rows {
            let name = Name::new(get::<&str>(row, "schema")?, get::<&str>(row, "name")?);
            names.insert(get(row, "oid")?, name);
        }
        for row in &rows {
            let mut table = table(row)?;
            if let Some(parent) = get::<Option<u32>>(row, "parent")? {
                table.partition_of = names.get(&parent).cloned();
            }
            if let Some(name) = names.get(&table.oid) {
                catalog.tables.insert(name.clone(), table);
            }
        }
        sum_partitions(catalog);
        Ok(names)
    }

    /// What belongs to tables, indexes apart: one query a kind of part.
    pub(super) async fn read_parts(&self, catalog: &mut Catalog, names: &Names) -> Result<()> {
        let mut each = Parts { catalog, names };
        let sql = include_str!("../queries/columns.sql");
        for row in self.rows("read columns", sql).await? {
            let column = column(&row)?;
            each.put(&row, |table| table.columns.push(column))?;
        }
        let sql = include_str!("../queries/policies.sql");
        for row in self.rows("read policies", sql).await? {
            let policy = policy(&row)?;
            each.put(&row, |table| table.policies.push(policy))?;
        }
        let sql = include_str!("../queries/foreign_keys.sql");
        for row in self.rows("read foreign keys", sql).await? {
            let key = foreign_key(&row)?;
            each.put(&row, |table| table.foreign_keys.push(key))?;
        }
        let sql = include_str!("../queries/constraints.sql");
        for row in self.rows("read constraints", sql).await? {
            let (name, definition) = (get(&row, "name")?, get(&row, "definition")?);
            each.put(&row, |table| {
                table.constraints.insert(name, definition);
            })?;
        }
        let sql = include_str!("../queries/view_reads.sql");
        for row in self.rows("read what views read", sql).await? {
            let name = Name::new(get::<&str>(&row, "schema")?, get::<&str>(&row, "name")?);
            each.put(&row, |table| table.reads.push(name))?;
        }
        let sql = include_str!("../queries/grants.sql");
        for row in self.rows("read grants", sql).await? {
            let (role, privileges) = (get(&row, "role")?, get(&row, "privileges")?);
            each.put(&row, |table| {
                table.grants.insert(role, privileges);
            })?;
        }
        let sql = include_str!("../queries/published.sql");
        for row in self.rows("read publications", sql).await? {
            each.put(&row, |table| table.published = true)?;
        }
        Ok(())
    }

    /// Column statistics, as far as the role may see them.
    pub(super) async fn read_statistics(&self, catalog: &mut Catalog, names: &Names) -> Result<()> {
        let doing = "read column statistics";
        let allowed = "select has_table_privilege('pg_catalog.pg_statistic', 'select') as allowed";
        let all = match self.rows(doing, allowed).await?.first() {
            Some(row) => get(row, "allowed")?,
            None => false,
        };
        let sql = if all {
            include_str!("../queries/column_statistics_all.sql")
        } else {
            include_str!("../queries/column_statistics.sql")
        };
        let rows = self.rows(doing, sql).await?;
        if all {
            for table in catalog.tables.values_mut() {
                table.statistics_readable = true;
            }
        } else {
            note_hidden_statistics(catalog);
        }
        let mut each = Parts { catalog, names };
        for row in &rows {
            let stats = ColumnStats {
                n_distinct: get(row, "n_distinct")?,
                null_fraction: get(row, "null_fraction")?,
                average_width: get(row, "average_width")?,
                correlation: get(row, "correlation")?,
                top_frequency: get(row, "top_frequency")?,
            };
            let name: &str = get(row, "column")?;
            each.put(row, |table| {
                if let Some(column) = table.columns.iter_mut().find(|c| c.name == name) {
                    column.stats = Some(stats);
                }
            })?;
        }
        Ok(())
    }
}

/// Puts each row's part where the row's `oid` says; rows of system and temporary tables are dropped.
pub(super) struct Parts<'a> {
    pub(super) catalog: &'a mut Catalog,
    pub(super) names: &'a Names,
}

impl Parts<'_> {
    pub(super) fn put(&mut self, row: &Row, put: impl FnOnce(&mut Table)) -> Result<()> {
        let oid: u32 = get(row, "oid")?;
        let name = self.names.get(&oid);
        if let Some(table) = name.and_then(|name| self.catalog.tables.get_mut(name)) {
            put(table);
        }
        Ok(())
    }
}

fn table(row: &Row) -> Result<Table> {
    Ok(Table {
        oid: get(row, "oid")?,
        kind: match letter(row, "kind")? {
            'p' => TableKind::Partitioned,
            'v' => TableKind::View,
            'm' => TableKind::MaterializedView,
            'f' => TableKind::Foreign,
            _ => TableKind::Ordinary,
        },
        owner: get(row, "owner")?,
        rls_enabled: get(row, "rls_enabled")?,
        rls_forced: get(row, "rls_forced")?,
        rows: get(row, "rows")?,
        pages: get(row, "pages")?,
        bytes: unsigned(row, "bytes")?,
        activity: Activity {
            seq_scans: get(row, "seq_scans")?,
            seq_rows: get(row, "seq_rows")?,
            idx_scans: 0,
            inserted: get(row, "inserted")?,
            updated: get(row, "updated")?,
            hot_updated: get(row, "hot_updated")?,
            deleted: get(row, "deleted")?,
            live: get(row, "live")?,
            dead: get(row, "dead")?,
            last_vacuum: get(row, "last_vacuum")?,
            last_analyze: get(row, "last_analyze")?,
            last_autovacuum: get(row, "last_autovacuum")?,
            modified_since_analyze: get(row, "modified_since_analyze")?,
            inserted_since_vacuum: get(row, "inserted_since_vacuum")?,
            heap_hit: get(row, "heap_hit")?,
            heap_read: get(row, "heap_read")?,
            index_hit: 0,
            index_read: 0,
            xid_age: get(row, "xid_age")?,
            multixact_age: get(row, "multixact_age")?,
        },
        statistics_readable: get(row, "statistics_readable")?,
        partition_key: get(row, "partition_key")?,
        extension: get(row, "extension")?,
        options: get(row, "options")?,
        inherited: get(row, "inherited")?,
        ruled: Some(get(row, "ruled")?),
        replica_identity_full: get(row, "replica_identity_full")?,
        ..Table::default()
    })
}

fn column(row: &Row) -> Result<Column> {
    Ok(Column {
        name: get(row, "name")?,
        type_name: get(row, "type_name")?,
        type_kind: letter(row, "type_kind")?,
        type_category: letter(row, "type_category")?,
        not_null: get(row, "not_null")?,
        default: get(row, "default")?,
        generated: get(row, "generated")?,
        identity: get(row, "identity")?,
        sequence: None,
        equality_leakproof: get(row, "equality")?,
        ordering_leakproof: get(row, "ordering")?,
        stats: None,
        grants: BTreeMap::new(),
        values: None,
        collation: Some(match letter(row, "collation")? {
            'n' => Collation::Inapplicable,
            'd' => Collation::Default,
            's' => Collation::Deterministic,
            _ => Collation::Nondeterministic,
        }),
    })
}

fn policy(row: &Row) -> Result<Policy> {
    Ok(Policy {
        name: get(row, "name")?,
        permissive: get(row, "permissive")?,
        roles: get(row, "roles")?,
        command: match letter(row, "command")? {
            'r' => Command::Select,
            'a' => Command::Insert,
            'w' => Command::Update,
            'd' => Command::Delete,
            _ => Command::All,
        },
        using: get(row, "using")?,
        check: get(row, "check")?,
    })
}

fn foreign_key(row: &Row) -> Result<ForeignKey> {
    Ok(ForeignKey {
        name: get(row, "name")?,
        columns: get(row, "columns")?,
        references: Name::new(get::<&str>(row, "schema")?, get::<&str>(row, "table")?),
        referenced_columns: get(row, "referenced_columns")?,
        on_delete: letter(row, "on_delete")?,
        on_update: letter(row, "on_update")?,
        enforced: get(row, "enforced")?,
    })
}

/// A partitioned table holds no rows itself.
fn sum_partitions(catalog: &mut Catalog) {
    let mut totals: BTreeMap<Name, (Option<f64>, i64, u64, i64)> = BTreeMap::new();
    for table in catalog.tables.values() {
        if table.kind == TableKind::Partitioned {
            continue;
        }
        let mut above = table.partition_of.as_ref();
        while let Some(parent) = above {
            let (rows, pages, bytes, live) = totals.entry(parent.clone()).or_default();
            *rows = match (*rows, table.rows) {
                (Some(sum), Some(more)) => Some(sum + more),
                (sum, more) => sum.or(more),
            };
            *pages += table.pages;
            *bytes += table.bytes;
            *live += table.activity.live;
            above = catalog
                .tables
                .get(parent)
                .and_then(|t| t.partition_of.as_ref());
        }
    }
    for (name, (rows, pages, bytes, live)) in totals {
        if let Some(table) = catalog.tables.get_mut(&name) {
            (table.rows, table.pages, table.bytes) = (rows, pages, bytes);
            table.activity.live = live;
        }
    }
}

fn note_hidden_statistics(catalog: &mut Catalog) {
    let stored = |t: &&Table| !matches!(t.kind, TableKind::View | TableKind::Foreign);
    let hidden = catalog
        .tables
        .values()
        .filter(stored)
        .filter(|t| !t.statistics_readable)
        .count();
    if hidden == 0 {
        return;
    }
    let user = crate::sql::quote::ident(&catalog.server.user);
    catalog.gaps.push(Gap {
        what: format!("column statistics of {hidden} tables"),
        why: format!(
            "{user} may not read them: it has no SELECT there, or row-level security applies to it"
        ),
        remedy: Some(if catalog.server.version_num >= 140_000 {
            format!("grant pg_read_all_data to {user};")
        } else {
            "Connect as the owner of the tables.".to_owned()
        }),
    });
}
