//! What a migration changes of who sees and writes rows, as its text says it.

mod objects;

use super::body::mentions;
use super::script::{self, relation};
use super::setting::decides;
use super::tree::{names, parse_statement};
use super::words::{quoted, words};
use crate::model::Name;
use objects::{dotted, dropped, granted, moved, named, renamed};
use pg_query::protobuf::{
    AlterTableStmt, AlterTableType, CreateFunctionStmt, DropBehavior, ObjectType, VariableSetKind,
    VariableSetStmt,
};
use pg_query::{Node, NodeEnum};

/// What a statement is about. Names without a schema leave it empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Concern {
    /// A table or view.
    Relation(Name),
    Function(Name),
    /// Everything in a schema.
    Schema(String),
    /// The whole database, or what cannot be told.
    Everything,
}

/// What the statements of `text` may change the access to; what they say of it, not what is there. Of a text that cannot be
/// read, everything.
pub fn concerns(text: &str) -> Vec<Concern> {
    let Ok(statements) = script::parse(text) else {
        return vec![Concern::Everything];
    };
    let mut found = Vec::new();
    for statement in statements {
        match parse_statement(&statement.sql) {
            Ok(node) => of(&node, &statement.sql, &mut found),
            Err(_) => found.push(Concern::Everything),
        }
    }
    found
}

fn of(node: &NodeEnum, sql: &str, found: &mut Vec<Concern>) {
    use Concern::{Everything, Function, Relation, Schema};
    match node {
        NodeEnum::CreatePolicyStmt(s) => found.push(Relation(relation(s.table.as_ref()))),
        NodeEnum::AlterPolicyStmt(s) => found.push(Relation(relation(s.table.as_ref()))),
        NodeEnum::CreateTrigStmt(s) => found.push(Relation(relation(s.relation.as_ref()))),
        NodeEnum::RuleStmt(s) => found.push(Relation(relation(s.relation.as_ref()))),
        NodeEnum::AlterTableStmt(s) if alters_access(s) => {
            found.push(Relation(relation(s.relation.as_ref())));
        }
        NodeEnum::GrantStmt(s) => granted(s, found),
        NodeEnum::DropStmt(s) => dropped(s, found),
        NodeEnum::RenameStmt(s) => renamed(s, found),
        NodeEnum::AlterOwnerStmt(s) => {
            moved(
                s.object_type(),
                s.relation.as_ref(),
                s.object.as_deref(),
                found,
            );
        }
        NodeEnum::AlterObjectSchemaStmt(s) => {
            moved(
                s.object_type(),
                s.relation.as_ref(),
                s.object.as_deref(),
                found,
            );
        }
        NodeEnum::CreateFunctionStmt(s) => created(s, found),
        NodeEnum::AlterFunctionStmt(s) => found.push(Function(named(s.func.as_ref()))),
        NodeEnum::DefineStmt(s) if s.kind() == ObjectType::ObjectAggregate => {
            found.push(Function(dotted(&s.defnames)));
        }
        NodeEnum::ViewStmt(_) | NodeEnum::CreateTableAsStmt(_) => reads(sql, found),
        NodeEnum::CreateStmt(s) => {
            let parents = s.inh_relations.iter().filter_map(|n| match &n.node {
                Some(NodeEnum::RangeVar(range)) => Some(Relation(relation(Some(range)))),
                _ => None,
            });
            found.extend(parents);
        }
        NodeEnum::CreateRoleStmt(s) => {
            let harmless = [
                "canlogin",
                "password",
                "connectionlimit",
                "validUntil",
                "inherit",
                "createdb",
            ];
            if !s.options.iter().all(|o| option_in(o, &harmless)) {
                found.push(Everything);
            }
        }
        NodeEnum::AlterRoleStmt(s) => {
            let harmless = ["canlogin", "password", "connectionlimit", "validUntil"];
            if !s.options.iter().all(|o| option_in(o, &harmless)) {
                found.push(Everything);
            }
        }
        NodeEnum::AlterRoleSetStmt(s) if sets_access(s.setstmt.as_ref()) => found.push(Everything),
        NodeEnum::AlterDatabaseSetStmt(s) if sets_access(s.setstmt.as_ref()) => {
            found.push(Everything);
        }
        NodeEnum::DoStmt(_) if speaks_of_access(sql) => found.push(Everything),
        NodeEnum::CreateSchemaStmt(s) if !s.schema_elts.is_empty() => {
            found.push(Schema(s.schemaname.clone()));
        }
        NodeEnum::GrantRoleStmt(_)
        | NodeEnum::DropRoleStmt(_)
        | NodeEnum::AlterDefaultPrivilegesStmt(_)
        | NodeEnum::ReassignOwnedStmt(_)
        | NodeEnum::DropOwnedStmt(_)
        | NodeEnum::AlterExtensionStmt(_)
        | NodeEnum::CreatePublicationStmt(_)
        | NodeEnum::AlterPublicationStmt(_)
        | NodeEnum::CreateCastStmt(_)
        | NodeEnum::CreateOpClassStmt(_)
        | NodeEnum::AlterOpFamilyStmt(_)
        | NodeEnum::AlterOperatorStmt(_) => found.push(Everything),
        NodeEnum::DefineStmt(s) if s.kind() == ObjectType::ObjectOperator => found.push(Everything),
        _ => {}
    }
}

fn alters_access(statement: &AlterTableStmt) -> bool {
    statement.cmds.iter().any(|cmd| match &cmd.node {
        Some(NodeEnum::AlterTableCmd(cmd)) => match cmd.subtype() {
            AlterTableType::AtDropColumn => cmd.behavior() == DropBehavior::DropCascade,
            AlterTableType::AtSetRelOptions
            | AlterTableType::AtResetRelOptions
            | AlterTableType::AtReplaceRelOptions => statement.objtype() == ObjectType::ObjectView,
            kind => matches!(
                kind,
                AlterTableType::AtChangeOwner
                    | AlterTableType::AtEnableRowSecurity
                    | AlterTableType::AtDisableRowSecurity
                    | AlterTableType::AtForceRowSecurity
                    | AlterTableType::AtNoForceRowSecurity
                    | AlterTableType::AtAddInherit
                    | AlterTableType::AtDropInherit
                    | AlterTableType::AtAttachPartition
                    | AlterTableType::AtDetachPartition
                    | AlterTableType::AtEnableTrig
                    | AlterTableType::AtEnableAlwaysTrig
                    | AlterTableType::AtEnableReplicaTrig
                    | AlterTableType::AtDisableTrig
                    | AlterTableType::AtEnableTrigAll
                    | AlterTableType::AtDisableTrigAll
                    | AlterTableType::AtEnableTrigUser
                    | AlterTableType::AtDisableTrigUser
                    | AlterTableType::AtEnableRule
                    | AlterTableType::AtEnableAlwaysRule
                    | AlterTableType::AtEnableReplicaRule
                    | AlterTableType::AtDisableRule
            ),
        },
        _ => false,
    })
}

/// A function by its name, and with its owner's rights whatever it may read.
fn created(statement: &CreateFunctionStmt, found: &mut Vec<Concern>) {
    found.push(Concern::Function(dotted(&statement.funcname)));
    let definer = statement
        .options
        .iter()
        .any(|o| option_in(o, &["security"]));
    if !definer {
        return;
    }
    let bodies = statement
        .options
        .iter()
        .filter_map(|option| match &option.node {
            Some(NodeEnum::DefElem(def)) if def.defname == "as" => def.arg.as_deref(),
            _ => None,
        });
    let texts: Vec<&str> = bodies
        .flat_map(|arg| match &arg.node {
            Some(NodeEnum::List(list)) => names(&list.items),
            _ => Vec::new(),
        })
        .collect();
    if texts.is_empty() {
        // A body that is no string: whatever it may read.
        found.push(Concern::Everything);
    }
    for text in texts {
        match (words(text), quoted(text)) {
            (Some(said), Some(strings)) => found.extend(
                said.into_iter()
                    .chain(strings)
                    .map(|word| Concern::Relation(Name::new("", word))),
            ),
            _ => found.push(Concern::Everything),
        }
    }
}

/// Whatever a view or a copy is made of, and itself.
fn reads(sql: &str, found: &mut Vec<Concern>) {
    match mentions(sql) {
        Some(mentions) => {
            let relations = mentions.relations.into_iter();
            found
                .extend(relations.map(|(schema, name)| Concern::Relation(Name::new(schema, name))));
        }
        None => found.push(Concern::Everything),
    }
}

fn option_in(option: &Node, names: &[&str]) -> bool {
    match &option.node {
        Some(NodeEnum::DefElem(def)) => names.contains(&def.defname.as_str()),
        _ => false,
    }
}

fn sets_access(set: Option<&VariableSetStmt>) -> bool {
    set.is_none_or(|set| set.kind() == VariableSetKind::VarResetAll || decides(&set.name))
}

/// Whether a block that can do anything names what access is made of.
fn speaks_of_access(sql: &str) -> bool {
    let telling = [
        "policy",
        "grant",
        "revoke",
        "security",
        "owner",
        "trigger",
        "rule",
        "view",
        "role",
        "privileges",
        "function",
        "bypassrls",
        "inherit",
        "attach",
    ];
    match (words(sql), quoted(sql)) {
        (Some(said), Some(strings)) => {
            let said = |word: &&str| said.contains(*word) || strings.contains(*word);
            telling.iter().any(said)
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(name: &str) -> Concern {
        Concern::Relation(Name::new("", name))
    }

    #[test]
    fn what_each_statement_is_about() {
        let function = |name: &str| Concern::Function(Name::new("", name));
        let schema = |name: &str| Concern::Schema(name.to_owned());
        for (sql, expected) in [
            ("create policy p on t using (true)", vec![relation("t")]),
            (
                "alter policy p on t using (true); drop policy p on u",
                vec![relation("t"), relation("u")],
            ),
            (
                "drop trigger g on t; drop view v",
                vec![relation("t"), relation("v")],
            ),
            ("grant select on t to a", vec![relation("t")]),
            ("grant select (x) on t to a", vec![relation("t")]),
            ("grant execute on function f(int) to a", vec![function("f")]),
            (
                "grant select on all tables in schema s to a",
                vec![schema("s")],
            ),
            ("revoke usage on schema s from a", vec![schema("s")]),
            ("grant usage on sequence q to a", vec![]),
            ("grant usage on all sequences in schema s to a", vec![]),
            (
                "alter table t enable row level security",
                vec![relation("t")],
            ),
            ("alter table t add column x int, drop column y", vec![]),
            ("alter table t drop column y cascade", vec![relation("t")]),
            ("alter table t owner to o", vec![relation("t")]),
            (
                "alter view v set (security_invoker = on)",
                vec![relation("v")],
            ),
            ("alter table t set (fillfactor = 90)", vec![]),
            ("alter function f(int) owner to o", vec![function("f")]),
            ("alter function f(int) strict", vec![function("f")]),
            (
                "create function f() returns int language sql as 'select 1 from t'",
                vec![function("f")],
            ),
            ("drop function f(int)", vec![function("f")]),
            (
                "create view v as select * from t",
                vec![relation("t"), relation("v")],
            ),
            (
                "create table c as select * from t",
                vec![relation("c"), relation("t")],
            ),
            ("create table c () inherits (t)", vec![relation("t")]),
            ("create role a login; alter role a password 'x'", vec![]),
            ("alter role a bypassrls", vec![Concern::Everything]),
            (
                "alter role a set search_path = x",
                vec![Concern::Everything],
            ),
            ("alter role a set work_mem = '4MB'", vec![]),
            ("grant a to b", vec![Concern::Everything]),
            (
                "alter default privileges grant select on tables to a",
                vec![Concern::Everything],
            ),
            (
                "do $$ begin execute 'grant select on t to a'; end $$",
                vec![Concern::Everything],
            ),
            ("do $$ begin perform 1; end $$", vec![]),
            (
                "create index on t (x); insert into t values (1); comment on table t is 'x'",
                vec![],
            ),
            ("create polic", vec![Concern::Everything]),
        ] {
            let mut found = concerns(sql);
            found.sort();
            assert_eq!(found, expected, "{sql}");
        }
        let found = concerns(
            "create function f() returns int language sql security definer as 'select 1 from t'",
        );
        assert!(found.contains(&relation("t")), "{found:?}");
    }
}
