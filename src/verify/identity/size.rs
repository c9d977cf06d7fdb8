//! Users of the smallest, the median and the biggest tenant.

use super::Kind;
use super::asks::{Asks, Subject};
use super::crowd::{One, values};
use super::reader::{Reader, text};
use crate::db::Result;
use crate::model::Name;
use crate::sql::quote;
use crate::sql::ties::Place;
use std::collections::BTreeSet;

/// How the rows of a table belong to users.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Way {
    pub(super) table: Name,
    /// FROM clause with the table as `m`, and the user as an expression over it.
    pub(super) from: String,
    pub(super) user: String,
    /// Its own column that names the user, directly or by way of another table.
    pub(super) column: String,
    direct: bool,
}

impl Way {
    /// Whether the user stands in another table.
    pub(super) fn is_by_way(&self) -> bool {
        !self.direct
    }
}

/// A column by which users belong to tenants, and the largest table with rows of tenants.
#[derive(Clone, Debug)]
pub(super) struct Membership {
    pub(super) way: Way,
    pub(super) tenant: String,
    pub(super) of: Place,
    /// Tables whose rows belong to tenants.
    reach: usize,
}

/// Tables whose rows name a user: in a column of their own, or by way of a table that does.
pub(super) fn ways(asks: &Asks, subject: &Subject) -> Vec<Way> {
    let mut found = Vec::new();
    for (table, column) in &subject.places {
        let array = asks.tables.get(table).and_then(|t| t.column(column));
        if array.is_none_or(|c| c.type_category == 'A') {
            continue;
        }
        found.push(Way {
            table: table.clone(),
            from: format!("{} m", quote::name(table)),
            user: format!("m.{}", quote::ident(column)),
            column: column.clone(),
            direct: true,
        });
        for ((near, key), (far, refers)) in &asks.ties.joined {
            let known = asks.tables.get(far).and_then(|t| t.column(refers));
            let own = subject.places.iter().any(|(t, _)| t == far);
            // A row of the table between is one person, and the key is theirs: a profile, and no tenant of many.
            let person = is_key(asks, &(table.clone(), column.clone()))
                && is_key(asks, &(near.clone(), key.clone()));
            if near != table || key == column || known.is_none() || own || !person {
                continue;
            }
            found.push(Way {
                table: far.clone(),
                from: format!(
                    "{} m join {} p on p.{} = m.{}",
                    quote::name(far),
                    quote::name(near),
                    quote::ident(key),
                    quote::ident(refers)
                ),
                user: format!("p.{}", quote::ident(column)),
                column: refers.clone(),
                direct: false,
            });
        }
    }
    found
}

/// By which users belong to tenants, the one that says most of the rows first.
pub(super) fn memberships(asks: &Asks, subject: &Subject) -> Vec<Membership> {
    let mut found = Vec::new();
    for way in ways(asks, subject) {
        let joined = asks
            .ties
            .joined
            .iter()
            .filter(|((m, tenant), (of, column))| {
                let known = asks.tables.get(of).and_then(|t| t.column(column));
                *m == way.table && *tenant != way.column && known.is_some()
            });
        let tenants: BTreeSet<&String> = joined.clone().map(|((_, t), _)| t).collect();
        let own = |column: &str| is_key(asks, &(way.table.clone(), column.to_owned()));
        for tenant in tenants {
            // A row of its own for each user: another name of theirs, and no tenant.
            if own(&way.column) && own(tenant) {
                continue;
            }
            let of: BTreeSet<&Place> = joined
                .clone()
                .filter(|((_, t), _)| t == tenant)
                .map(|(_, of)| of)
                .collect();
            let largest = of.iter().copied().max_by(|a, b| {
                let rows = asks.rows(&a.0).total_cmp(&asks.rows(&b.0));
                rows.then_with(|| b.cmp(a))
            });
            if let Some(largest) = largest {
                found.push(Membership {
                    way: way.clone(),
                    tenant: tenant.clone(),
                    of: largest.clone(),
                    reach: of.len(),
                });
            }
        }
    }
    found.sort_by(|a, b| {
        let direct = b.way.direct.cmp(&a.way.direct);
        let rows = asks.rows(&b.of.0).total_cmp(&asks.rows(&a.of.0));
        b.reach.cmp(&a.reach).then(direct).then(rows)
    });
    found
}

/// One of the smallest, the median and the biggest tenant, and whom most rows belong to.
pub(super) async fn people(
    reader: &mut Reader<'_>,
    asks: &Asks,
    subject: &Subject,
) -> Result<Vec<One>> {
    let members = memberships(asks, subject);
    let mut found = Vec::new();
    if let Some(membership) = members.first() {
        found = of_tenants(reader, membership).await?;
    }
    let owned = subject.places.iter().filter(|p| {
        let table = asks.tables.get(&p.0);
        let member = members.iter().any(|m| m.way.table == p.0);
        !member && table.is_some_and(|t| t.rls_enabled) && !is_key(asks, p)
    });
    let owned: Vec<&Place> = owned.collect();
    let all: Vec<&Place> = subject.places.iter().collect();
    let candidates = if owned.is_empty() && found.is_empty() {
        all
    } else {
        owned
    };
    let largest = candidates.into_iter().max_by(|a, b| {
        let rows = asks.rows(&a.0).total_cmp(&asks.rows(&b.0));
        rows.then_with(|| b.cmp(a))
    });
    if let Some(place) = largest {
        let sizes = of_rows(reader, asks, place).await?;
        if found.is_empty() {
            found = sizes;
        } else if let Some(mut most) = sizes.into_iter().find(|p| p.kind == Kind::Biggest) {
            most.kind = Kind::FrequentOwner;
            most.rank = 3;
            found.push(most);
        }
    }
    Ok(found)
}

/// Whether the column alone is unique: then nobody has more rows than another.
pub(super) fn is_key(asks: &Asks, (table, column): &Place) -> bool {
    let Some(table) = asks.tables.get(table) else {
        return false;
    };
    table.indexes.iter().any(|index| {
        let [key] = index.keys.as_slice() else {
            return false;
        };
        index.unique && index.predicate.is_none() && key.column.as_deref() == Some(column)
    })
}

/// Which place in the order of size each kind has.
const PICK: &str = "select json_build_array(case when rn = k then 'biggest' when rn = 1 then 'smallest' else 'median' end, \
    min(who))::text from r where rn in (1, (k + 1) / 2, k) group by rn, k order by rn desc";

async fn of_tenants(reader: &mut Reader<'_>, membership: &Membership) -> Result<Vec<One>> {
    let Membership {
        way, tenant, of, ..
    } = membership;
    let (own, column) = (quote::ident(tenant), quote::ident(&of.1));
    let sql = format!(
        "with vol as (select {column}::text as tenant, count(*) as n from {} group by 1),
         m as (select distinct {}::text as who, m.{own}::text as tenant from {} where {} is not null and m.{own} is not null),
         ten as (select tenant, row_number() over (order by coalesce(n, 0), tenant) as rn, count(*) over () as k
                 from (select distinct tenant from m) d left join vol using (tenant)),
         r as (select rn, k, who from m join ten using (tenant)) {PICK}",
        quote::name(&of.0),
        way.user,
        way.from,
        way.user
    );
    let about = |word: &str| {
        format!(
            "somebody of the {word} tenant of {}.{tenant}, by rows of {}",
            way.table.name, of.0.name
        )
    };
    pick(reader, "find tenants by size", &sql, &about).await
}

async fn of_rows(reader: &mut Reader<'_>, asks: &Asks, place: &Place) -> Result<Vec<One>> {
    let sql = format!(
        "with s as (select who, count(*) as n from ({}) v group by 1),
         r as (select who, row_number() over (order by n, who) as rn, count(*) over () as k from s) {PICK}",
        values(asks, place)
    );
    let about = |word: &str| format!("{word} by rows of {}.{}", place.0.name, place.1);
    pick(reader, "find owners by their rows", &sql, &about).await
}

/// The lowest, the middle and the highest value, where a claim is compared by order or in any other way.
pub(super) async fn by_value(
    reader: &mut Reader<'_>,
    asks: &Asks,
    subject: &Subject,
) -> Result<Vec<One>> {
    let Some((table, column)) = subject.places.first() else {
        return Ok(Vec::new());
    };
    let column = quote::ident(column);
    let array = values(asks, &(table.clone(), column.clone())).contains("unnest");
    let sql = if array {
        return of_rows(reader, asks, &(table.clone(), column)).await;
    } else {
        format!(
            "with s as (select distinct t.{column} as v from {} t where t.{column} is not null),
             r as (select v::text as who, row_number() over (order by v) as rn, count(*) over () as k from s) {PICK}",
            quote::name(table)
        )
    };
    let about = |word: &str| format!("the {word} value of {}.{column}", table.name);
    pick(reader, "find values in their order", &sql, &about).await
}

async fn pick(
    reader: &mut Reader<'_>,
    doing: &str,
    sql: &str,
    about: &dyn Fn(&str) -> String,
) -> Result<Vec<One>> {
    let rows = reader.ask(doing, sql, &[]).await?.unwrap_or_default();
    let found = rows.iter().filter_map(|row| {
        let word = text(row, 0)?;
        let (kind, rank) = match word.as_str() {
            "biggest" => (Kind::Biggest, 0),
            "smallest" => (Kind::Smallest, 1),
            _ => (Kind::Median, 3),
        };
        Some(One::new(text(row, 1)?, kind, rank, about(&word)))
    });
    Ok(found.collect())
}
