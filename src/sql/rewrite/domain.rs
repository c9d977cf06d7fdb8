//! A test without an index → `column = any(array(select key from referenced where test))`.
//!
//! A column that is NOT NULL and a foreign key holds one of the referenced keys in every row, so asking the keys is
//! asking the rows. Holds for what a statement's snapshot shows: a single statement that inserts a key and a row with
//! it, and returns the row, would not find the key. A clause that serves as WITH CHECK is therefore left alone.

use super::{Depth, Rewritten, quiet, rewrite as rewrite_others};
use crate::model::{Catalog, Column, Command, Name, Policy, Role, Table, TableKind, Volatility};
use crate::sql::access::tables;
use crate::sql::quote;
use crate::sql::scope::{free_columns, worst_volatility};
use crate::sql::tree::{
    boolean_literal, column_path, equals_any_of_select, is_equality, is_literal, parse_expression,
    parse_select, qualified,
};
use pg_query::protobuf::{AExprKind, BoolExprType, FuncCall};
use pg_query::{Node, NodeEnum};
use std::collections::BTreeSet;

/// The referenced table must be smaller than the policy's by this factor.
const SMALLER: f64 = 20.0;
/// Types whose `=` is identity, so that a function cannot tell equal values apart.
const IDENTITY: [&str; 6] = ["uuid", "smallint", "integer", "bigint", "date", "oid"];
const STEP: &str = "a test that gives an index no column becomes a set of keys";

/// The values that a column may have: the keys of another table.
struct Domain {
    column: String,
    keys: Name,
    key: String,
    identity: bool,
}

struct Rewriter<'a> {
    domains: Vec<Domain>,
    catalog: &'a Catalog,
}

/// Rewrites what stands where NULL and false mean the same: under AND and OR only.
pub(super) fn rewrite(
    node: &mut Node,
    policy: &Policy,
    table: &Name,
    catalog: &Catalog,
    made: &mut Rewritten,
) {
    let serves_as_check =
        policy.check.is_none() && matches!(policy.command, Command::All | Command::Update);
    if !policy.permissive || serves_as_check {
        return;
    }
    let rewriter = Rewriter {
        domains: domains(policy, table, catalog),
        catalog,
    };
    if rewriter.domains.is_empty() {
        return;
    }
    let beside = rewriter.compared_beside(policy, table);
    if rewriter.visit(node, &beside) {
        made.steps.push(STEP);
    }
}

impl Rewriter<'_> {
    /// `beside`: columns that the alternatives of `node` compare.
    fn visit(&self, node: &mut Node, beside: &BTreeSet<String>) -> bool {
        if let Some(NodeEnum::BoolExpr(e)) = &mut node.node {
            match e.boolop() {
                BoolExprType::OrExpr => return self.visit_alternatives(&mut e.args, beside),
                BoolExprType::AndExpr => return self.visit_conditions(&mut e.args, beside),
                _ => {}
            }
        }
        let replacement = self
            .of_function(node)
            .or_else(|| self.of_constant(node, beside));
        match replacement {
            Some(made) => {
                *node = made;
                true
            }
            None => false,
        }
    }

    fn visit_alternatives(&self, args: &mut [Node], beside: &BTreeSet<String>) -> bool {
        let compared: Vec<BTreeSet<String>> = args.iter().map(|a| self.compared(a)).collect();
        let mut changed = false;
        for (i, arg) in args.iter_mut().enumerate() {
            let mut around = beside.clone();
            for (_, columns) in compared.iter().enumerate().filter(|(j, _)| *j != i) {
                around.extend(columns.iter().cloned());
            }
            changed |= self.visit(arg, &around);
        }
        changed
    }

    /// One condition that an index serves is enough for all of them.
    fn visit_conditions(&self, args: &mut [Node], beside: &BTreeSet<String>) -> bool {
        let is_or = |n: &Node| matches!(&n.node, Some(NodeEnum::BoolExpr(e)) if e.boolop() == BoolExprType::OrExpr);
        let served = |n: &Node| !is_or(n) && is_comparison(n, self.catalog);
        if args.iter().any(served) {
            return false;
        }
        args.iter_mut().any(|arg| self.visit(arg, beside))
    }

    /// `f(column)`, where `f` could not be opened.
    fn of_function(&self, node: &Node) -> Option<Node> {
        let Some(NodeEnum::FuncCall(call)) = &node.node else {
            return None;
        };
        let (at, column) = one_column(call, self.catalog)?;
        let domain = self
            .domains
            .iter()
            .find(|d| d.column == column && d.identity)?;
        if worst_volatility(node, self.catalog) == Volatility::Volatile {
            return None;
        }
        let (schema, name) = qualified(&call.funcname);
        let mut named = self.catalog.functions_named(schema, name);
        let function = named.next().filter(|_| named.next().is_none())?;
        let scalar = function.returns == "boolean" && !function.returns_set;
        // It will be asked about keys that no row has: it must answer, not complain.
        if !scalar || !quiet::answers_any_key(function, at, self.catalog) {
            return None;
        }
        let mut asked = call.clone();
        let place = asked.args.get_mut(at)?;
        let row_column = std::mem::replace(place, domain.key_node()?);
        let test = Node {
            node: Some(NodeEnum::FuncCall(asked)),
        };
        domain.set(row_column, test)
    }

    /// A test that does not depend on the row, beside one that compares a column.
    fn of_constant(&self, node: &Node, beside: &BTreeSet<String>) -> Option<Node> {
        let once = match worst_volatility(node, self.catalog) {
            Volatility::Volatile => false,
            Volatility::Stable => true,
            Volatility::Immutable => matches!(node.node, Some(NodeEnum::SubLink(_))),
        };
        if !once || is_literal(node) || !free_columns(node, self.catalog)?.is_empty() {
            return None;
        }
        let domain = self.domains.iter().find(|d| beside.contains(&d.column))?;
        let column = parse_expression(&quote::ident(&domain.column)).ok()?;
        domain.set(column, node.clone())
    }

    /// Columns that the other policies used together with this one compare, once rewritten themselves.
    fn compared_beside(&self, policy: &Policy, table: &Name) -> BTreeSet<String> {
        let Some(of) = self.catalog.table(table) else {
            return BTreeSet::new();
        };
        of.policies
            .iter()
            .filter(|other| other.permissive && other.name != policy.name)
            .filter(|other| used_together(policy, other))
            .filter_map(|other| {
                let using = other.using.as_deref()?;
                let sets = rewrite_others(using, table, self.catalog, Depth::Sets).ok()?;
                let text = sets.map_or_else(|| using.to_owned(), |made| made.expression);
                parse_expression(&text).ok()
            })
            .flat_map(|node| self.compared(&node))
            .collect()
    }

    /// Columns of the row that are compared with something known before the scan, or could be.
    fn compared(&self, node: &Node) -> BTreeSet<String> {
        match &node.node {
            Some(NodeEnum::BoolExpr(e)) if e.boolop() != BoolExprType::NotExpr => {
                e.args.iter().flat_map(|a| self.compared(a)).collect()
            }
            Some(NodeEnum::FuncCall(call)) => one_column(call, self.catalog)
                .map(|(_, column)| column)
                .into_iter()
                .collect(),
            _ => compared_column(node, self.catalog).into_iter().collect(),
        }
    }
}

impl Domain {
    fn key_node(&self) -> Option<Node> {
        parse_expression(&format!(
            "{}.{}",
            quote::ident(&self.keys.name),
            quote::ident(&self.key)
        ))
        .ok()
    }

    fn set(&self, column: Node, test: Node) -> Option<Node> {
        let mut select = parse_select(&format!(
            "select {}.{} from {}",
            quote::ident(&self.keys.name),
            quote::ident(&self.key),
            quote::name(&self.keys)
        ))
        .ok()?;
        select.where_clause = Some(Box::new(test));
        Some(equals_any_of_select(column, select))
    }
}

fn domains(policy: &Policy, name: &Name, catalog: &Catalog) -> Vec<Domain> {
    let Some(table) = catalog.table(name) else {
        return Vec::new();
    };
    let stored = |t: &Table| matches!(t.kind, TableKind::Ordinary | TableKind::Partitioned);
    if !stored(table) || table.inherited {
        return Vec::new();
    }
    let domain = |k: &crate::model::ForeignKey| {
        let ([column], [key]) = (k.columns.as_slice(), k.referenced_columns.as_slice()) else {
            return None;
        };
        let keys = catalog.table(&k.references)?;
        let (from, to) = (table.column(column)?, keys.column(key)?);
        let holds = k.enforced && from.not_null && same_plain_type(from, to);
        let smaller = keys.row_estimate() * SMALLER <= table.row_estimate();
        let whole = k.references != *name
            && stored(keys)
            && readers(policy, table, catalog)?
                .iter()
                .all(|role| sees_every_row(role, keys, catalog));
        (holds && smaller && whole).then(|| Domain {
            column: column.clone(),
            keys: k.references.clone(),
            key: key.clone(),
            identity: IDENTITY.contains(&from.type_name.as_str()),
        })
    };
    table.foreign_keys.iter().filter_map(domain).collect()
}

fn same_plain_type(a: &Column, b: &Column) -> bool {
    a.type_kind == 'b' && b.type_kind == 'b' && a.type_name == b.type_name
}

/// The roles that a statement may run as when it uses the policy; `None` where they cannot be listed.
fn readers(policy: &Policy, table: &Table, catalog: &Catalog) -> Option<BTreeSet<String>> {
    if !policy.roles.iter().any(|r| r == "public") {
        return Some(policy.roles.iter().cloned().collect());
    }
    // A policy for everybody is used by those who may reach the table at all.
    let mut found: BTreeSet<String> = table.grants.keys().cloned().collect();
    if !table.rls_forced {
        found.remove(&table.owner);
    }
    let reads_everything = |r: &Role| {
        r.member_of
            .iter()
            .any(|m| matches!(m.as_str(), "pg_read_all_data" | "pg_write_all_data"))
    };
    for (name, role) in &catalog.roles {
        if reads_everything(role) && *name != table.owner {
            found.insert(name.clone());
        }
    }
    found.retain(|name| {
        let free = |r: &Role| r.superuser || r.bypass_rls;
        !catalog.roles.get(name).is_some_and(free)
    });
    Some(found)
}

/// Whether `role`, and so everybody who has its rights, may read the table and no policy of it hides a row.
fn sees_every_row(role: &str, table: &Table, catalog: &Catalog) -> bool {
    let given = [role, "public"];
    let may_read = given
        .iter()
        .filter_map(|g| table.grants.get(*g))
        .flatten()
        .any(|privilege| privilege == "SELECT");
    if !may_read || !table.rls_enabled {
        return may_read;
    }
    let mut reading = table
        .policies
        .iter()
        .filter(|p| p.command.covers(Command::Select));
    let unhidden = reading.clone().any(|p| {
        let text = p.using.as_deref().and_then(|u| parse_expression(u).ok());
        p.permissive
            && p.roles.iter().any(|r| given.contains(&r.as_str()))
            && text.as_ref().and_then(boolean_literal) == Some(true)
    });
    // A restrictive policy could hide rows, and one that reads a table could end in a circle.
    unhidden
        && reading.all(|p| {
            p.permissive
                && p.using
                    .iter()
                    .all(|u| tables(&format!("select {u}"), catalog).is_empty())
        })
}

fn used_together(a: &Policy, b: &Policy) -> bool {
    let everybody = |p: &Policy| p.roles.iter().any(|r| r == "public");
    (a.command.covers(b.command) || b.command.covers(a.command))
        && (everybody(a) || everybody(b) || a.roles.iter().any(|r| b.roles.contains(r)))
}

/// The only argument that depends on the row, with its place, where it is a plain column.
fn one_column(call: &FuncCall, catalog: &Catalog) -> Option<(usize, String)> {
    let mut found = None;
    for (i, argument) in call.args.iter().enumerate() {
        if free_columns(argument, catalog)?.is_empty() {
            continue;
        }
        let Some(NodeEnum::ColumnRef(column)) = &argument.node else {
            return None;
        };
        if found.is_some() {
            return None;
        }
        found = Some((i, (*column_path(column).last()?).to_owned()));
    }
    found
}

fn is_comparison(node: &Node, catalog: &Catalog) -> bool {
    compared_column(node, catalog).is_some()
}

/// The column of `column = known` or `column = any(known)`.
fn compared_column(node: &Node, catalog: &Catalog) -> Option<String> {
    let Some(NodeEnum::AExpr(e)) = &node.node else {
        return None;
    };
    let either = match e.kind() {
        AExprKind::AexprOp => true,
        AExprKind::AexprOpAny | AExprKind::AexprIn => false,
        _ => return None,
    };
    if !is_equality(&e.name) {
        return None;
    }
    let (left, right) = (e.lexpr.as_deref()?, e.rexpr.as_deref()?);
    let column = |node: &Node, other: &Node| match &node.node {
        Some(NodeEnum::ColumnRef(c)) if free_columns(other, catalog)?.is_empty() => {
            Some((*column_path(c).last()?).to_owned())
        }
        _ => None,
    };
    column(left, right).or_else(|| either.then(|| column(right, left)).flatten())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ForeignKey, Function};
    use crate::sql::rewrite::{Depth, rewrite_using};
    use crate::sql::tree::print_expression;

    fn column(name: &str, kind: &str) -> Column {
        Column {
            name: name.into(),
            type_name: kind.into(),
            type_kind: 'b',
            not_null: true,
            ..Column::default()
        }
    }

    fn policy(name: &str, using: &str) -> Policy {
        Policy {
            name: name.into(),
            permissive: true,
            roles: vec!["staff".into()],
            command: Command::Select,
            using: Some(using.into()),
            check: None,
        }
    }

    fn function(name: &str, arguments: &[&str], body: &str) -> Function {
        Function {
            name: Name::new("public", name),
            language: "plpgsql".into(),
            returns: "boolean".into(),
            volatility: Volatility::Stable,
            argument_types: arguments.iter().map(|_| "uuid".into()).collect(),
            argument_names: arguments.iter().map(|a| (*a).into()).collect(),
            body: body.into(),
            ..Function::default()
        }
    }

    fn catalog() -> Catalog {
        let mut catalog = Catalog::default();
        catalog.server.search_path = vec!["public".into()];
        let places = Table {
            rows: Some(100.0),
            rls_enabled: true,
            columns: vec![column("id", "uuid")],
            policies: vec![policy("all", "true")],
            grants: [("staff".into(), vec!["SELECT".into()])].into(),
            ..Table::default()
        };
        let visits = Table {
            rows: Some(100_000.0),
            rls_enabled: true,
            columns: vec![column("place_id", "uuid"), column("status", "text")],
            foreign_keys: vec![ForeignKey {
                columns: vec!["place_id".into()],
                references: Name::new("public", "places"),
                referenced_columns: vec!["id".into()],
                enforced: true,
                ..ForeignKey::default()
            }],
            ..Table::default()
        };
        let seats = Table {
            columns: vec![column("person", "uuid"), column("place", "uuid")],
            ..Table::default()
        };
        for (name, table) in [("places", places), ("visits", visits), ("seats", seats)] {
            catalog.tables.insert(Name::new("public", name), table);
        }
        catalog.functions = vec![
            function("is_boss", &[], "begin return true; end"),
            function(
                "near",
                &["p"],
                "begin if public.is_boss() then return true; end if;
                 return exists (select 1 from public.seats s where s.place = p); end",
            ),
            function(
                "picky",
                &["p"],
                "begin if p is null then raise exception 'no'; end if; return true; end",
            ),
            function("casts", &["p"], "begin return p::text::int = 1; end"),
        ];
        catalog
    }

    const MINE: &str = "place_id = ANY(ARRAY(SELECT s.place FROM public.seats s))";

    fn rewritten(policy: &Policy, catalog: &Catalog) -> Option<String> {
        let table = Name::new("public", "visits");
        rewrite_using(policy, &table, catalog, Depth::Domain)
            .unwrap()
            .map(|made| made.expression)
    }

    fn tidy(text: &str) -> String {
        print_expression(&parse_expression(text).unwrap()).unwrap()
    }

    #[track_caller]
    fn becomes(catalog: &Catalog, from: &str, to: &str) {
        assert_eq!(rewritten(&policy("p", from), catalog), Some(tidy(to)));
        let again = rewritten(&policy("p", to), catalog);
        assert_eq!(again, None, "a second run finds nothing more");
    }

    const BOSS: &str =
        "place_id = any (array(select places.id from public.places where (select is_boss())))";

    #[test]
    fn a_branch_without_a_column_becomes_a_set_of_keys() {
        let made = format!("{BOSS} or {MINE}");
        becomes(&catalog(), &format!("is_boss() or {MINE}"), &made);
        let inside = format!("status is null and ({made})");
        becomes(
            &catalog(),
            &format!("status is null and (is_boss() or {MINE})"),
            &inside,
        );
    }

    #[test]
    fn a_policy_without_a_column_takes_that_of_its_neighbour() {
        let mut catalog = catalog();
        let table = catalog
            .tables
            .get_mut(&Name::new("public", "visits"))
            .unwrap();
        table.policies = vec![policy("mine", MINE)];
        becomes(&catalog, "is_boss()", BOSS);
        let restrictive = Policy {
            permissive: false,
            ..policy("p", "is_boss()")
        };
        assert_eq!(
            rewritten(&restrictive, &catalog),
            Some(tidy("(select is_boss())"))
        );
        let alone = self::catalog();
        assert_eq!(
            rewritten(&policy("p", "is_boss()"), &alone),
            Some(tidy("(select is_boss())"))
        );
    }

    #[test]
    fn a_function_that_cannot_be_opened_is_asked_about_the_keys() {
        becomes(
            &catalog(),
            "near(place_id)",
            "place_id = any (array(select places.id from public.places where near(places.id)))",
        );
        for kept in ["picky(place_id)", "casts(place_id)", "near(other_id)"] {
            assert_eq!(rewritten(&policy("p", kept), &catalog()), None, "{kept}");
        }
    }

    #[test]
    fn every_condition_is_needed() {
        let only_wrapped = Some(tidy(&format!("(select is_boss()) or {MINE}")));
        let expression = format!("is_boss() or {MINE}");
        type Spoil = fn(&mut Table, &mut Table);
        let spoils: [(&str, Spoil); 11] = [
            ("null", |v, _| v.columns[0].not_null = false),
            ("type", |v, _| v.columns[0].type_name = "text".into()),
            ("domain type", |v, _| v.columns[0].type_kind = 'd'),
            ("key", |v, _| v.foreign_keys[0].enforced = false),
            ("two columns", |v, _| {
                v.foreign_keys[0].columns.push("x".into())
            }),
            ("children", |v, _| v.inherited = true),
            ("size", |v, _| v.rows = Some(1_000.0)),
            ("grant", |_, p| p.grants.clear()),
            ("hidden", |_, p| {
                p.policies[0].using = Some("id is not null".into())
            }),
            ("others' policy", |_, p| {
                p.policies[0].roles = vec!["boss".into()]
            }),
            ("restrictive", |_, p| {
                p.policies.push(Policy {
                    permissive: false,
                    ..policy("r", "true")
                });
            }),
        ];
        for (what, spoil) in spoils {
            let mut catalog = catalog();
            let mut take = |name: &str| catalog.tables.remove(&Name::new("public", name)).unwrap();
            let (mut visits, mut places) = (take("visits"), take("places"));
            spoil(&mut visits, &mut places);
            for (name, table) in [("visits", visits), ("places", places)] {
                catalog.tables.insert(Name::new("public", name), table);
            }
            let made = rewritten(&policy("p", &expression), &catalog);
            assert_eq!(made, only_wrapped, "{what}");
        }
        for spoiled in [
            Policy {
                command: Command::All,
                ..policy("p", &expression)
            },
            Policy {
                roles: vec!["public".into()],
                ..policy("p", &expression)
            },
        ] {
            let mut catalog = catalog();
            let table = catalog
                .tables
                .get_mut(&Name::new("public", "visits"))
                .unwrap();
            table.grants = [("anon".into(), vec!["SELECT".into()])].into();
            assert_eq!(rewritten(&spoiled, &catalog), only_wrapped);
        }
    }
}
