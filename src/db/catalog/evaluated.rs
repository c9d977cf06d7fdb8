//! What the server evaluates as whoever writes or lists: sequences behind defaults, checks of domains, buckets.

use super::Reader;
use super::decode::get;
use super::tables::{Names, Parts};
use crate::db::Result;
use crate::model::{Buckets, Catalog, Name, Sequence};

impl Reader<'_> {
    pub(super) async fn read_evaluated(&self, catalog: &mut Catalog, names: &Names) -> Result<()> {
        let mut each = Parts { catalog, names };
        let sql = include_str!("../queries/sequences.sql");
        for row in self.rows("read sequences", sql).await? {
            let column: &str = get(&row, "column")?;
            let sequence = Sequence {
                name: Name::new(get::<&str>(&row, "schema")?, get::<&str>(&row, "name")?),
                owner: get(&row, "owner")?,
                users: get(&row, "users")?,
            };
            each.put(&row, |table| {
                if let Some(column) = table.columns.iter_mut().find(|c| c.name == column) {
                    column.sequence = Some(sequence);
                }
            })?;
        }
        let sql = include_str!("../queries/domains.sql");
        for row in self.rows("read domains", sql).await? {
            let domain = catalog.domains.entry(get(&row, "name")?).or_default();
            domain.base = get(&row, "base")?;
            if let Some(name) = get::<Option<String>>(&row, "constraint")? {
                domain.checks.insert(name, get(&row, "definition")?);
            }
        }
        self.read_buckets(catalog).await
    }

    /// Only where every row may be seen: under policies some would be missing.
    async fn read_buckets(&self, catalog: &mut Catalog) -> Result<()> {
        let sql = include_str!("../queries/buckets_readable.sql");
        let readable = self.rows("look for buckets", sql).await?;
        if readable.is_empty() {
            return Ok(());
        }
        let mut buckets = Buckets::default();
        let sql = include_str!("../queries/buckets.sql");
        for row in self.rows("read which buckets are public", sql).await? {
            buckets.public = get(&row, "public")?;
            buckets.named.extend(get::<Option<String>>(&row, "named")?);
        }
        catalog.buckets = Some(buckets);
        Ok(())
    }
}
