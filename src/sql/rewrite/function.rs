//! `f(column)` → `column = any(array(select f_set()))`, where the body of `f` is one EXISTS.
//!
//! The set function is a companion of `f`: same language semantics, same security, same settings, same
//! owner, same grants, so it sees the same rows of the tables it reads.

use super::exists::membership;
use super::{Rewritten, grants};
use crate::model::{Catalog, Function, Name, Volatility};
use crate::sql::quote;
use crate::sql::scope::{binds, free_columns, relations};
use crate::sql::tree::{
    IntoNode, column_path, equals_any_of_select, parse_statement, parts_mut, print_select,
    qualified, string, subselect_mut,
};
use pg_query::protobuf::{
    ColumnRef, FuncCall, LimitOption, ResTarget, SelectStmt, SetOperation, SubLinkType,
};
use pg_query::{Node, NodeEnum};

/// A function that a rewritten policy needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Companion {
    pub name: Name,
    /// The SELECT inside.
    pub body: String,
    /// Statements that create it, set its owner and its grants.
    pub create: Vec<String>,
    pub drop: String,
}

/// A relation name that no parse tree of the server's text holds: marks the row's parameter.
const ROW: &str = "\u{1}row";

/// The test as a set membership; the companion is added to `made`.
pub(super) fn from_call(
    call: &FuncCall,
    table: &Name,
    catalog: &Catalog,
    made: &mut Rewritten,
) -> Option<Node> {
    let (schema, name) = qualified(&call.funcname);
    let mut overloads = catalog
        .functions_named(schema, name)
        .filter(|f| f.argument_types.len() == call.args.len());
    let function = overloads.next().filter(|_| overloads.next().is_none())?;
    let row_argument = one_row_argument(call, catalog)?;
    let column = call.args.get(row_argument)?;
    let body = exists_body(function, row_argument, catalog)?;
    let found = membership(&body, catalog)?;
    // The outer side must be the parameter itself, not something computed from it.
    if !is_row_parameter(&found.outer) {
        return None;
    }
    let key_type = column_type(&found.set, catalog)?;
    let row_type = row_column_type(column, table, catalog)?;
    if function.argument_types.get(row_argument)? != &key_type || row_type != key_type {
        return None;
    }
    let rest: Vec<usize> = (0..call.args.len())
        .filter(|i| *i != row_argument)
        .collect();
    let companion = companion(function, &found.set, &rest, &key_type, catalog)?;
    let arguments = rest
        .iter()
        .filter_map(|i| call.args.get(*i).cloned())
        .collect();
    let set = call_of(&companion.name, arguments);
    if !made.companions.contains(&companion) {
        made.companions.push(companion);
    }
    Some(equals_any_of_select(column.clone(), set))
}

/// The position of the only argument that depends on the row, if it is a plain column.
fn one_row_argument(call: &FuncCall, catalog: &Catalog) -> Option<usize> {
    let mut found = None;
    for (i, argument) in call.args.iter().enumerate() {
        if free_columns(argument, catalog)?.is_empty() {
            continue;
        }
        if found.is_some() || !matches!(argument.node, Some(NodeEnum::ColumnRef(_))) {
            return None;
        }
        found = Some(i);
    }
    found
}

/// The select inside the body's single EXISTS. The parameter that holds the row's column is marked as
/// a column of an outer row; the others become `$1`, `$2` … of the companion.
fn exists_body(function: &Function, row: usize, catalog: &Catalog) -> Option<SelectStmt> {
    if function.volatility == Volatility::Volatile || function.returns != "boolean" {
        return None;
    }
    let text = match function.language.as_str() {
        "sql" => function.body.clone(),
        "plpgsql" => format!("select {}", returned_expression(function)?),
        _ => return None,
    };
    let mut outer = match parse_statement(&text) {
        Ok(NodeEnum::SelectStmt(select)) => *select,
        // The body of a `RETURN expression` function.
        Ok(NodeEnum::ReturnStmt(r)) => SelectStmt {
            target_list: vec![target(*r.returnval?)],
            ..Default::default()
        },
        _ => return None,
    };
    if !outer.from_clause.is_empty() || outer.where_clause.is_some() {
        return None;
    }
    let [
        Node {
            node: Some(NodeEnum::ResTarget(only)),
        },
    ] = outer.target_list.as_mut_slice()
    else {
        return None;
    };
    let link = only.val.as_deref_mut()?;
    match &link.node {
        Some(NodeEnum::SubLink(l)) if l.sub_link_type() == SubLinkType::ExistsSublink => {}
        _ => return None,
    }
    let select = subselect_mut(link)?;
    mark_parameters(select, function, row, catalog)?;
    Some(select.clone())
}

/// The parse tree of a PL/pgSQL body, as JSON.
pub(in crate::sql) fn plpgsql_tree(function: &Function) -> Option<serde_json::Value> {
    let parameters: Vec<String> = function
        .argument_names
        .iter()
        .zip(&function.argument_types)
        .map(|(name, kind)| {
            format!(
                "{} {kind}",
                if name.is_empty() {
                    String::new()
                } else {
                    quote::ident(name)
                }
            )
        })
        .collect();
    let create = format!(
        "create function f({}) returns {}{} language plpgsql as {}",
        parameters.join(", "),
        if function.returns_set { "setof " } else { "" },
        function.returns,
        quote::literal(&function.body)
    );
    pg_query::parse_plpgsql(&create).ok()
}

/// `return <expression>`, the only statement of a PL/pgSQL body.
fn returned_expression(function: &Function) -> Option<String> {
    let tree = plpgsql_tree(function)?;
    let block = tree.pointer("/0/PLpgSQL_function/action/PLpgSQL_stmt_block")?;
    if block.get("exceptions").is_some() || declares_variables(&tree, function) {
        return None;
    }
    match block.get("body")?.as_array()?.as_slice() {
        // The parser adds an empty RETURN at the end of some bodies.
        [only] | [only, _] => only
            .pointer("/PLpgSQL_stmt_return/expr/PLpgSQL_expr/query")?
            .as_str()
            .map(str::to_owned),
        _ => None,
    }
}

/// Whether the body has a DECLARE section: more data than the parameters and `found`.
fn declares_variables(tree: &serde_json::Value, function: &Function) -> bool {
    tree.pointer("/0/PLpgSQL_function/datums")
        .and_then(serde_json::Value::as_array)
        .is_none_or(|datums| datums.len() > function.argument_types.len() + 1)
}

fn mark_parameters(
    select: &mut SelectStmt,
    function: &Function,
    row: usize,
    catalog: &Catalog,
) -> Option<()> {
    let inner = relations(select, catalog)?;
    let condition = select.where_clause.as_deref_mut()?;
    let number = |path: &[&str]| {
        let owned: Vec<String> = path.iter().map(|p| (*p).to_owned()).collect();
        let name = match path {
            // A column hides a parameter of the same name.
            [name] if !binds(&inner, &owned, catalog) => name,
            [qualifier, name] if *qualifier == function.name.name => name,
            _ => return None,
        };
        function.argument_names.iter().position(|n| n == name)
    };
    mark(condition, row, &number)
}

fn mark(node: &mut Node, row: usize, number: &dyn Fn(&[&str]) -> Option<usize>) -> Option<()> {
    let found = match &node.node {
        Some(NodeEnum::ParamRef(p)) => Some(usize::try_from(p.number).ok()?.checked_sub(1)?),
        Some(NodeEnum::ColumnRef(c)) => number(&column_path(c)),
        // A parameter deeper down cannot be told from a column of that level.
        Some(NodeEnum::SubLink(_)) => return None,
        _ => None,
    };
    if let Some(i) = found {
        *node = parameter(i, row)?;
    }
    parts_mut(node)?
        .into_iter()
        .try_for_each(|part| mark(part, row, number))
}

fn parameter(i: usize, row: usize) -> Option<Node> {
    let node = if i == row {
        NodeEnum::ColumnRef(ColumnRef {
            fields: vec![string(ROW), string("parameter")],
            ..Default::default()
        })
    } else {
        let position = if i < row { i } else { i - 1 };
        NodeEnum::ParamRef(pg_query::protobuf::ParamRef {
            number: i32::try_from(position + 1).ok()?,
            location: 0,
        })
    };
    Some(node.into_node())
}

fn is_row_parameter(node: &Node) -> bool {
    matches!(&node.node, Some(NodeEnum::ColumnRef(c)) if column_path(c).first() == Some(&ROW))
}

/// The type of the set's only column, where it is a plain column of a known table.
fn column_type(set: &SelectStmt, catalog: &Catalog) -> Option<String> {
    let [
        Node {
            node: Some(NodeEnum::ResTarget(target)),
        },
    ] = set.target_list.as_slice()
    else {
        return None;
    };
    let Some(NodeEnum::ColumnRef(column)) = &target.val.as_deref()?.node else {
        return None;
    };
    let inner = relations(set, catalog)?;
    let path = column_path(column);
    let name = path.last()?;
    let mut tables = inner
        .iter()
        .filter(|r| path.len() == 1 || path.first() == Some(&r.alias.as_str()))
        .filter_map(|r| catalog.table(r.table.as_ref()?)?.column(name));
    let found = tables.next()?;
    tables.next().is_none().then(|| found.type_name.clone())
}

fn row_column_type(column: &Node, table: &Name, catalog: &Catalog) -> Option<String> {
    let Some(NodeEnum::ColumnRef(column)) = &column.node else {
        return None;
    };
    let name = *column_path(column).last()?;
    Some(catalog.table(table)?.column(name)?.type_name.clone())
}

fn companion(
    function: &Function,
    set: &SelectStmt,
    rest: &[usize],
    key_type: &str,
    catalog: &Catalog,
) -> Option<Companion> {
    let name = Name::new(&function.name.schema, free_name(function, catalog));
    let types: Vec<&str> = rest
        .iter()
        .filter_map(|i| function.argument_types.get(*i).map(String::as_str))
        .collect();
    let signature = format!("{}({})", quote::name(&name), types.join(", "));
    let mut head =
        format!("create function {signature} returns setof {key_type}\n  language sql stable");
    if function.security_definer {
        head.push_str(" security definer");
    }
    if function.parallel == crate::model::Parallel::Safe {
        head.push_str(" parallel safe");
    }
    for setting in &function.config {
        let (key, value) = setting.split_once('=')?;
        head.push_str("\n  set ");
        head.push_str(key);
        head.push_str(" = ");
        head.push_str(&setting_value(value));
    }
    let body = print_select(set).ok()?;
    let create = format!("{head}\n  as {}", dollar_quoted(&body)?);
    let mut statements = vec![create];
    statements.extend(grants::statements(function, &signature, catalog));
    if function.security_definer && function.owner != catalog.server.user {
        statements.push(format!(
            "alter function {signature} owner to {}",
            quote::ident(&function.owner)
        ));
    }
    Some(Companion {
        drop: format!("drop function {signature}"),
        name,
        body,
        create: statements,
    })
}

/// `search_path=""` is stored with its quotes; a list is stored as it is written.
fn setting_value(value: &str) -> String {
    if value.is_empty() || value == "\"\"" {
        "''".to_owned()
    } else {
        value.to_owned()
    }
}

fn dollar_quoted(body: &str) -> Option<String> {
    ["$$", "$set$", "$dbtune$"]
        .into_iter()
        .find(|tag| !body.contains(*tag))
        .map(|tag| format!("{tag} {body} {tag}"))
}

/// `f_set`, within the 63 bytes of an identifier and not taken.
fn free_name(function: &Function, catalog: &Catalog) -> String {
    let mut stem = function.name.name.clone();
    while stem.len() > 56 {
        stem.pop();
    }
    let taken = |name: &str| {
        catalog
            .functions_named(&function.name.schema, name)
            .next()
            .is_some()
    };
    let first = format!("{stem}_set");
    if !taken(&first) {
        return first;
    }
    (2..1000)
        .map(|n: u32| format!("{stem}_set{n}"))
        .find(|name| !taken(name))
        .unwrap_or(first)
}

fn call_of(name: &Name, arguments: Vec<Node>) -> SelectStmt {
    let call = FuncCall {
        funcname: vec![string(&name.schema), string(&name.name)],
        args: arguments,
        funcformat: pg_query::protobuf::CoercionForm::CoerceExplicitCall.into(),
        ..Default::default()
    };
    SelectStmt {
        target_list: vec![target(NodeEnum::FuncCall(Box::new(call)).into_node())],
        limit_option: LimitOption::Default.into(),
        op: SetOperation::SetopNone.into(),
        ..Default::default()
    }
}

fn target(node: Node) -> Node {
    NodeEnum::ResTarget(Box::new(ResTarget {
        val: Some(Box::new(node)),
        ..Default::default()
    }))
    .into_node()
}
