//! What a function's body or a view's definition touches.

use super::rewrite::plpgsql_tree;
use crate::model::Function;
use pg_query::protobuf::Token;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Declares what a trigger function finds without declaring it.
const HANDED: &str = "new record; old record; tg_name text; tg_when text; tg_level text; tg_op text; tg_relid oid; \
                      tg_relname text; tg_table_name text; tg_table_schema text; tg_nargs int; tg_argv text[];";

/// What some SQL names, as written: `(schema, name)`, the schema empty where it is not given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touches {
    pub read: BTreeSet<(String, String)>,
    pub written: BTreeSet<(String, String)>,
    pub calls: BTreeSet<(String, String)>,
    /// The statements; expressions of a body as `select …`.
    pub queries: Vec<String>,
    /// Asks who is there without a call: `current_user` and the like.
    pub names_user: bool,
    /// Has a condition.
    pub filtered: bool,
    /// Some part is not known before it runs, or was not understood.
    pub opaque: bool,
}

impl Touches {
    /// Everything read or written.
    pub fn relations(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.read.union(&self.written);
        all.map(|(schema, name)| (schema.as_str(), name.as_str()))
    }

    /// One or more statements, or `None` where the text is no SQL.
    pub fn of_query(text: &str) -> Option<Self> {
        let mut touches = Self::default();
        touches.add(text).then_some(touches)
    }

    /// A body, or `None` for a language that is neither SQL nor PL/pgSQL.
    pub fn of_function(function: &Function) -> Option<Self> {
        match function.language.as_str() {
            "sql" => Self::of_query(&function.body),
            "plpgsql" => {
                let mut touches = Self::default();
                touches.add_tree(&plpgsql_tree(&plain(function))?);
                Some(touches)
            }
            _ => None,
        }
    }

    fn add(&mut self, text: &str) -> bool {
        let Ok(parsed) = pg_query::parse(text, 0) else {
            return false;
        };
        self.read
            .extend(parsed.select_tables().iter().map(|n| split(n)));
        self.written
            .extend(parsed.dml_tables().iter().map(|n| split(n)));
        self.calls
            .extend(parsed.functions().iter().map(|n| split(n)));
        self.queries.push(text.to_owned());
        for token in pg_query::scan(text).map_or_else(|_| Vec::new(), |s| s.tokens) {
            match token.token() {
                Token::CurrentUser | Token::SessionUser | Token::CurrentRole => {
                    self.names_user = true;
                }
                Token::Where | Token::Having => self.filtered = true,
                _ => {}
            }
        }
        true
    }

    fn add_tree(&mut self, tree: &Value) {
        match tree {
            Value::Array(items) => items.iter().for_each(|item| self.add_tree(item)),
            Value::Object(fields) => {
                for (key, value) in fields {
                    match key.as_str() {
                        "PLpgSQL_stmt_dynexecute" | "PLpgSQL_stmt_dynfors" => self.opaque = true,
                        "PLpgSQL_expr" => {
                            self.add_expression(value);
                            continue;
                        }
                        _ => {}
                    }
                    self.add_tree(value);
                }
            }
            _ => {}
        }
    }

    /// `parseMode` says how the text is to be read: as a statement, an expression or an assignment.
    fn add_expression(&mut self, expression: &Value) {
        let text = expression.get("query").and_then(Value::as_str);
        let mode = expression.get("parseMode").and_then(Value::as_i64);
        let understood = text.is_some_and(|text| match mode {
            Some(0) => self.add(text),
            Some(2) => self.add(&format!("select {text}")),
            _ => assigned(text).is_some_and(|value| self.add(&format!("select {value}"))),
        });
        self.opaque |= !understood;
    }
}

/// A trigger function as one that the parser can describe: what a trigger is handed becomes plain variables.
fn plain(function: &Function) -> Cow<'_, Function> {
    if function.returns != "trigger" {
        return Cow::Borrowed(function);
    }
    let body = function.body.trim_end().trim_end_matches(';');
    Cow::Owned(Function {
        returns: "record".to_owned(),
        body: format!("declare {HANDED} begin\n{body};\nend"),
        ..function.clone()
    })
}

/// What stands behind the first sign of assignment.
fn assigned(text: &str) -> Option<&str> {
    let scan = pg_query::scan(text).ok()?;
    let sign = scan
        .tokens
        .iter()
        .find(|t| matches!(t.token(), Token::ColonEquals | Token::Ascii61))?;
    text.get(usize::try_from(sign.end).ok()?..)
}

fn split(name: &str) -> (String, String) {
    match name.split_once('.') {
        Some((schema, name)) => (schema.to_owned(), name.to_owned()),
        None => (String::new(), name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(schema: &str, name: &str) -> (String, String) {
        (schema.to_owned(), name.to_owned())
    }

    #[test]
    fn a_query_names_what_it_reads_and_calls() {
        let found = Touches::of_query(
            "select u.id from auth.users u where u.id = (select auth.uid()) and u.role = current_user",
        )
        .unwrap();
        assert_eq!(found.read, [pair("auth", "users")].into());
        assert_eq!(found.calls, [pair("auth", "uid")].into());
        assert!(found.filtered && found.names_user && !found.opaque);
    }

    #[test]
    fn a_block_is_read_statement_by_statement() {
        let body = "declare n int; begin
            n := (select count(*) from public.doc);
            insert into audit (what) values (new.id);
            if exists (select from member m where m.id = auth.uid()) then return new; end if;
            return null; end";
        let mut function = Function {
            language: "plpgsql".into(),
            returns: "trigger".into(),
            body: body.into(),
            ..Function::default()
        };
        let found = Touches::of_function(&function).unwrap();
        assert_eq!(
            found.read,
            [pair("", "member"), pair("public", "doc")].into()
        );
        assert_eq!(found.written, [pair("", "audit")].into());
        assert!(!found.opaque, "{found:?}");

        function.body = "begin execute 'delete from ' || tg_argv[0]; return new; end".into();
        assert!(Touches::of_function(&function).unwrap().opaque);
    }
}
