//! Which session setting, or which claim in one, an expression reads.

use crate::model::Catalog;
use crate::sql::expr::{Body, Call, Expr, How};

/// The setting that APIs keep the claims of a token in, as JSON.
pub(super) const CLAIMS: &str = "request.jwt.claims";
/// Functions call functions; policies nest no deeper than this.
const DEEPEST: usize = 6;

/// A setting, or a field of the document in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    pub(super) setting: String,
    /// Empty for the whole value.
    pub(super) path: Vec<String>,
}

impl Claim {
    /// As a column of a sample may be called.
    pub(super) fn label(&self) -> String {
        let last = self
            .path
            .last()
            .map(String::as_str)
            .or_else(|| self.setting.rsplit('.').next());
        last.unwrap_or_default()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect::<String>()
            .to_ascii_lowercase()
    }
}

/// The claim that is the value of `expression`, casts aside.
pub(super) fn claim_of(expression: &Expr, catalog: &Catalog) -> Option<Claim> {
    find(expression, catalog, 0).filter(|c| c.setting != CLAIMS || !c.path.is_empty())
}

fn find(expression: &Expr, catalog: &Catalog, depth: usize) -> Option<Claim> {
    if depth > DEEPEST {
        return None;
    }
    match expression.value() {
        Expr::Call(call) => called(call, catalog, depth),
        Expr::Compare(compare) => match (compare.how, compare.operator.as_str()) {
            (How::NullIf, _) => find(&compare.left, catalog, depth),
            (How::Plain, "->" | "->>") => {
                let mut claim = find(&compare.left, catalog, depth)?;
                claim.path.push(compare.right.text()?.to_owned());
                Some(claim)
            }
            (How::Plain, "#>" | "#>>") => {
                let mut claim = find(&compare.left, catalog, depth)?;
                let path = compare.right.text()?.trim_matches(['{', '}']);
                claim.path.extend(path.split(',').map(str::to_owned));
                Some(claim)
            }
            _ => None,
        },
        // Several ways to say who it is: the token's document, where it is among them.
        Expr::Coalesce(all) => {
            let found: Vec<Claim> = all.iter().filter_map(|e| find(e, catalog, depth)).collect();
            let token = found
                .iter()
                .find(|c| c.setting == CLAIMS && !c.path.is_empty());
            token.or_else(|| found.first()).cloned()
        }
        _ => None,
    }
}

fn called(call: &Call, catalog: &Catalog, depth: usize) -> Option<Claim> {
    if call.name == "current_setting" && matches!(call.schema.as_str(), "" | "pg_catalog") {
        return Some(Claim {
            setting: call.arguments.first()?.text()?.to_owned(),
            path: Vec::new(),
        });
    }
    if !call.arguments.is_empty() {
        return None;
    }
    let function = catalog.functions_named(&call.schema, &call.name).next()?;
    let body = Body::of(function)?;
    let value = body.value.as_ref().or_else(|| {
        let returned = body.queries.iter().filter(|q| q.from.is_empty());
        returned.filter_map(|q| q.targets.first()).next_back()
    })?;
    find(value, catalog, depth + 1)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{Function, Name};

    /// A database with Supabase's functions.
    pub(in crate::record) fn catalog() -> Catalog {
        let function = |name: &str, body: &str| Function {
            name: Name::new("auth", name),
            language: "sql".to_owned(),
            body: body.to_owned(),
            ..Function::default()
        };
        Catalog {
            functions: vec![
                function(
                    "uid",
                    "select coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''), \
                     (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'))::uuid",
                ),
                function(
                    "jwt",
                    "select nullif(current_setting('request.jwt.claims', true), '')::jsonb",
                ),
            ],
            ..Catalog::default()
        }
    }

    #[test]
    fn claims_are_followed_through_functions() {
        let of = |text: &str| {
            let f = Function {
                language: "sql".to_owned(),
                body: format!("select {text}"),
                ..Function::default()
            };
            let body = Body::of(&f).unwrap();
            claim_of(&body.queries[0].targets[0], &catalog())
                .map(|c| format!("{} {}", c.setting, c.path.join(".")))
        };
        for (text, expected) in [
            ("auth.uid()", Some("request.jwt.claims sub")),
            ("(select auth.uid())", Some("request.jwt.claims sub")),
            (
                "(auth.jwt() -> 'app_metadata' ->> 'org')::int",
                Some("request.jwt.claims app_metadata.org"),
            ),
            ("auth.jwt() #>> '{a,b}'", Some("request.jwt.claims a.b")),
            (
                "current_setting('app.tenant', true)::int",
                Some("app.tenant "),
            ),
            ("auth.jwt()", None),
            ("now()", None),
        ] {
            assert_eq!(of(text).as_deref(), expected, "{text}");
        }
    }
}
