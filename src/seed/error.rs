use crate::config;
use crate::db;
use crate::model::Name;

/// Why a specification cannot be read, does not fit the database, or could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// With file, line and column.
    #[error(transparent)]
    File(#[from] config::Error),
    #[error("the seed specification names the table {table} twice")]
    TwiceNamed { table: Name },
    #[error("the seed specification names the table {table}, which {place} does not have{}", near(nearest.as_ref()))]
    UnknownTable {
        table: Name,
        /// "the database", "the specification".
        place: &'static str,
        nearest: Option<String>,
    },
    #[error("the seed specification names the column {table}.{column}, which does not exist{}", near(nearest.as_ref()))]
    UnknownColumn {
        table: Name,
        column: String,
        nearest: Option<String>,
    },
    #[error("{table}.{column}: {message}")]
    Column {
        table: Name,
        column: String,
        message: String,
    },
    #[error("these tables refer to each other in a circle, so none can be filled first: {}", tables.join(", "))]
    Circle { tables: Vec<String> },
    #[error(
        "{table} holds {rows} rows already\n  Seeding starts with empty tables: empty them first (--truncate), or add to them (--append)."
    )]
    NotEmpty { table: Name, rows: u64 },
    #[error("the database has no table to fill")]
    NoTables,
    #[error(transparent)]
    Db(#[from] db::Error),
}

fn near(nearest: Option<&String>) -> String {
    nearest
        .map(|n| format!("; is it `{n}`?"))
        .unwrap_or_default()
}

/// The candidate that differs least from `word`, if it is a plausible slip of the pen.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let allowed = word.chars().count() / 3 + 1;
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, above) in b.chars().zip(row.iter().skip(1)) {
            let cost = (diagonal + usize::from(x != y))
                .min(left + 1)
                .min(above + 1);
            diagonal = *above;
            left = cost;
            next.push(cost);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_slips_and_nothing_far_fetched() {
        assert_eq!(
            nearest("quantiy", ["id", "quantity"]).as_deref(),
            Some("quantity")
        );
        assert_eq!(nearest("price", ["id", "quantity"]), None);
    }
}
