//! Types of expressions, as far as they are certain, and whether their comparison is the same everywhere.

use crate::model::{Catalog, Column, Name};
use crate::sql::scope::{Relation, relations};
use crate::sql::tree::{column_path, names, qualified};
use pg_query::protobuf::{
    AExpr, AExprKind, ColumnRef, FuncCall, SelectStmt, SqlValueFunctionOp, SubLink, SubLinkType,
    TypeName, a_const,
};
use pg_query::{Node, NodeEnum};

/// Base types that `pg_catalog` compares for equality, one value with another.
const SCALARS: [&str; 22] = [
    "boolean",
    "smallint",
    "integer",
    "bigint",
    "numeric",
    "real",
    "double precision",
    "text",
    "character varying",
    "character",
    "name",
    "uuid",
    "date",
    "time without time zone",
    "timestamp without time zone",
    "timestamp with time zone",
    "interval",
    "oid",
    "bytea",
    "inet",
    "jsonb",
    "bit",
];
/// Types whose operators compare with one another in `pg_catalog`, in either order.
const FAMILIES: [&[&str]; 3] = [
    &["smallint", "integer", "bigint"],
    &["text", "name"],
    &[
        "date",
        "timestamp without time zone",
        "timestamp with time zone",
    ],
];
/// What functions of `pg_catalog` return, whatever they are given.
const RETURNS: [(&str, &str); 26] = [
    ("current_setting", "text"),
    ("lower", "text"),
    ("upper", "text"),
    ("btrim", "text"),
    ("ltrim", "text"),
    ("rtrim", "text"),
    ("split_part", "text"),
    ("replace", "text"),
    ("concat", "text"),
    ("md5", "text"),
    ("jsonb_extract_path_text", "text"),
    ("json_extract_path_text", "text"),
    ("jsonb_array_elements_text", "text"),
    ("json_array_elements_text", "text"),
    ("jsonb_object_keys", "text"),
    ("regexp_split_to_table", "text"),
    ("jsonb_typeof", "text"),
    ("string_to_array", "text[]"),
    ("jsonb_array_elements", "jsonb"),
    ("to_jsonb", "jsonb"),
    ("jsonb_array_length", "integer"),
    ("now", "timestamp with time zone"),
    ("statement_timestamp", "timestamp with time zone"),
    ("transaction_timestamp", "timestamp with time zone"),
    ("pg_has_role", "boolean"),
    ("gen_random_uuid", "uuid"),
];

/// The relations of each SELECT around an expression, the outermost first.
pub(super) type Levels = Vec<Vec<Relation>>;

/// The levels of a policy's own expression.
pub(super) fn of_table(table: &Name) -> Levels {
    vec![vec![Relation {
        alias: table.name.clone(),
        table: Some(table.clone()),
    }]]
}

/// A type's name as `format_type` prints it, without what stands in parentheses.
pub(super) fn without_modifier(name: &str) -> String {
    match (name.find('('), name.find(')')) {
        (Some(from), Some(to)) if from < to => {
            let (head, tail) = (name.get(..from), name.get(to + 1..));
            format!("{}{}", head.unwrap_or(name), tail.unwrap_or_default())
        }
        _ => name.to_owned(),
    }
}

/// Whether `=` between two values of the type is that of `pg_catalog` under every search path, and compares them
/// one with one: no array, no row, no domain.
pub(super) fn is_plain(name: &str, catalog: &Catalog) -> bool {
    let elsewhere = catalog.equality_elsewhere.as_ref();
    elsewhere.is_some_and(|types| !types.contains(name))
        && (SCALARS.contains(&name) || is_enum(name, catalog))
}

/// Whether a type is one of `pg_catalog` that values are read into without asking anything else.
pub(super) fn is_of_catalog(name: &str) -> bool {
    SCALARS.contains(&name) || matches!(name, "json" | "text[]" | "uuid[]" | "integer[]")
}

/// Whether `a = b` and `b = a` are the same test of `pg_catalog`.
pub(super) fn are_comparable(a: &str, b: &str, catalog: &Catalog) -> bool {
    is_plain(a, catalog)
        && is_plain(b, catalog)
        && (a == b || FAMILIES.iter().any(|f| f.contains(&a) && f.contains(&b)))
}

fn is_enum(name: &str, catalog: &Catalog) -> bool {
    let mut columns = catalog.tables.values().flat_map(|t| &t.columns);
    columns.any(|c| c.type_kind == 'e' && c.type_name == name)
}

/// The column that a reference means, where it is one of a known table.
pub(super) fn column<'a>(
    reference: &ColumnRef,
    levels: &[Vec<Relation>],
    catalog: &'a Catalog,
) -> Option<&'a Column> {
    let path = column_path(reference);
    for level in levels.iter().rev() {
        let named = |r: &&Relation| match path.as_slice() {
            [.., alias, _] => r.alias == *alias,
            _ => true,
        };
        let name = path.last()?;
        let mut found = Vec::new();
        for relation in level.iter().filter(named) {
            // What is not a known table could have any column.
            let table = catalog.table(relation.table.as_ref()?)?;
            found.extend(table.column(name));
        }
        match found.as_slice() {
            [] => {}
            [only] => return Some(only),
            _ => return None,
        }
    }
    None
}

/// The type of an expression, without modifier; `None` where it is not certain.
pub(super) fn of(node: &Node, levels: &[Vec<Relation>], catalog: &Catalog) -> Option<String> {
    match node.node.as_ref()? {
        NodeEnum::ColumnRef(c) => column(c, levels, catalog)
            .map(|c| without_modifier(&c.type_name))
            .or_else(|| system_column(c, levels)),
        NodeEnum::AConst(c) => match c.val.as_ref()? {
            a_const::Val::Ival(_) => Some("integer".to_owned()),
            a_const::Val::Boolval(_) => Some("boolean".to_owned()),
            _ => None,
        },
        NodeEnum::TypeCast(cast) => named(cast.type_name.as_ref()?),
        NodeEnum::CollateClause(c) => of(c.arg.as_deref()?, levels, catalog),
        NodeEnum::BoolExpr(_) | NodeEnum::NullTest(_) | NodeEnum::BooleanTest(_) => {
            Some("boolean".to_owned())
        }
        NodeEnum::CoalesceExpr(e) => common(&e.args, levels, catalog),
        NodeEnum::MinMaxExpr(e) => common(&e.args, levels, catalog),
        NodeEnum::AExpr(e) => of_operator(e, levels, catalog),
        NodeEnum::FuncCall(call) => of_call(call, levels, catalog),
        NodeEnum::SubLink(link) => of_sub_link(link, levels, catalog),
        NodeEnum::SqlvalueFunction(f) => match f.op() {
            SqlValueFunctionOp::SvfopCurrentDate => Some("date".to_owned()),
            SqlValueFunctionOp::SvfopCurrentTimestamp => {
                Some("timestamp with time zone".to_owned())
            }
            SqlValueFunctionOp::SvfopCurrentUser
            | SqlValueFunctionOp::SvfopCurrentRole
            | SqlValueFunctionOp::SvfopSessionUser
            | SqlValueFunctionOp::SvfopUser => Some("name".to_owned()),
            _ => None,
        },
        _ => None,
    }
}

/// The type of the only column of a SELECT.
pub(super) fn of_select(
    select: &SelectStmt,
    levels: &[Vec<Relation>],
    catalog: &Catalog,
) -> Option<String> {
    if let (Some(left), Some(right)) = (&select.larg, &select.rarg) {
        let found = of_select(left, levels, catalog)?;
        return (of_select(right, levels, catalog)? == found).then_some(found);
    }
    let mut inside: Levels = levels.to_vec();
    inside.push(relations(select, catalog)?);
    let [target] = select.target_list.as_slice() else {
        return None;
    };
    match &target.node {
        Some(NodeEnum::ResTarget(t)) => of(t.val.as_deref()?, &inside, catalog),
        _ => None,
    }
}

/// Roles are listed by a view that no catalog of user tables holds.
fn system_column(reference: &ColumnRef, levels: &[Vec<Relation>]) -> Option<String> {
    let path = column_path(reference);
    let [alias, "rolname"] = path.as_slice() else {
        return None;
    };
    let relation = levels.last()?.iter().find(|r| r.alias == *alias)?;
    let table = relation.table.as_ref()?;
    let known = matches!(table.schema.as_str(), "" | "pg_catalog") && table.name == "pg_roles";
    known.then(|| "name".to_owned())
}

fn common(nodes: &[Node], levels: &[Vec<Relation>], catalog: &Catalog) -> Option<String> {
    let mut types = nodes.iter().map(|n| of(n, levels, catalog));
    let first = types.next()??;
    types.all(|t| t.as_ref() == Some(&first)).then_some(first)
}

fn of_operator(e: &AExpr, levels: &[Vec<Relation>], catalog: &Catalog) -> Option<String> {
    match e.kind() {
        AExprKind::AexprOp => {}
        AExprKind::AexprNullif => return of(e.lexpr.as_deref()?, levels, catalog),
        _ => return Some("boolean".to_owned()),
    }
    let (schema, name) = qualified(&e.name);
    if !matches!(schema, "" | "pg_catalog") {
        return None;
    }
    let left = e.lexpr.as_deref().and_then(|l| of(l, levels, catalog));
    match (name, left.as_deref()) {
        ("=" | "<>" | "<" | ">" | "<=" | ">=", _) => Some("boolean".to_owned()),
        ("->>" | "#>>", Some("json" | "jsonb")) | ("||", Some("text")) => Some("text".to_owned()),
        ("->" | "#>", Some("json" | "jsonb")) => left,
        _ => None,
    }
}

fn of_call(call: &FuncCall, levels: &[Vec<Relation>], catalog: &Catalog) -> Option<String> {
    let (schema, name) = qualified(&call.funcname);
    let mut named = catalog
        .functions_named(schema, name)
        .filter(|f| f.name.schema != "pg_catalog")
        .map(|f| f.returns.as_str());
    if let Some(first) = named.next() {
        return named.all(|t| t == first).then(|| without_modifier(first));
    }
    if !matches!(schema, "" | "pg_catalog") {
        return None;
    }
    if let ("unnest", [array]) = (name, call.args.as_slice()) {
        let array = of(array, levels, catalog)?;
        return array.strip_suffix("[]").map(str::to_owned);
    }
    let found = RETURNS.iter().find(|(known, _)| *known == name);
    found.map(|(_, returned)| (*returned).to_owned())
}

fn of_sub_link(link: &SubLink, levels: &[Vec<Relation>], catalog: &Catalog) -> Option<String> {
    let NodeEnum::SelectStmt(select) = link.subselect.as_ref()?.node.as_ref()? else {
        return None;
    };
    match link.sub_link_type() {
        SubLinkType::ExprSublink => of_select(select, levels, catalog),
        SubLinkType::ArraySublink => Some(format!("{}[]", of_select(select, levels, catalog)?)),
        _ => Some("boolean".to_owned()),
    }
}

/// A type as `format_type` prints it.
pub(super) fn named(name: &TypeName) -> Option<String> {
    let dotted = names(&name.names);
    let base = match dotted.as_slice() {
        ["pg_catalog", base] | [base] => internal(base).to_owned(),
        [schema, base] => format!(
            "{}.{}",
            crate::sql::quote::ident(schema),
            crate::sql::quote::ident(base)
        ),
        _ => return None,
    };
    let depth = if name.array_bounds.is_empty() {
        ""
    } else {
        "[]"
    };
    Some(base + depth)
}

/// The words of the standard for the names that the grammar puts in their place.
fn internal(name: &str) -> &str {
    match name {
        "bool" => "boolean",
        "int2" => "smallint",
        "int4" => "integer",
        "int8" => "bigint",
        "float4" => "real",
        "float8" => "double precision",
        "varchar" => "character varying",
        "bpchar" => "character",
        "timestamp" => "timestamp without time zone",
        "timestamptz" => "timestamp with time zone",
        "time" => "time without time zone",
        "timetz" => "time with time zone",
        other => other,
    }
}
