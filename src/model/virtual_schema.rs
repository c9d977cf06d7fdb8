use super::{Activity, Catalog, Change, Function, Index, IndexSpec, Name, Server, Volatility};

impl Catalog {
    /// The catalog as it would be after `change`: what a reader would find, sizes and oids aside.
    #[must_use]
    pub fn with(&self, change: &Change) -> Self {
        let mut catalog = self.clone();
        match change {
            Change::CreateIndex(spec) => {
                if let Some(table) = catalog.tables.get_mut(&spec.table) {
                    table.indexes.push(index_of(spec));
                }
            }
            Change::DropIndex(spec) => {
                if let Some(table) = catalog.tables.get_mut(&spec.table) {
                    table.indexes.retain(|i| i.name.name != spec.name);
                }
            }
            Change::ReplacePolicy {
                table,
                policy,
                after,
                ..
            } => {
                let table = catalog.tables.get_mut(table);
                if let Some(found) =
                    table.and_then(|t| t.policies.iter_mut().find(|p| p.name == *policy))
                {
                    found.using.clone_from(&after.using);
                    found.check.clone_from(&after.check);
                }
            }
            Change::CreateFunction { name, body, .. } => catalog.functions.push(Function {
                name: name.clone(),
                language: "sql".to_owned(),
                volatility: Volatility::Stable,
                returns_set: true,
                body: body.clone(),
                ..Function::default()
            }),
            Change::DropFunction { name, .. } => {
                catalog.functions.retain(|f| f.name != *name || f.oid != 0);
            }
        }
        catalog
    }
}

impl Catalog {
    /// What the schema is, without what changes by use: statistics, sizes, object ids, the moment of reading, and
    /// dbtune's own tables. Two databases with the same schema are equal in this form.
    #[must_use]
    pub fn schema(&self) -> Self {
        let mut catalog = self.clone();
        catalog.server = Server::default();
        catalog.gaps.clear();
        catalog.taxes.clear();
        catalog.schemas.remove("dbtune");
        catalog
            .tables
            .retain(|name, _| name.schema != "dbtune" && name.name != "_sqlx_migrations");
        for table in catalog.tables.values_mut() {
            table.oid = 0;
            table.rows = None;
            table.pages = 0;
            table.bytes = 0;
            table.activity = Activity::default();
            for column in &mut table.columns {
                column.stats = None;
            }
            for index in &mut table.indexes {
                index.oid = 0;
                index.bytes = 0;
                index.scans = 0;
                index.leaks.clear();
                index.last_scan = None;
            }
        }
        catalog.functions.retain(|f| f.name.schema != "dbtune");
        for function in &mut catalog.functions {
            function.oid = 0;
        }
        catalog
    }
}

fn index_of(spec: &IndexSpec) -> Index {
    Index {
        name: Name::new(&spec.table.schema, &spec.name),
        method: spec.method.clone(),
        unique: spec.unique,
        valid: true,
        ready: true,
        live: true,
        keys: spec.keys.clone(),
        include: spec.include.clone(),
        predicate: spec.predicate.clone(),
        ..Index::default()
    }
}
