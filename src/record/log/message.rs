//! What a log line says of a statement.

use crate::sql::setting::{Changes, changes};

/// A statement with its duration.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Logged {
    pub(super) text: String,
    pub(super) duration_ms: f64,
    pub(super) parameters: Vec<Option<String>>,
    /// Whether every parameter is there in full.
    pub(super) complete: bool,
}

/// `duration: 1.2 ms  statement: …`, `duration: 1.2 ms  execute name: …`; other lines hold no statement.
pub(super) fn logged(message: &str, detail: &str) -> Option<Logged> {
    let rest = message.strip_prefix("duration: ")?;
    let (duration, rest) = rest.split_once(" ms")?;
    let rest = rest.trim_start();
    let text = if let Some(text) = rest.strip_prefix("statement: ") {
        text
    } else {
        let named = rest
            .strip_prefix("execute fetch from ")
            .or_else(|| rest.strip_prefix("execute "))?;
        named.split_once(": ")?.1
    };
    let (parameters, complete) = parameters(detail);
    Some(Logged {
        text: text.to_owned(),
        duration_ms: duration.parse().ok()?,
        parameters,
        complete,
    })
}

/// `parameters: $1 = 'a', $2 = NULL`, the word in upper case from 16; false where one is cut off (`'abc...'`) or the list
/// is not understood.
fn parameters(detail: &str) -> (Vec<Option<String>>, bool) {
    let list = detail
        .strip_prefix("parameters: ")
        .or_else(|| detail.strip_prefix("Parameters: "));
    let Some(mut rest) = list else {
        return (Vec::new(), true);
    };
    let mut found = Vec::new();
    while let Some(after) = rest.strip_prefix('$') {
        let Some((_, value)) = after.split_once(" = ") else {
            return (found, false);
        };
        if let Some(after) = value.strip_prefix("NULL") {
            found.push(None);
            rest = after.strip_prefix(", ").unwrap_or(after);
            continue;
        }
        let Some((text, after)) = value.strip_prefix('\'').and_then(quoted) else {
            return (found, false);
        };
        if text.ends_with("...") {
            return (found, false);
        }
        found.push(Some(text));
        rest = after.strip_prefix(", ").unwrap_or(after);
    }
    (found, rest.is_empty())
}

/// The text up to the closing quote, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c != '\'' {
            out.push(c);
        } else if chars.peek().is_some_and(|(_, next)| *next == '\'') {
            chars.next();
            out.push('\'');
        } else {
            return Some((out, text.get(at + 1..)?));
        }
    }
    None
}

/// How a statement changes who the session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Becomes {
    /// The role, and whether it ends with the transaction.
    Role(String, bool),
    Nobody,
    TransactionEnd,
}

/// `None` for a statement that leaves the role alone.
pub(super) fn becomes(logged: &Logged) -> Option<Becomes> {
    match changes(&logged.text)? {
        Changes::Role { name, local } => {
            let name = match name {
                Ok(name) => name,
                // `set_config('role', $1, true)`
                Err(number) => logged.parameters.get(number.checked_sub(1)?)?.clone()?,
            };
            Some(if name == "none" {
                Becomes::Nobody
            } else {
                Becomes::Role(name, local)
            })
        }
        Changes::TransactionEnd => Some(Becomes::TransactionEnd),
    }
}
