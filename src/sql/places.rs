//! Where an expression names relations, and the same expression with others in their place.

use crate::model::Name;
use crate::sql::quote;
use pg_query::NodeRef;
use pg_query::protobuf::Token;
use std::collections::BTreeMap;

/// Before an expression, to make a statement of it.
const HEAD: &str = "select ";

/// A relation with its schema, as bytes of the expression.
struct Place {
    name: Name,
    start: usize,
    end: usize,
    aliased: bool,
}

/// The relations with a schema that the sub-selects of an expression read, those of ONLY left out.
pub fn relations(expression: &str) -> Vec<Name> {
    places(expression).into_iter().map(|p| p.name).collect()
}

/// `expression` with the relations of `others` in place of those they are named for; columns keep their names.
pub fn instead(expression: &str, others: &BTreeMap<Name, Name>) -> String {
    let mut out = String::with_capacity(expression.len());
    let mut at = 0;
    for place in places(expression) {
        let (Some(other), Some(before)) =
            (others.get(&place.name), expression.get(at..place.start))
        else {
            continue;
        };
        out.push_str(before);
        out.push_str(&quote::name(other));
        if !place.aliased {
            out.push(' ');
            out.push_str(&quote::ident(&place.name.name));
        }
        at = place.end;
    }
    out.push_str(expression.get(at..).unwrap_or_default());
    out
}

/// In the order of the text.
fn places(expression: &str) -> Vec<Place> {
    let text = format!("{HEAD}{expression}");
    let (Ok(parsed), Ok(scanned)) = (pg_query::parse(&text, 0), pg_query::scan(&text)) else {
        return Vec::new();
    };
    let ends = |start: usize| {
        // `schema`, `.`, `name`.
        let mut tokens = scanned
            .tokens
            .iter()
            .skip_while(|t| usize::try_from(t.start).map_or(true, |at| at < start));
        let (_, dot, name) = (tokens.next()?, tokens.next()?, tokens.next()?);
        (dot.token() == Token::Ascii46).then_some(usize::try_from(name.end).ok()?)
    };
    let mut found: Vec<Place> = Vec::new();
    for (node, ..) in parsed.protobuf.nodes() {
        let NodeRef::RangeVar(range) = node else {
            continue;
        };
        let Ok(start) = usize::try_from(range.location) else {
            continue;
        };
        if range.schemaname.is_empty() || !range.inh || !range.catalogname.is_empty() {
            continue;
        }
        if let Some(end) = ends(start) {
            found.push(Place {
                name: Name::new(&range.schemaname, &range.relname),
                start: start - HEAD.len(),
                end: end - HEAD.len(),
                aliased: range.alias.is_some(),
            });
        }
    }
    found.sort_by_key(|p| p.start);
    found.dedup_by_key(|p| p.start);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_relation_under_the_old_name() {
        let others = BTreeMap::from([(Name::new("public", "parents"), Name::new("pg_temp", "p1"))]);
        let text = "((EXISTS ( SELECT 1 FROM public.parents WHERE (parents.id = t.parent))) OR (a IN ( SELECT p.a FROM public.parents p \
                    JOIN other.parents ON (true))) OR b = any (array(select x from only public.parents)))";
        assert_eq!(
            instead(text, &others),
            "((EXISTS ( SELECT 1 FROM pg_temp.p1 parents WHERE (parents.id = t.parent))) OR (a IN ( SELECT p.a FROM pg_temp.p1 p \
             JOIN other.parents ON (true))) OR b = any (array(select x from only public.parents)))"
        );
        assert_eq!(relations(text).len(), 3);
        assert_eq!(instead("a = 1", &others), "a = 1");
    }
}
