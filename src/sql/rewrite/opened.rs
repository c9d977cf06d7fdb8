//! The one EXISTS that an access function is made of, with its parameters replaced by what the call gives them.

use super::known;
use super::refusal::Attempt;
use crate::model::{Catalog, Function, Name};
use crate::sql::quote;
use crate::sql::scope::{Relation, binds, relations};
use crate::sql::tree::{IntoNode, column_path, parse_statement, parts_mut, string, subselect_mut};
use pg_query::protobuf::{ColumnRef, ParamRef, SelectStmt, SubLinkType};
use pg_query::{Node, NodeEnum};

/// A relation name that no parse tree of the server's text holds: marks the row's parameter.
const ROW: &str = "\u{1}row";

/// What an argument of the call becomes inside.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Given {
    /// The column of the row.
    Row,
    /// A constant, which stays an argument: the number of it.
    Constant(usize),
    /// What does not depend on the row.
    Bound(Box<Node>),
}

/// The select inside the body's single EXISTS; `None` where the body is something else.
pub(super) fn opened(
    function: &Function,
    given: &[Given],
    catalog: &Catalog,
) -> Attempt<SelectStmt> {
    let Some(mut link) = exists(function)? else {
        return Ok(None);
    };
    known::expression(&link)?;
    let select = subselect_mut(&mut link).ok_or("its EXISTS holds no SELECT")?;
    known::plain(select)?;
    for node in &select.from_clause {
        names_one_table(node, catalog)?;
    }
    let inner = relations(select, catalog).ok_or("its FROM is not known")?;
    let marker = Marker {
        function,
        given,
        inner: &inner,
        catalog,
    };
    for node in &mut select.from_clause {
        marker.joins(node)?;
    }
    let condition = select.where_clause.as_deref_mut();
    marker.mark(condition.ok_or("its EXISTS has no condition")?)?;
    Ok(Some(select.clone()))
}

pub(super) fn is_row_parameter(node: &Node) -> bool {
    matches!(&node.node, Some(NodeEnum::ColumnRef(c)) if column_path(c).first() == Some(&ROW))
}

/// The EXISTS that the body returns.
fn exists(function: &Function) -> Attempt<Node> {
    let text = match function.language.as_str() {
        "sql" => function.body.clone(),
        "plpgsql" => match returned_expression(function)? {
            Some(text) => format!("select {text}"),
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    let value = match parse_statement(&text) {
        Ok(NodeEnum::SelectStmt(select)) => match known::only_value(&select) {
            Ok(value) => value.clone(),
            Err(why) if select.target_list.iter().any(is_exists) => return Err(why.to_owned()),
            Err(_) => return Ok(None),
        },
        // The body of a `RETURN expression` function.
        Ok(NodeEnum::ReturnStmt(returned)) => match returned.returnval {
            Some(value) => *value,
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    Ok(is_exists(&value).then_some(value))
}

fn is_exists(node: &Node) -> bool {
    match &node.node {
        Some(NodeEnum::SubLink(l)) => l.sub_link_type() == SubLinkType::ExistsSublink,
        Some(NodeEnum::ResTarget(target)) => target.val.as_deref().is_some_and(is_exists),
        _ => false,
    }
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
fn returned_expression(function: &Function) -> Attempt<String> {
    let Some(tree) = plpgsql_tree(function) else {
        return Ok(None);
    };
    let Some(block) = tree.pointer("/0/PLpgSQL_function/action/PLpgSQL_stmt_block") else {
        return Ok(None);
    };
    if block.get("exceptions").is_some() || declares_variables(&tree, function) {
        return Ok(None);
    }
    let statements = block.get("body").and_then(serde_json::Value::as_array);
    let returned = |statement: &serde_json::Value| {
        statement
            .pointer("/PLpgSQL_stmt_return/expr/PLpgSQL_expr/query")?
            .as_str()
            .map(str::to_owned)
    };
    let found = match statements.map(Vec::as_slice) {
        Some([only]) => returned(only),
        // The parser adds an empty RETURN at the end of some bodies.
        Some([only, end]) if end.pointer("/PLpgSQL_stmt_return/expr").is_none() => {
            end.get("PLpgSQL_stmt_return").and_then(|_| returned(only))
        }
        _ => None,
    };
    if found.is_some() && has_option(&function.body) {
        return Err("its body has an option of the compiler (`#…`)".to_owned());
    }
    Ok(found)
}

/// `#variable_conflict` and its kin: they change what names mean, and no parse tree shows them.
fn has_option(body: &str) -> bool {
    body.split('#').skip(1).any(|rest| {
        let rest = rest.trim_start().to_lowercase();
        ["variable_conflict", "option", "print_strict_params"]
            .iter()
            .any(|option| rest.starts_with(option))
    })
}

/// Whether the body has a DECLARE section: more data than the parameters and `found`.
fn declares_variables(tree: &serde_json::Value, function: &Function) -> bool {
    tree.pointer("/0/PLpgSQL_function/datums")
        .and_then(serde_json::Value::as_array)
        .is_none_or(|datums| datums.len() > function.argument_types.len() + 1)
}

/// Whether each name means the same table whatever the search path is when the function runs.
fn names_one_table(node: &Node, catalog: &Catalog) -> Result<(), String> {
    match &node.node {
        Some(NodeEnum::RangeVar(range)) => {
            let mut named = catalog
                .tables
                .keys()
                .filter(|t| t.name == range.relname)
                .filter(|t| range.schemaname.is_empty() || t.schema == range.schemaname);
            let (first, second) = (named.next(), named.next());
            let resolved: Option<&Name> = catalog
                .resolve(&range.schemaname, &range.relname)
                .map(|(name, _)| name);
            match (first, second) {
                (Some(only), None) if resolved == Some(only) => Ok(()),
                (Some(_), Some(_)) => Err(format!(
                    "{} is a table of several schemas, and its search path decides which",
                    range.relname
                )),
                _ => Err(format!("the table {} is not known", range.relname)),
            }
        }
        Some(NodeEnum::JoinExpr(join)) => {
            for side in [&join.larg, &join.rarg].into_iter().flatten() {
                names_one_table(side, catalog)?;
            }
            Ok(())
        }
        _ => Err("its EXISTS reads something that is no table".to_owned()),
    }
}

struct Marker<'a> {
    function: &'a Function,
    given: &'a [Given],
    inner: &'a [Relation],
    catalog: &'a Catalog,
}

impl Marker<'_> {
    fn joins(&self, node: &mut Node) -> Result<(), String> {
        let Some(NodeEnum::JoinExpr(join)) = &mut node.node else {
            return Ok(());
        };
        for side in [&mut join.larg, &mut join.rarg].into_iter().flatten() {
            self.joins(side)?;
        }
        match join.quals.as_deref_mut() {
            Some(quals) => self.mark(quals),
            None => Ok(()),
        }
    }

    fn mark(&self, node: &mut Node) -> Result<(), String> {
        let place = match &node.node {
            Some(NodeEnum::ParamRef(p)) => Some(
                usize::try_from(p.number)
                    .ok()
                    .and_then(|n| n.checked_sub(1))
                    .ok_or("it has no such parameter")?,
            ),
            Some(NodeEnum::ColumnRef(c)) => self.number(&column_path(c))?,
            // A parameter deeper down cannot be told from a column of that level.
            Some(NodeEnum::SubLink(_)) if mentions_name(node) => {
                return Err("its EXISTS holds a sub-select that names something".to_owned());
            }
            Some(NodeEnum::SubLink(_)) => return Ok(()),
            _ => None,
        };
        if let Some(place) = place {
            *node = self.value(place)?;
            return Ok(());
        }
        parts_mut(node)
            .ok_or("its body holds a kind of expression that is not known")?
            .into_iter()
            .try_for_each(|part| self.mark(part))
    }

    /// The number of the parameter that a name means; `None` for a column.
    fn number(&self, path: &[&str]) -> Result<Option<usize>, String> {
        let owned: Vec<String> = path.iter().map(|p| (*p).to_owned()).collect();
        let is_column = binds(self.inner, &owned, self.catalog);
        let name = match path {
            [name] => name,
            [qualifier, name] if *qualifier == self.function.name.name => name,
            _ => return Ok(None),
        };
        let place = self.function.argument_names.iter().position(|n| n == name);
        match (place, is_column) {
            (Some(_), true) if self.function.language == "plpgsql" => Err(format!(
                "{name} is a parameter and a column, and a setting decides which is meant"
            )),
            // In SQL a column hides a parameter of the same name.
            (_, true) => Ok(None),
            (Some(place), false) => Ok(Some(place)),
            (None, false) => Err(format!("{name} is neither a column nor a parameter")),
        }
    }

    fn value(&self, place: usize) -> Result<Node, String> {
        Ok(match self.given.get(place) {
            Some(Given::Row) => NodeEnum::ColumnRef(ColumnRef {
                fields: vec![string(ROW), string("parameter")],
                ..Default::default()
            })
            .into_node(),
            Some(Given::Constant(number)) => NodeEnum::ParamRef(ParamRef {
                number: i32::try_from(number + 1).map_err(|_| "it has too many parameters")?,
                location: 0,
            })
            .into_node(),
            Some(Given::Bound(node)) => (**node).clone(),
            None => return Err("it has no such parameter".to_owned()),
        })
    }
}

/// Whether a sub-select holds any name or parameter at all.
fn mentions_name(node: &Node) -> bool {
    let mut copy = node.clone();
    let Some(select) = subselect_mut(&mut copy) else {
        return true;
    };
    !select.from_clause.is_empty()
        || crate::sql::scope::expressions(select).is_none_or(|all| all.iter().any(names_inside))
}

fn names_inside(node: &Node) -> bool {
    match &node.node {
        Some(NodeEnum::ColumnRef(_) | NodeEnum::ParamRef(_)) => true,
        Some(NodeEnum::SubLink(_)) => mentions_name(node),
        _ => crate::sql::tree::parts(node).is_none_or(|all| all.iter().any(names_inside)),
    }
}
