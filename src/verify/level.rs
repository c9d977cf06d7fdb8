//! The same indexes on both sides.
//!
//! An index changes what nobody sees, and a policy that calls a function once a row is checked many times faster with the
//! index the function looks for. So what is compared is the policies alone.

use super::Sides;
use crate::db::{Result, Session};

/// Plain indexes as the server would make them again.
const INDEXES: &str = "
select pg_get_indexdef(i.indexrelid)
from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
where i.indisvalid and not i.indisunique and c.relkind = 'i' and not c.relispartition
  and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
order by 1";

/// Makes the indexes of the side after the change on the side before it. Only for clones.
pub(super) async fn level(sides: &Sides) -> Result<()> {
    let there = indexes(&sides.before).await?;
    for definition in indexes(&sides.after).await? {
        if !there.contains(&definition) {
            sides
                .before
                .execute("give the clone before the change an index", &definition)
                .await?;
        }
    }
    Ok(())
}

async fn indexes(session: &Session) -> Result<Vec<String>> {
    session.texts("read the indexes of a clone", INDEXES).await
}
