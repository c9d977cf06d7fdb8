use super::Reader;
use super::decode::{get, letter};
use crate::db::Result;
use crate::model::{Catalog, Declared, Function, Name, Parallel, Volatility};
use tokio_postgres::Row;

impl Reader<'_> {
    pub(super) async fn read_functions(&self, catalog: &mut Catalog) -> Result<()> {
        let sql = include_str!("../queries/functions.sql");
        for row in self.rows("read functions", sql).await? {
            catalog.functions.push(function(&row)?);
        }
        let sql = include_str!("../queries/callables.sql");
        for row in self.rows("read what else can be called", sql).await? {
            let name = Name::new(get::<&str>(&row, "schema")?, get::<&str>(&row, "name")?);
            catalog.callables.insert(name);
        }
        let sql = include_str!("../queries/builtins.sql");
        for row in self.rows("read built-in functions", sql).await? {
            let name: String = get(&row, "name")?;
            if get(&row, "leakproof")? {
                catalog.leakproof_builtins.insert(name.clone());
            }
            catalog.builtins.insert(name, volatility(&row)?);
        }
        let sql = include_str!("../queries/equality.sql");
        let mut elsewhere = std::collections::BTreeSet::new();
        for row in self.rows("read operators", sql).await? {
            elsewhere.insert(get(&row, "type")?);
        }
        catalog.equality_elsewhere = Some(elsewhere);
        Ok(())
    }
}

fn volatility(row: &Row) -> Result<Volatility> {
    Ok(match letter(row, "volatility")? {
        'i' => Volatility::Immutable,
        's' => Volatility::Stable,
        _ => Volatility::Volatile,
    })
}

fn function(row: &Row) -> Result<Function> {
    Ok(Function {
        name: Name::new(get::<&str>(row, "schema")?, get::<&str>(row, "name")?),
        oid: get(row, "oid")?,
        arguments: get(row, "arguments")?,
        argument_types: get(row, "argument_types")?,
        argument_names: get(row, "argument_names")?,
        returns: get(row, "returns")?,
        returns_set: get(row, "returns_set")?,
        language: get(row, "language")?,
        volatility: volatility(row)?,
        parallel: match letter(row, "parallel")? {
            's' => Parallel::Safe,
            'r' => Parallel::Restricted,
            _ => Parallel::Unsafe,
        },
        leakproof: get(row, "leakproof")?,
        strict: get(row, "strict")?,
        security_definer: get(row, "security_definer")?,
        owner: get(row, "owner")?,
        config: get(row, "config")?,
        body: get::<Option<String>>(row, "body")?.unwrap_or_default(),
        executors: get(row, "executors")?,
        extension: get(row, "extension")?,
        declared: Some(Declared {
            defaults: u16::try_from(get::<i32>(row, "defaults")?).unwrap_or(u16::MAX),
            variadic: get(row, "variadic")?,
            outputs: get(row, "outputs")?,
            polymorphic: get(row, "polymorphic")?,
        }),
    })
}
