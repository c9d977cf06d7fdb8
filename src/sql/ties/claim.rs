//! Which session setting, or which claim in one, an expression reads.

use crate::model::Catalog;
use crate::sql::expr::{Body, Call, Expr, How};
use std::collections::BTreeMap;

/// The setting that APIs keep the claims of a token in, as JSON.
pub const CLAIMS: &str = "request.jwt.claims";
/// Functions call functions; policies nest no deeper than this.
const DEEPEST: usize = 6;

/// A setting, or a field of the document in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    pub setting: String,
    /// Empty for the whole value.
    pub path: Vec<String>,
}

impl Claim {
    /// Whether it is a field of what `outer` names.
    pub fn is_inside(&self, outer: &Self) -> bool {
        self.setting == outer.setting
            && self.path.len() > outer.path.len()
            && self.path.starts_with(&outer.path)
    }

    /// As a column of a sample may be called.
    pub fn label(&self) -> String {
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

/// Literal arguments of the function around, by name and by number.
pub(super) type Words = BTreeMap<String, String>;

/// The claim that is the value of `expression`, casts aside.
pub(super) fn claim_of(expression: &Expr, words: &Words, catalog: &Catalog) -> Option<Claim> {
    find(expression, words, catalog, 0).filter(|c| c.setting != CLAIMS || !c.path.is_empty())
}

/// The same where the whole of a token's claims counts too.
pub(super) fn document_of(expression: &Expr, words: &Words, catalog: &Catalog) -> Option<Claim> {
    find(expression, words, catalog, 0)
}

fn find(expression: &Expr, words: &Words, catalog: &Catalog, depth: usize) -> Option<Claim> {
    if depth > DEEPEST {
        return None;
    }
    match expression.value() {
        Expr::Call(call) => called(call, words, catalog, depth),
        Expr::Compare(compare) => match (compare.how, compare.operator.as_str()) {
            (How::NullIf, _) => find(&compare.left, words, catalog, depth),
            (How::Plain, "->" | "->>") => {
                let mut claim = find(&compare.left, words, catalog, depth)?;
                claim.path.push(word(&compare.right, words)?);
                Some(claim)
            }
            (How::Plain, "#>" | "#>>") => {
                let mut claim = find(&compare.left, words, catalog, depth)?;
                let path = match compare.right.value() {
                    Expr::Array(all) => all
                        .iter()
                        .map(|e| word(e, words))
                        .collect::<Option<Vec<_>>>()?,
                    other => {
                        let text = word(other, words)?;
                        let keys = text.trim_matches(['{', '}']).split(',');
                        keys.map(|k| k.trim_matches('"').to_owned()).collect()
                    }
                };
                claim.path.extend(path);
                Some(claim)
            }
            _ => None,
        },
        // Several ways to say who it is: the token's document, where it is among them.
        Expr::Coalesce(all) => {
            let found = all.iter().filter_map(|e| find(e, words, catalog, depth));
            let found: Vec<Claim> = found.collect();
            let token = found
                .iter()
                .find(|c| c.setting == CLAIMS && !c.path.is_empty());
            token.or_else(|| found.first()).cloned()
        }
        _ => None,
    }
}

/// The text of a literal, or of an argument that is one.
fn word(expression: &Expr, words: &Words) -> Option<String> {
    match expression.value() {
        Expr::Text(text) => Some(text.clone()),
        Expr::Parameter(number) => words.get(&format!("${number}")).cloned(),
        Expr::Column(column) => words.get(&column.name).cloned(),
        _ => None,
    }
}

/// Functions that read a field of a document as the operators do.
const FIELD: &[&str] = &[
    "jsonb_extract_path_text",
    "json_extract_path_text",
    "jsonb_extract_path",
    "json_extract_path",
];

fn called(call: &Call, words: &Words, catalog: &Catalog, depth: usize) -> Option<Claim> {
    if matches!(call.schema.as_str(), "" | "pg_catalog") {
        if call.name == "current_setting" {
            return Some(Claim {
                setting: word(call.arguments.first()?, words)?,
                path: Vec::new(),
            });
        }
        if FIELD.contains(&call.name.as_str()) {
            let (document, keys) = call.arguments.split_first()?;
            let mut claim = find(document, words, catalog, depth)?;
            for key in keys {
                claim.path.push(word(key, words)?);
            }
            return Some(claim);
        }
    }
    let mut named = catalog.functions_named(&call.schema, &call.name);
    let function = named.find(|f| f.argument_types.len() >= call.arguments.len())?;
    let mut inside = Words::new();
    for (at, argument) in call.arguments.iter().enumerate() {
        let text = word(argument, words)?;
        if let Some(name) = function.argument_names.get(at).filter(|n| !n.is_empty()) {
            inside.insert(name.clone(), text.clone());
        }
        inside.insert(format!("${}", at + 1), text);
    }
    let body = Body::of(function)?;
    let value = body.value.as_ref().or_else(|| {
        let returned = body.queries.iter().filter(|q| q.from.is_empty());
        returned.filter_map(|q| q.targets.first()).next_back()
    })?;
    find(value, &inside, catalog, depth + 1)
}
