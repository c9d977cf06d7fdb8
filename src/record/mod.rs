//! A workload file from what a server saw: statements become queries, roles become personas, `$n` become draws.
//!
//! Pure: what has to be asked of the server (the types of the placeholders, whether a draw yields rows) is asked by the
//! caller between the steps. No row value gets into the file unless it is asked for.

mod choose;
mod draft;
mod generator;
mod literal;
pub mod log;
mod persona;
mod yaml;

pub use choose::{Chosen, Recorded, choose};
pub use generator::{Generated, generate};
pub use persona::{Peopled, people};
pub use yaml::{Left, Noted, Recording};

/// One statement as it was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// With `$n` in place of its values.
    pub text: String,
    /// Who ran it, after `SET ROLE`; `None` where that is not known.
    pub role: Option<String>,
    pub calls: u64,
    pub total_ms: f64,
    /// Rows returned or touched by all calls; `None` where that is not known.
    pub rows: Option<u64>,
    /// Values of its placeholders, one list a call. Empty unless values may be kept.
    pub values: Vec<Vec<Option<String>>>,
}

impl Seen {
    /// What `pg_stat_statements` counted, without statements that ran inside functions.
    pub fn from_statements(statements: &crate::model::Statements) -> Vec<Self> {
        let whole = |n: i64| u64::try_from(n).unwrap_or_default();
        statements
            .statements
            .iter()
            .filter(|s| s.top_level)
            .filter_map(|s| {
                Some(Self {
                    text: s.text.clone()?,
                    role: Some(s.role.clone()),
                    calls: whole(s.calls),
                    total_ms: s.total_ms,
                    rows: Some(whole(s.rows)),
                    values: Vec::new(),
                })
            })
            .collect()
    }
}
