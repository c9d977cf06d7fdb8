//! Changes of the functions that policies and triggers call.

use super::catalog::{Catalog, Function, bare};
use super::change::Change;
use super::expression::Expression;
use super::ground::Scheme;

pub(super) fn mutations(catalog: &Catalog, scheme: &Scheme) -> Vec<Change> {
    let constants: Vec<String> = scheme.constants.iter().map(|c| (*c).to_owned()).collect();
    let mut found = Vec::new();
    for function in &catalog.functions {
        let about = bare(&function.name);
        let change = |kind, sql| Change::new(kind, about, sql);
        let parsed = Expression::new(&function.body);
        let mut bodies = parsed.mutants(&constants);
        bodies.extend(parsed.renamed(catalog, ""));
        for (_, body) in bodies {
            let kind = if function.is_trigger {
                "trigger function body"
            } else {
                "function body"
            };
            found.push(change(kind, function.with_body(&body)));
        }
        if function.is_trigger {
            found.push(change(
                "trigger function body",
                function.with_body(" begin return new; end "),
            ));
            found.push(change(
                "trigger function body",
                function.with_body(" begin return null; end "),
            ));
            continue;
        }
        found.extend(attributes(function, scheme));
    }
    found
}

fn attributes(function: &Function, scheme: &Scheme) -> Vec<Change> {
    let Function { signature, .. } = function;
    let alter = |kind, what: &str| {
        Change::new(
            kind,
            bare(&function.name),
            format!("alter function {signature} {what};"),
        )
    };
    let security = if function.is_definer {
        "security invoker"
    } else {
        "security definer"
    };
    let mut found = vec![
        alter("security definer", security),
        alter("volatility", "volatile"),
        alter("volatility", "immutable"),
    ];
    if function.arguments > 0 {
        found.push(alter("STRICT", "strict"));
        found.push(alter("STRICT", "called on null input"));
    }
    if function.has_path {
        found.push(alter("search_path", "reset search_path"));
    }
    for path in scheme.paths {
        found.push(alter("search_path", &format!("set search_path = {path}")));
    }
    for role in scheme.roles.iter().chain(&["public"]) {
        let execute = |verb: &str, to: &str| {
            Change::new(
                "EXECUTE",
                bare(&function.name),
                format!("{verb} execute on function {signature} {to} {role};"),
            )
        };
        found.push(execute("revoke", "from"));
        found.push(execute("grant", "to"));
    }
    found
}

impl Function {
    /// The same function with another body.
    pub(super) fn with_body(&self, body: &str) -> String {
        let at = self.definition.find(&self.body).unwrap();
        let (head, tail) = (
            self.definition.get(..at).unwrap(),
            self.definition.get(at + self.body.len()..).unwrap(),
        );
        format!("{head}{body}{tail};")
    }
}

pub(super) fn equivalents(catalog: &Catalog) -> Vec<Change> {
    let mut found = Vec::new();
    for function in &catalog.functions {
        let change = |kind, sql| Change::new(kind, bare(&function.name), sql);
        found.push(change(
            "equal: function made anew",
            function.with_body(&function.body),
        ));
        found.push(change(
            "equal: function with a comment",
            function.with_body(&format!("{}\n-- said again\n", function.body)),
        ));
        if function
            .body
            .trim_start()
            .to_lowercase()
            .starts_with("select exists (")
        {
            let counted = function
                .body
                .replacen("select exists (", "select 0 < (", 1)
                .replacen("select 1 from", "select count(*) from", 1);
            found.push(change(
                "equal: function that counts",
                function.with_body(&counted),
            ));
        }
    }
    found
}
