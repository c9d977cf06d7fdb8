//! A jsonlog: one object a line.

use super::Line;
use serde::Deserialize;
use std::io::{self, BufRead};

#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    dbname: String,
    #[serde(default)]
    session_id: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    detail: String,
}

/// Hands over every record; `None` for a line that is none.
pub(super) fn lines(mut from: impl BufRead, take: &mut dyn FnMut(Option<Line>)) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if from.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let record: Option<Record> = serde_json::from_slice(&line).ok();
        take(record.map(|r| Line {
            database: r.dbname,
            session: r.session_id,
            message: r.message,
            detail: r.detail,
        }));
    }
}
