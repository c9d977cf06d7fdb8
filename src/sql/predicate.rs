//! Expressions that say the same of different tables.

/// A policy expression without the name of its own table, so that copies on other tables are equal to it; `None` where
/// the text is no SQL.
pub fn normalised(expression: &str, table: &str) -> Option<String> {
    let scan = pg_query::scan(expression).ok()?;
    let mut words: Vec<&str> = Vec::new();
    for token in &scan.tokens {
        let start = usize::try_from(token.start).ok()?;
        let end = usize::try_from(token.end).ok()?;
        let word = expression.get(start..end)?;
        // `table.column` is `column`; `schema.table` stays.
        let at_own = word == "."
            && words.last() == Some(&super::quote::ident(table).as_str())
            && words.iter().rev().nth(1) != Some(&".");
        if at_own {
            words.pop();
        } else {
            words.push(word);
        }
    }
    Some(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::normalised;

    #[test]
    fn a_table_of_its_own_name_makes_no_difference() {
        let policy = |table: &str| {
            normalised(
                &format!("(EXISTS ( SELECT 1\n FROM public.member m WHERE (m.org = {table}.org)))"),
                table,
            )
        };
        assert_eq!(policy("a"), policy("b"));
        assert_eq!(
            normalised("(x = \"My T\".org)", "My T"),
            normalised("(x = t.org)", "t")
        );
        assert_ne!(
            normalised("(org IN ( SELECT o.org FROM public.a o))", "a"),
            normalised("(org IN ( SELECT o.org FROM public.b o))", "b")
        );
    }
}
