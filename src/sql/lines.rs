//! SQL in lines of a given width, for people to read and to copy.

use pg_query::protobuf::Token;

/// Breaks long lines of `sql` where blank space stands between two tokens, so that quoted names and strings stay
/// whole and the text means the same. Where `schema.name` is too wide for a line it is broken at the dot; a token wider
/// than `width` columns keeps a line of its own, and text that is no SQL stays as it is.
pub fn fold(sql: &str, width: usize) -> String {
    let Some(units) = units(sql) else {
        return sql.to_owned();
    };
    let mut out = String::with_capacity(sql.len() + 16);
    let mut column = 0;
    for unit in &units {
        let whole = unit.pieces.iter().map(|p| first_line(p)).sum::<usize>() <= width;
        for (at, piece) in unit.pieces.iter().enumerate() {
            let gap = if at == 0 { unit.gap } else { "" };
            let length = if whole && at == 0 {
                unit.pieces.iter().map(|p| first_line(p)).sum()
            } else {
                first_line(piece)
            };
            if gap.contains('\n') || out.is_empty() {
                out.push_str(gap);
                column = after_last_newline(gap, 0);
            } else if column + gap.chars().count() + length > width && !(whole && at > 0) {
                out.push_str("\n  ");
                column = 2;
            } else {
                out.push_str(gap);
                column += gap.chars().count();
            }
            out.push_str(piece);
            column = after_last_newline(piece, column);
        }
    }
    out
}

fn first_line(text: &str) -> usize {
    text.lines().next().unwrap_or_default().chars().count()
}

/// Tokens without blank space between them.
struct Unit<'a> {
    /// The blank space before it.
    gap: &'a str,
    /// What stands between the dots, each with its dot.
    pieces: Vec<&'a str>,
}

fn units(sql: &str) -> Option<Vec<Unit<'_>>> {
    let tokens = pg_query::scan(sql).ok()?.tokens;
    let mut units: Vec<Unit<'_>> = Vec::new();
    let mut to = 0;
    let mut after_dot = false;
    for token in &tokens {
        let start = usize::try_from(token.start).ok()?;
        // The scanner counts what it passes over at the end into no token.
        let end = usize::try_from(token.end).ok()?.min(sql.len());
        let text = sql.get(start..end)?;
        match units.last_mut() {
            Some(unit) if start == to => match unit.pieces.last_mut() {
                Some(piece) if !after_dot => {
                    let begin = start.checked_sub(piece.len())?;
                    *piece = sql.get(begin..end)?;
                }
                _ => unit.pieces.push(text),
            },
            _ => units.push(Unit {
                gap: sql.get(to..start)?,
                pieces: vec![text],
            }),
        }
        after_dot = token.token() == Token::Ascii46;
        to = end;
    }
    // Text that is no token would be lost.
    sql.get(to..)?.trim().is_empty().then_some(units)
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
    fn a_name_too_wide_is_broken_at_its_dot() {
        let sql = format!("drop table {}.{} cascade", "s".repeat(20), "t".repeat(20));
        let folded = fold(&sql, 30);
        assert_eq!(folded, sql.replace(" s", "\n  s").replace(".t", ".\n  t"));
        assert_eq!(fold("drop table a.b", 12), "drop table\n  a.b");
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
