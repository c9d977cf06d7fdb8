//! What the body of a function reads and returns.

use super::Expr;
use super::build::Builder;
use super::select::Select;
use crate::model::Function;
use crate::sql::rewrite::plpgsql_tree;
use crate::sql::tree::{parse_expression, parse_select, parse_statement};
use pg_query::{Node, NodeEnum};
use serde_json::Value;

/// The queries of a body.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Body {
    pub queries: Vec<Select>,
    /// The expression that it returns, where it is nothing but that.
    pub value: Option<Expr>,
    /// It may raise an exception.
    pub raises: bool,
}

impl Body {
    /// `None` where the body is not understood, as for C.
    pub fn of(function: &Function) -> Option<Self> {
        let (queries, plain, raises) = match function.language.as_str() {
            "sql" => (sql(function)?, true, false),
            "plpgsql" => {
                let tree = plpgsql_tree(function)?;
                let mut found = Vec::new();
                collect(&tree, &mut found);
                (found, only_returns(&tree), has_raise(&tree))
            }
            _ => return None,
        };
        let value = match queries.as_slice() {
            [only] if plain && only.is_plain_value() => match only.targets.as_slice() {
                [value] => Some(value.clone()),
                _ => None,
            },
            _ => None,
        };
        Some(Self {
            queries,
            value,
            raises,
        })
    }

    /// Whether `wanted` holds for any part of any query.
    pub fn any(&self, mut wanted: impl FnMut(&Expr) -> bool) -> bool {
        let mut parts = self.queries.iter().flat_map(Select::parts);
        parts.any(|part| part.any(&mut wanted))
    }
}

fn sql(function: &Function) -> Option<Vec<Select>> {
    // `RETURN …` and `BEGIN ATOMIC …` are only understood inside the statement that makes the function.
    let nodes = match parse_statement(&function.body) {
        Ok(NodeEnum::SelectStmt(select)) => vec![NodeEnum::SelectStmt(select)],
        _ => atomic(&function.body)?,
    };
    nodes.iter().map(query).collect()
}

fn atomic(body: &str) -> Option<Vec<NodeEnum>> {
    fn flatten(node: &Node, found: &mut Vec<NodeEnum>) {
        match &node.node {
            Some(NodeEnum::List(list)) => list.items.iter().for_each(|n| flatten(n, found)),
            Some(other) => found.push(other.clone()),
            None => {}
        }
    }
    let create = format!("create function f() returns void language sql {body}");
    let Ok(NodeEnum::CreateFunctionStmt(create)) = parse_statement(&create) else {
        return None;
    };
    let mut found = Vec::new();
    flatten(create.sql_body.as_deref()?, &mut found);
    Some(found)
}

fn query(node: &NodeEnum) -> Option<Select> {
    let mut builder = Builder::default();
    match node {
        NodeEnum::SelectStmt(select) => builder.select(select).ok(),
        NodeEnum::ReturnStmt(value) => Some(Select {
            targets: vec![builder.expr(value.returnval.as_deref()?).ok()?],
            ..Select::default()
        }),
        _ => None,
    }
}

/// Every query and expression of a PL/pgSQL tree that can be read.
fn collect(tree: &Value, found: &mut Vec<Select>) {
    match tree {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => {
            let text = fields.get("PLpgSQL_expr").and_then(|e| e.get("query"));
            if let Some(text) = text.and_then(Value::as_str) {
                found.extend(expression(text));
            }
            fields.values().for_each(|value| collect(value, found));
        }
        _ => {}
    }
}

/// Whether no statement but RETURN is in the tree.
fn only_returns(tree: &Value) -> bool {
    match tree {
        Value::Array(items) => items.iter().all(only_returns),
        Value::Object(fields) => fields.iter().all(|(key, value)| {
            let kind = key.strip_prefix("PLpgSQL_stmt_");
            kind.is_none_or(|k| matches!(k, "block" | "return")) && only_returns(value)
        }),
        _ => true,
    }
}

fn has_raise(tree: &Value) -> bool {
    match tree {
        Value::Array(items) => items.iter().any(has_raise),
        Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| key == "PLpgSQL_stmt_raise" || has_raise(value)),
        _ => false,
    }
}

fn expression(text: &str) -> Option<Select> {
    let mut builder = Builder::default();
    if let Ok(select) = parse_select(text) {
        return builder.select(&select).ok();
    }
    Some(Select {
        targets: vec![builder.expr(&parse_expression(text).ok()?).ok()?],
        ..Select::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(language: &str, body: &str) -> Option<Body> {
        Body::of(&Function {
            language: language.to_owned(),
            body: body.to_owned(),
            returns: "uuid".to_owned(),
            ..Function::default()
        })
    }

    #[test]
    fn the_returned_value_is_seen_in_every_language_form() {
        for (language, text) in [
            ("sql", "select auth.uid()"),
            ("sql", "RETURN auth.uid()"),
            ("sql", "BEGIN ATOMIC\n SELECT auth.uid() AS uid;\nEND"),
            ("plpgsql", "begin return auth.uid(); end"),
        ] {
            let found = body(language, text).unwrap();
            assert!(
                matches!(&found.value, Some(Expr::Call(call)) if call.name == "uid"),
                "{text}: {found:?}"
            );
        }
        let read = body("sql", "select m.org from member m").unwrap();
        assert_eq!(read.value, None);
        assert!(read.any(|e| matches!(e, Expr::Column(c) if c.name == "org")));
        assert_eq!(body("c", ""), None);
    }
}
