//! The fields of a csvlog, which quotes newlines and doubles quotes.

use super::Line;
use std::io::{self, BufRead};

/// Hands over every record; `None` for one with too few fields.
pub(super) fn records(
    mut from: impl BufRead,
    take: &mut dyn FnMut(Option<Line>),
) -> io::Result<()> {
    let mut record = Vec::new();
    let mut line = Vec::new();
    let mut quoted = false;
    loop {
        line.clear();
        if from.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        record.extend_from_slice(&line);
        // Inside quotes a newline belongs to the field; a doubled quote changes nothing.
        quoted = line.iter().fold(quoted, |q, b| q ^ (*b == b'"'));
        if !quoted {
            take(parse(&String::from_utf8_lossy(&record)));
            record.clear();
        }
    }
    if !record.is_empty() {
        take(None);
    }
    Ok(())
}

fn parse(record: &str) -> Option<Line> {
    let fields = fields(record.trim_end_matches(['\n', '\r']));
    let field = |at: usize| fields.get(at).cloned();
    Some(Line {
        database: field(2)?,
        session: field(5)?,
        message: field(13)?,
        detail: field(14)?,
    })
}

fn fields(record: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = record.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                push(&mut fields, '"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => push(&mut fields, c),
        }
    }
    fields
}

fn push(fields: &mut [String], c: char) {
    if let Some(last) = fields.last_mut() {
        last.push(c);
    }
}
