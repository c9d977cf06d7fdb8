//! SQL in lines of a given width, for people to read and to copy.

/// Breaks long lines of `sql` where blank space stands between two tokens, so that quoted names and strings stay
/// whole and the text means the same. A token wider than `width` columns keeps a line of its own; text that is no SQL
/// stays as it is.
pub fn fold(sql: &str, width: usize) -> String {
    let Some(units) = units(sql) else {
        return sql.to_owned();
    };
    let mut out = String::with_capacity(sql.len() + 16);
    let mut column = 0;
    for (gap, unit) in units {
        let first_line = unit.lines().next().unwrap_or_default().chars().count();
        if gap.contains('\n') || out.is_empty() {
            out.push_str(gap);
            column = after_last_newline(gap, 0);
        } else if column + gap.chars().count() + first_line > width {
            out.push_str("\n  ");
            column = 2;
        } else {
            out.push_str(gap);
            column += gap.chars().count();
        }
        out.push_str(unit);
        column = after_last_newline(unit, column);
    }
    out
}

/// Runs of text without blank space between tokens, each with the blank space before it.
fn units(sql: &str) -> Option<Vec<(&str, &str)>> {
    let tokens = pg_query::scan(sql).ok()?.tokens;
    let mut units = Vec::new();
    let (mut gap_from, mut from, mut to) = (0, 0, 0);
    for token in &tokens {
        let start = usize::try_from(token.start).ok()?;
        let end = usize::try_from(token.end).ok()?;
        if start > to || units.is_empty() && to == 0 {
            if to > from {
                units.push((sql.get(gap_from..from)?, sql.get(from..to)?));
                gap_from = to;
            }
            from = start;
        }
        to = end;
    }
    // What the scanner passes over at the end, if anything, stays with the last unit.
    let rest = sql.trim_end().len().max(to);
    if rest > from {
        units.push((sql.get(gap_from..from)?, sql.get(from..rest)?));
    }
    Some(units)
}

fn after_last_newline(text: &str, column: usize) -> usize {
    match text.rsplit_once('\n') {
        Some((_, last)) => last.chars().count(),
        None => column + text.chars().count(),
    }
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn breaks_between_tokens_only() {
        let sql = "create index concurrently \"a very long name\" on public.\"Order; drop\" (\"user id\", b);";
        let folded = fold(sql, 40);
        assert!(folded.lines().all(|l| l.chars().count() <= 40), "{folded}");
        assert!(
            folded.contains("\"a very long name\"") && folded.contains("public.\"Order; drop\"")
        );
        assert_eq!(folded.replace("\n  ", " "), sql);
    }

    #[test]
    fn lines_and_comments_stay() {
        for sql in [
            "",
            "select 1;\nselect 2;",
            "select 1; -- a remark that is long enough\nselect 2;",
            "what's this?",
        ] {
            assert_eq!(fold(sql, 200), sql);
        }
        assert_eq!(
            fold("select 'a\nlong string', 2", 8),
            "select\n  'a\nlong string',\n  2"
        );
    }
}
