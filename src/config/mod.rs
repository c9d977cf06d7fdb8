//! The files people write: `dbtune.yaml` and workloads. Text in, typed values or a position out.

mod access;
mod annotated;
mod gate;
mod settings;
mod waiver;
mod workload;

pub use access::AllowedAccess;
pub use gate::{Allowance, GateSettings, Override};
pub use settings::{FailOn, Settings};
pub use waiver::{Waiver, waive};
pub use workload::parse as parse_workload;

use serde::de::DeserializeOwned;
use std::fmt;

/// What is wrong in a file, and where. Lines and columns count from one; zero where unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub file: String,
    pub line: u64,
    pub column: u64,
    /// What was found and what was expected.
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => write!(f, "{}: {}", self.file, self.message),
            (line, column) => write!(f, "{}:{line}:{column}: {}", self.file, self.message),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    pub(crate) fn at(file: &str, line: u64, column: u64, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            column,
            message: message.into(),
        }
    }
}

/// Reads `text` as YAML; `file` is for messages only.
pub(crate) fn from_yaml<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Error> {
    serde_saphyr::from_str(text).map_err(|error| {
        let place = error.location();
        // Without the snippet of the source, which may hold a claim.
        let options = serde_saphyr::render_options! {
            formatter: &serde_saphyr::UserMessageFormatter,
            snippets: serde_saphyr::SnippetMode::Off,
        };
        let rendered = error.without_snippet().render_with_options(options);
        let (line, column) = place.map_or((0, 0), |l| (l.line(), l.column()));
        let suffix = format!(" at line {line}, column {column}");
        let message = rendered.strip_suffix(&suffix).unwrap_or(&rendered);
        let message = match message.strip_prefix("invalid ").and_then(kind) {
            Some(kind) => format!(
                "found `{}`, expected {kind}",
                text_at(text, line, column).trim()
            ),
            None => message.to_owned(),
        };
        Error::at(file, line, column, message)
    })
}

/// Rust's name of a type in words.
fn kind(rust: &str) -> Option<&'static str> {
    match rust {
        "u64" | "u32" | "usize" => Some("a whole number, 0 or more"),
        "f64" => Some("a number"),
        "bool" | "boolean" => Some("true or false"),
        _ => None,
    }
}

/// The rest of a line; lines and columns count from one.
fn text_at(text: &str, line: u64, column: u64) -> String {
    let index = |n: u64| usize::try_from(n.saturating_sub(1)).unwrap_or(usize::MAX);
    text.lines()
        .nth(index(line))
        .map(|l| l.chars().skip(index(column)).collect())
        .unwrap_or_default()
}
