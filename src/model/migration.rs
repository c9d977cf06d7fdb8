use serde::{Deserialize, Serialize};

/// One versioned step, as two files: `<version>_<slug>.up.sql` and `.down.sql`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// `YYYYMMDDhhmmss`, or any positive number that sqlx accepts.
    pub version: i64,
    pub slug: String,
    pub up: Script,
    /// `None` where the migration cannot be taken back.
    pub down: Option<Script>,
}

/// The text of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    pub sql: String,
    /// Starts with `-- no-transaction`: run outside a transaction, one statement.
    pub no_transaction: bool,
}

impl Script {
    /// Reads from the text whether it runs outside a transaction, as sqlx does: by the bytes at its very start.
    pub fn new(sql: impl Into<String>) -> Self {
        let sql = sql.into();
        Self {
            no_transaction: sql.starts_with("-- no-transaction"),
            sql,
        }
    }
}

impl Migration {
    /// `20240101120000_slug`, for messages.
    pub fn label(&self) -> String {
        format!("{}_{}", self.version, self.slug)
    }
}
