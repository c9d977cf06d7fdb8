//! `f(column)` → `column = any(array(select f_set()))`, where the body of `f` is one EXISTS.
//!
//! The set function is a companion of `f`: same language semantics, same security, same settings, same owner, no more
//! callers, so it sees the same rows of the tables it reads.

use super::bind::{are_parallel, given};
use super::exists::{holds_collate, membership};
use super::opened::{Given, is_row_parameter, opened};
use super::refusal::Attempt;
use super::typed::{self, Levels};
use super::{Rewritten, grants, home, printed};
use crate::model::{Catalog, Collation, Function, Name, Volatility};
use crate::sql::quote;
use crate::sql::scope::{calls, free_columns, relations};
use crate::sql::tree::{
    IntoNode, all_of, conjuncts, equals_any_of_select, print_select, qualified, string,
};
use pg_query::protobuf::{
    AExprKind, FuncCall, LimitOption, NullTest, NullTestType, ResTarget, SelectStmt, SetOperation,
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

/// Settings of a function that change nothing but speed.
const HARMLESS: [&str; 8] = [
    "search_path",
    "work_mem",
    "jit",
    "plan_cache_mode",
    "statement_timeout",
    "lock_timeout",
    "enable_seqscan",
    "random_page_cost",
];

/// The test as a set membership; the companion is added to `made`.
pub(super) fn from_call(
    call: &FuncCall,
    levels: &Levels,
    catalog: &Catalog,
    made: &mut Rewritten,
) -> Attempt<Node> {
    let Some(function) = only_function(call, catalog)? else {
        return Ok(None);
    };
    let Some(row) = one_row_argument(call, catalog) else {
        return Ok(None);
    };
    let column = call.args.get(row).ok_or("it has too few arguments")?;
    // The shape first: what no EXISTS answers is none of this rewrite's business.
    let shape: Vec<Given> = call.args.iter().map(|_| Given::Row).collect();
    match opened(function, &shape, catalog) {
        Ok(None) => return Ok(None),
        Ok(Some(_)) => {}
        Err(why) => return Err(why),
    }
    is_declared_plainly(function, call)?;
    let given = given(call, row, function, catalog)?;
    let Some(body) = opened(function, &given, catalog)? else {
        return Ok(None);
    };
    compares_as_before(function, &body, call, column, levels, catalog)?;
    let mut found = membership(&body, &Vec::new(), catalog)?
        .ok_or("its EXISTS is no test of one column against a table")?;
    // The outer side must be the parameter itself, not something computed from it.
    if !is_row_parameter(&found.outer) {
        return Err("its EXISTS computes something from the column".to_owned());
    }
    if function.strict {
        guard(&mut found.set, &given);
    }
    let key_type = key_type(function, row, column, &found.set, levels, catalog)?;
    let companion = companion(function, call, &found.set, &given, &key_type, catalog)?;
    let arguments = call
        .args
        .iter()
        .zip(&given)
        .filter(|(_, g)| matches!(g, Given::Constant(_)))
        .map(|(argument, _)| argument.clone())
        .collect();
    let set = call_of(&companion.name, arguments);
    if !made.companions.contains(&companion) {
        made.companions.push(companion);
    }
    Ok(Some(equals_any_of_select(column.clone(), set)))
}

/// Words for a call that is left alone because of its volatility, where its function could be looked into.
pub(super) fn why_volatile<T>(call: &FuncCall, catalog: &Catalog) -> Attempt<T> {
    match only_function(call, catalog)? {
        Some(f) if f.volatility == Volatility::Volatile => Err(
            "it is VOLATILE, and what it reads may change inside the statement, or it does more than read"
                .to_owned(),
        ),
        _ => Ok(None),
    }
}

/// The function that the call certainly means.
fn only_function<'a>(call: &FuncCall, catalog: &'a Catalog) -> Attempt<&'a Function> {
    let (schema, name) = qualified(&call.funcname);
    let fits =
        |f: &&Function| f.name.name == name && (schema.is_empty() || f.name.schema == schema);
    let mut named = catalog.functions.iter().filter(fits);
    let opens =
        |f: &&Function| f.returns == "boolean" && matches!(f.language.as_str(), "sql" | "plpgsql");
    let Some(first) = catalog.functions.iter().filter(fits).find(opens) else {
        return Ok(None);
    };
    if named.any(|other| other.name != first.name || other.arguments != first.arguments) {
        return Err(format!("{} is the name of several functions", first.name));
    }
    Ok(Some(first))
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

/// Whether an argument of the call is an argument of the function, one for one, and the body is run as it stands.
fn is_declared_plainly(function: &Function, call: &FuncCall) -> Result<(), String> {
    let declared = function
        .declared
        .ok_or("how it is declared was not read from this server")?;
    let named = |n: &Node| matches!(n.node, Some(NodeEnum::NamedArgExpr(_)));
    if declared.variadic || call.func_variadic {
        return Err("it is VARIADIC".to_owned());
    }
    if declared.defaults > 0 || call.args.iter().any(named) {
        return Err("it has defaults or is called by the names of its arguments".to_owned());
    }
    if declared.outputs || declared.polymorphic || function.returns_set {
        return Err("it has OUT or polymorphic arguments, or returns a set".to_owned());
    }
    if function.argument_types.len() != call.args.len() {
        return Err("it is called with another number of arguments".to_owned());
    }
    for setting in &function.config {
        let name = setting.split_once('=').map_or(setting.as_str(), |(n, _)| n);
        if !HARMLESS.contains(&name) {
            return Err(format!("it is declared with SET {name}"));
        }
    }
    Ok(())
}

/// Whether every comparison keeps its collation: parameters take theirs from the call, and a set has that of its type.
fn compares_as_before(
    function: &Function,
    body: &SelectStmt,
    call: &FuncCall,
    column: &Node,
    levels: &Levels,
    catalog: &Catalog,
) -> Result<(), String> {
    let mut plain = true;
    if let Some(NodeEnum::ColumnRef(reference)) = &column.node {
        let of = typed::column(reference, levels, catalog).and_then(|c| c.collation);
        match of.ok_or("the collation of the column is not known")? {
            Collation::Inapplicable | Collation::Default => {}
            Collation::Deterministic => plain = false,
            Collation::Nondeterministic => {
                return Err("the column has a collation under which other texts are equal".into());
            }
        }
    }
    for (argument, kind) in call.args.iter().zip(&function.argument_types) {
        if holds_collate(argument) {
            return Err("an argument has COLLATE".to_owned());
        }
        let text = matches!(
            kind.as_str(),
            "text" | "character varying" | "character" | "name"
        );
        // `name` is compared byte by byte, and hands that on.
        plain &= !text || !holds_name(argument);
    }
    if plain || only_equal(body, catalog) {
        Ok(())
    } else {
        Err("its body compares texts under the collation of its arguments".to_owned())
    }
}

/// Whether an expression may hold a value of type `name`, such as `current_user`.
fn holds_name(node: &Node) -> bool {
    match &node.node {
        Some(NodeEnum::AConst(_) | NodeEnum::ColumnRef(_)) => false,
        Some(NodeEnum::FuncCall(call)) => {
            let (_, name) = qualified(&call.funcname);
            name != "current_setting"
        }
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().is_none_or(holds_name),
        _ => true,
    }
}

/// Whether the conditions ask for nothing but equality, which no deterministic collation changes.
fn only_equal(body: &SelectStmt, catalog: &Catalog) -> bool {
    let equal = |node: &Node| match &node.node {
        Some(NodeEnum::AExpr(e)) => {
            matches!(
                e.kind(),
                AExprKind::AexprOp | AExprKind::AexprIn | AExprKind::AexprOpAny
            ) && matches!(qualified(&e.name).1, "=" | "<>")
        }
        Some(NodeEnum::BoolExpr(_)) => true,
        _ => {
            calls(node).is_some_and(|c| c.iter().all(|c| c.args.is_empty()))
                || free_columns(node, catalog).is_some_and(|f| f.is_empty())
        }
    };
    let conditions = body.where_clause.as_deref().map(conjuncts);
    let joins = body
        .from_clause
        .iter()
        .all(|n| matches!(n.node, Some(NodeEnum::RangeVar(_))));
    joins && conditions.is_some_and(|all| all.iter().all(equal))
}

/// A STRICT function says NULL where an argument is NULL, whatever its body says.
fn guard(set: &mut SelectStmt, given: &[Given]) {
    let mut all = set
        .where_clause
        .take()
        .map_or_else(Vec::new, |w| conjuncts(&w));
    for value in given {
        if let Given::Bound(node) = value {
            let test = NullTest {
                arg: Some(node.clone()),
                nulltesttype: NullTestType::IsNotNull.into(),
                ..Default::default()
            };
            all.push(NodeEnum::NullTest(Box::new(test)).into_node());
        }
    }
    set.where_clause = all_of(all).map(Box::new);
}

/// The type of the set, where column, parameter and key have it in common and its `=` is the same everywhere.
fn key_type(
    function: &Function,
    row: usize,
    column: &Node,
    set: &SelectStmt,
    levels: &Levels,
    catalog: &Catalog,
) -> Result<String, String> {
    let unknown = "the type of the key is not known";
    let [target] = set.target_list.as_slice() else {
        return Err(unknown.to_owned());
    };
    let key = match &target.node {
        Some(NodeEnum::ResTarget(t)) => match t.val.as_deref().map(|v| &v.node) {
            Some(Some(NodeEnum::ColumnRef(key))) => key,
            _ => return Err("its key is no plain column".to_owned()),
        },
        _ => return Err(unknown.to_owned()),
    };
    let inner = vec![relations(set, catalog).ok_or(unknown)?];
    let key = typed::column(key, &inner, catalog).ok_or(unknown)?;
    let name = typed::without_modifier(&key.type_name);
    let parameter = function.argument_types.get(row);
    if parameter != Some(&name) || typed::of(column, levels, catalog).as_ref() != Some(&name) {
        return Err("column, parameter and key are of different types".to_owned());
    }
    if !typed::is_plain(&name, catalog) {
        return Err(format!(
            "which operator compares {name} depends on the search path"
        ));
    }
    match key.collation {
        Some(Collation::Nondeterministic) => {
            Err("its key has a collation under which other texts are equal".to_owned())
        }
        Some(_) => Ok(name),
        None => Err("the collation of its key is not known".to_owned()),
    }
}

fn companion(
    function: &Function,
    call: &FuncCall,
    set: &SelectStmt,
    given: &[Given],
    key_type: &str,
    catalog: &Catalog,
) -> Result<Companion, String> {
    let name = home::name(function, call, given, catalog);
    let types: Vec<&str> = given
        .iter()
        .zip(&function.argument_types)
        .filter(|(g, _)| matches!(g, Given::Constant(_)))
        .map(|(_, kind)| kind.as_str())
        .collect();
    let signature = format!("{}({})", quote::name(&name), types.join(", "));
    let mut head =
        format!("create function {signature} returns setof {key_type}\n  language sql stable");
    if function.security_definer {
        head.push_str(" security definer");
    }
    if function.parallel == crate::model::Parallel::Safe && are_parallel(given, catalog) {
        head.push_str(" parallel safe");
    }
    for setting in &function.config {
        let (key, value) = setting.split_once('=').ok_or("a setting has no value")?;
        head.push_str("\n  set ");
        head.push_str(key);
        head.push_str(" = ");
        head.push_str(&setting_value(value));
    }
    let whole = printed::is_select_printed_whole(set);
    let body = print_select(set).ok().filter(|_| whole);
    let body = body.ok_or("its body cannot be written out without a loss")?;
    let quoted = dollar_quoted(&body).ok_or("its body cannot be quoted")?;
    let mut statements = vec![format!("{head}\n  as {quoted}")];
    statements.extend(grants::statements(
        function,
        &signature,
        &name.schema,
        catalog,
    ));
    if function.security_definer && function.owner != catalog.server.user {
        statements.push(format!(
            "alter function {signature} owner to {}",
            quote::ident(&function.owner)
        ));
    }
    Ok(Companion {
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

fn call_of(name: &Name, arguments: Vec<Node>) -> SelectStmt {
    let call = FuncCall {
        funcname: vec![string(&name.schema), string(&name.name)],
        args: arguments,
        funcformat: pg_query::protobuf::CoercionForm::CoerceExplicitCall.into(),
        ..Default::default()
    };
    let target = ResTarget {
        val: Some(Box::new(NodeEnum::FuncCall(Box::new(call)).into_node())),
        ..Default::default()
    };
    SelectStmt {
        target_list: vec![NodeEnum::ResTarget(Box::new(target)).into_node()],
        limit_option: LimitOption::Default.into(),
        op: SetOperation::SetopNone.into(),
        ..Default::default()
    }
}
