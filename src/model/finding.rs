use super::{Evidence, Name};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Note,
    Warning,
    Error,
}

impl Severity {
    pub fn label(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    Table,
    Column,
    Policy,
    Index,
    Function,
    Role,
    Statement,
    Database,
}

impl ObjectKind {
    pub fn label(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Column => "column",
            Self::Policy => "policy",
            Self::Index => "index",
            Self::Function => "function",
            Self::Role => "role",
            Self::Statement => "statement",
            Self::Database => "database",
        }
    }
}

/// What a finding is about: a relation or function, and possibly a part of it (policy, column).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Object {
    pub kind: ObjectKind,
    pub name: Name,
    /// The policy's or column's name, the statement's query id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub part: Option<String>,
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.part {
            Some(part) => write!(f, "{} · {part}", self.name),
            None => self.name.fmt(f),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub rule: String,
    pub severity: Severity,
    pub object: Object,
    /// One sentence, numbers included.
    pub message: String,
    pub evidence: Evidence,
    /// SQL that mends it, where known for certain.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fix: Option<String>,
    /// Words of advice where the fix is not one statement.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub advice: Option<String>,
    /// The line of a migration that made the object what it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub origin: Option<Origin>,
    /// Why it does not count; `None` where it does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub excuse: Option<Excuse>,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    pub file: String,
    /// From 1.
    pub line: usize,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Why a finding is shown without counting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Excuse {
    /// It stood in the baseline already.
    Known,
    /// The configuration says to let it be, until a date.
    Waived { reason: String, expires: NaiveDate },
}

impl Finding {
    /// What makes it the same finding in two runs: the rule and the object, whatever the numbers are.
    pub fn identity(&self) -> (&str, &Object) {
        (&self.rule, &self.object)
    }

    /// Whether it is one to act on.
    pub fn counts(&self) -> bool {
        self.excuse.is_none()
    }
}

/// What a run could not look at, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Gap {
    pub what: String,
    pub why: String,
    /// The GRANT or command that would allow it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub remedy: Option<String>,
}
