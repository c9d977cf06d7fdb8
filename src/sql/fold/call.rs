//! Functions.

use super::Value;
use super::eval::Fold;
use crate::sql::expr::Call;

/// How deep bodies are followed.
const DEPTH: usize = 6;

/// Functions of `pg_catalog` that return NULL where an argument is NULL, and only there.
const STRICT: &[&str] = &[
    "lower",
    "upper",
    "btrim",
    "ltrim",
    "rtrim",
    "length",
    "char_length",
    "substring",
    "substr",
    "replace",
    "left",
    "right",
    "md5",
    "abs",
    "date_trunc",
    "text",
    "split_part",
    "similar_to_escape",
    "initcap",
    "round",
    "floor",
];

impl Fold<'_> {
    pub(super) fn call(&self, call: &Call) -> Value {
        if call.schema.is_empty() {
            return self.builtin(call);
        }
        let found = self
            .meaning
            .function(&call.schema, &call.name, call.arguments.len());
        let arguments: Vec<Value> = call.arguments.iter().map(|a| self.value(a)).collect();
        if let Some((function, body)) = found {
            if function.strict && arguments.contains(&Value::Null) {
                return Value::Null;
            }
            let value = body.and_then(|b| b.value.as_ref());
            if let Some(value) = value.filter(|_| self.depth < DEPTH) {
                let inside = Fold {
                    table: None,
                    parameters: &arguments,
                    names: &function.argument_names,
                    depth: self.depth + 1,
                    ..*self
                };
                let value = inside.value(value);
                if value != Value::Unknown {
                    return value;
                }
            }
        }
        self.session.helper(&call.schema, &call.name)
    }

    fn builtin(&self, call: &Call) -> Value {
        let arguments: Vec<Value> = call.arguments.iter().map(|a| self.value(a)).collect();
        if call.name == "current_setting" {
            return match arguments.as_slice() {
                [Value::Text(name)] => self.session.setting(name, false),
                [Value::Text(name), Value::Bool(missing)] => self.session.setting(name, *missing),
                _ => Value::Unknown,
            };
        }
        if STRICT.contains(&call.name.as_str()) {
            return strict(&call.name, &arguments);
        }
        match call.name.as_str() {
            "jsonb_extract_path_text" | "json_extract_path_text"
                if arguments.contains(&Value::Null) =>
            {
                Value::Null
            }
            "now"
            | "clock_timestamp"
            | "transaction_timestamp"
            | "statement_timestamp"
            | "gen_random_uuid"
            | "random"
            | "concat"
            | "txid_current"
            | "pg_backend_pid" => Value::Present,
            _ => Value::Unknown,
        }
    }

    /// The value of a parameter by its place.
    pub(super) fn parameter(&self, number: usize) -> Value {
        let at = number.checked_sub(1);
        at.and_then(|at| self.parameters.get(at))
            .cloned()
            .unwrap_or(Value::Unknown)
    }

    /// The value of a name: in a body it may be a parameter's, elsewhere it is a column.
    pub(super) fn name(&self, column: &crate::sql::expr::Column) -> Value {
        if let Some(at) = self.names.iter().position(|n| *n == column.name) {
            return self.parameter(at + 1);
        }
        let known = self.table.filter(|_| column.row);
        match known.and_then(|t| t.column(&column.name)) {
            Some(column) if column.not_null => Value::Present,
            _ => Value::Unknown,
        }
    }
}

fn strict(name: &str, arguments: &[Value]) -> Value {
    if arguments.contains(&Value::Raises) {
        return Value::Raises;
    }
    if arguments.contains(&Value::Null) {
        return Value::Null;
    }
    match (name, arguments) {
        ("lower", [Value::Text(text)]) => Value::Text(text.to_lowercase()),
        ("upper", [Value::Text(text)]) => Value::Text(text.to_uppercase()),
        ("btrim", [Value::Text(text)]) => Value::Text(text.trim_matches(' ').to_owned()),
        ("length" | "char_length", [Value::Text(text)]) => {
            u32::try_from(text.chars().count()).map_or(Value::Present, |n| Value::Number(n.into()))
        }
        _ if arguments.iter().all(Value::is_present) => Value::Present,
        _ => Value::Unknown,
    }
}
