//! A value that no row holds.

use super::asks::{Asks, Subject, named};
use super::reader::{Reader, text};
use crate::db::Result;
use crate::model::Column;

/// `None` where the type has no value to spare.
pub(super) async fn find(
    reader: &mut Reader<'_>,
    asks: &Asks,
    subject: &Subject,
    everybody: &str,
) -> Result<Option<String>> {
    let column = subject.places.iter().find_map(|(table, column)| {
        let column = asks.tables.get(table)?.column(column);
        column.filter(|c| c.type_kind != 'e')
    });
    let Some(candidates) = column.and_then(candidates) else {
        return Ok(None);
    };
    let sql = format!(
        "with u as (select distinct who from ({everybody}) e)
         select json_build_array(c.v)::text from ({candidates}) c(v, n)
         where not exists (select from u where u.who = c.v) order by c.n limit 1"
    );
    let doing = format!(
        "find a value of {} that no row holds",
        named(&subject.claim)
    );
    let rows = reader.ask(&doing, &sql, &[]).await?.unwrap_or_default();
    Ok(rows.first().and_then(|row| text(row, 0)))
}

/// More candidates than tables could hold by chance, in order.
fn candidates(column: &Column) -> Option<String> {
    let name = column.type_name.trim_end_matches("[]");
    let name = name.split('(').next().unwrap_or(name);
    Some(match name {
        "uuid" => {
            "select md5('nobody ' || n)::uuid::text, n from generate_series(1, 20) n".to_owned()
        }
        "smallint" => "select (32767 - n)::text, n from generate_series(0, 20000) n".to_owned(),
        "integer" | "bigint" | "numeric" | "double precision" | "real" => {
            "select (2147483647 - n)::text, n from generate_series(0, 20000) n".to_owned()
        }
        "date"
        | "timestamp without time zone"
        | "timestamp with time zone"
        | "boolean"
        | "jsonb"
        | "json" => {
            return None;
        }
        _ => "select 'nobody' || n, n from generate_series(1, 20) n".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_type() {
        let of = |name: &str| {
            candidates(&Column {
                type_name: name.to_owned(),
                ..Column::default()
            })
        };
        assert!(of("uuid[]").is_some_and(|sql| sql.contains("uuid")));
        assert!(of("character varying(20)").is_some_and(|sql| sql.contains("nobody")));
        assert!(of("numeric(10,2)").is_some_and(|sql| !sql.contains("nobody")));
        assert_eq!(of("boolean"), None);
    }
}
