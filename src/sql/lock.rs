//! Which lock a statement takes (PostgreSQL documentation, "Explicit Locking").

use super::script::{listed_name, relation};
use crate::model::Name;
use pg_query::NodeEnum;
use pg_query::protobuf::{self, AlterTableType, ConstrType, ObjectType};
use std::fmt;

/// Table locks, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    AccessShare,
    RowShare,
    RowExclusive,
    ShareUpdateExclusive,
    Share,
    ShareRowExclusive,
    Exclusive,
    AccessExclusive,
}

impl Mode {
    /// Whether INSERT, UPDATE and DELETE wait while it is held, and while it is waited for.
    pub fn blocks_writers(self) -> bool {
        self >= Self::Share
    }

    pub fn blocks_readers(self) -> bool {
        self == Self::AccessExclusive
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AccessShare => "ACCESS SHARE",
            Self::RowShare => "ROW SHARE",
            Self::RowExclusive => "ROW EXCLUSIVE",
            Self::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
            Self::Share => "SHARE",
            Self::ShareRowExclusive => "SHARE ROW EXCLUSIVE",
            Self::Exclusive => "EXCLUSIVE",
            Self::AccessExclusive => "ACCESS EXCLUSIVE",
        })
    }
}

/// A lock, and the relation it is taken on; for an index, its table is locked as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    pub mode: Mode,
    pub on: Name,
}

/// The strongest lock of one statement; `None` where it takes none on a table that others use.
pub(super) fn of(node: &NodeEnum) -> Option<Lock> {
    let lock = |mode, on| Some(Lock { mode, on });
    let on = |range: &Option<protobuf::RangeVar>| relation(range.as_ref());
    match node {
        NodeEnum::IndexStmt(s) if s.concurrent => lock(Mode::ShareUpdateExclusive, on(&s.relation)),
        NodeEnum::IndexStmt(s) => lock(Mode::Share, on(&s.relation)),
        NodeEnum::DropStmt(s) => dropping(s),
        NodeEnum::ReindexStmt(s) if s.params.is_empty() => lock(Mode::Share, on(&s.relation)),
        NodeEnum::ReindexStmt(s) => lock(Mode::ShareUpdateExclusive, on(&s.relation)),
        NodeEnum::CreatePolicyStmt(s) => lock(Mode::AccessExclusive, on(&s.table)),
        NodeEnum::AlterPolicyStmt(s) => lock(Mode::AccessExclusive, on(&s.table)),
        NodeEnum::AlterTableStmt(s) => lock(altering(s), on(&s.relation)),
        NodeEnum::RenameStmt(s) => s
            .relation
            .as_ref()?
            .relname
            .chars()
            .next()
            .and_then(|_| lock(Mode::AccessExclusive, on(&s.relation))),
        NodeEnum::CreateTrigStmt(s) => lock(Mode::ShareRowExclusive, on(&s.relation)),
        NodeEnum::RuleStmt(s) => lock(Mode::AccessExclusive, on(&s.relation)),
        NodeEnum::CreateStmt(s) => {
            referenced(&s.table_elts).and_then(|name| lock(Mode::ShareRowExclusive, name))
        }
        NodeEnum::TruncateStmt(s) => {
            first_range(&s.relations).and_then(|name| lock(Mode::AccessExclusive, name))
        }
        NodeEnum::VacuumStmt(s) => {
            let full = s
                .options
                .iter()
                .any(|o| matches!(&o.node, Some(NodeEnum::DefElem(e)) if e.defname == "full"));
            let mode = if full {
                Mode::AccessExclusive
            } else {
                Mode::ShareUpdateExclusive
            };
            lock(mode, vacuumed(&s.rels))
        }
        NodeEnum::ClusterStmt(s) => lock(Mode::AccessExclusive, on(&s.relation)),
        NodeEnum::RefreshMatViewStmt(s) if s.concurrent => lock(Mode::Exclusive, on(&s.relation)),
        NodeEnum::RefreshMatViewStmt(s) => lock(Mode::AccessExclusive, on(&s.relation)),
        NodeEnum::LockStmt(s) => {
            first_range(&s.relations).and_then(|name| lock(stated(s.mode), name))
        }
        NodeEnum::InsertStmt(s) => lock(Mode::RowExclusive, on(&s.relation)),
        NodeEnum::UpdateStmt(s) => lock(Mode::RowExclusive, on(&s.relation)),
        NodeEnum::DeleteStmt(s) => lock(Mode::RowExclusive, on(&s.relation)),
        _ => None,
    }
}

fn dropping(drop: &protobuf::DropStmt) -> Option<Lock> {
    let first = drop.objects.first()?;
    let (mode, on) = match drop.remove_type() {
        ObjectType::ObjectIndex if drop.concurrent => {
            (Mode::ShareUpdateExclusive, listed_name(first))
        }
        ObjectType::ObjectIndex | ObjectType::ObjectTable | ObjectType::ObjectMatview => {
            (Mode::AccessExclusive, listed_name(first))
        }
        // The last part of the list is the policy, trigger or rule, the rest its table.
        ObjectType::ObjectPolicy | ObjectType::ObjectTrigger | ObjectType::ObjectRule => {
            (Mode::AccessExclusive, owner_of(first))
        }
        _ => return None,
    };
    Some(Lock { mode, on })
}

fn owner_of(node: &protobuf::Node) -> Name {
    let Some(NodeEnum::List(list)) = &node.node else {
        return Name::default();
    };
    let mut without_last = list.clone();
    without_last.items.pop();
    listed_name(&protobuf::Node {
        node: Some(NodeEnum::List(without_last)),
    })
}

fn altering(alter: &protobuf::AlterTableStmt) -> Mode {
    if alter.objtype() == ObjectType::ObjectIndex {
        // ATTACH PARTITION of an index: its table stays open.
        return Mode::ShareUpdateExclusive;
    }
    alter
        .cmds
        .iter()
        .filter_map(|cmd| match &cmd.node {
            Some(NodeEnum::AlterTableCmd(cmd)) => Some(cmd),
            _ => None,
        })
        .map(|cmd| match cmd.subtype() {
            AlterTableType::AtSetStatistics
            | AlterTableType::AtValidateConstraint
            | AlterTableType::AtClusterOn
            | AlterTableType::AtDropCluster
            | AlterTableType::AtSetRelOptions
            | AlterTableType::AtResetRelOptions
            | AlterTableType::AtSetOptions
            | AlterTableType::AtResetOptions
            | AlterTableType::AtAttachPartition => Mode::ShareUpdateExclusive,
            AlterTableType::AtEnableTrig
            | AlterTableType::AtEnableAlwaysTrig
            | AlterTableType::AtEnableReplicaTrig
            | AlterTableType::AtEnableTrigAll
            | AlterTableType::AtEnableTrigUser
            | AlterTableType::AtDisableTrig
            | AlterTableType::AtDisableTrigAll
            | AlterTableType::AtDisableTrigUser => Mode::ShareRowExclusive,
            AlterTableType::AtAddConstraint if is_foreign_key(cmd) => Mode::ShareRowExclusive,
            _ => Mode::AccessExclusive,
        })
        .max()
        .unwrap_or(Mode::AccessExclusive)
}

fn is_foreign_key(cmd: &protobuf::AlterTableCmd) -> bool {
    matches!(
        cmd.def.as_ref().and_then(|d| d.node.as_ref()),
        Some(NodeEnum::Constraint(c)) if c.contype() == ConstrType::ConstrForeign
    )
}

/// The first table that a new table's foreign keys point to.
fn referenced(elements: &[protobuf::Node]) -> Option<Name> {
    let of_constraint = |node: &protobuf::Node| match &node.node {
        Some(NodeEnum::Constraint(c)) if c.contype() == ConstrType::ConstrForeign => {
            Some(relation(c.pktable.as_ref()))
        }
        _ => None,
    };
    elements.iter().find_map(|element| match &element.node {
        Some(NodeEnum::ColumnDef(column)) => column.constraints.iter().find_map(of_constraint),
        _ => of_constraint(element),
    })
}

fn first_range(nodes: &[protobuf::Node]) -> Option<Name> {
    match &nodes.first()?.node {
        Some(NodeEnum::RangeVar(range)) => Some(relation(Some(range))),
        _ => None,
    }
}

fn vacuumed(rels: &[protobuf::Node]) -> Name {
    match rels.first().map(|r| &r.node) {
        Some(Some(NodeEnum::VacuumRelation(rel))) => relation(rel.relation.as_ref()),
        _ => Name::default(),
    }
}

/// `LOCK TABLE`'s mode, by its number in PostgreSQL's `lockdefs.h`.
fn stated(mode: i32) -> Mode {
    match mode {
        1 => Mode::AccessShare,
        2 => Mode::RowShare,
        3 => Mode::RowExclusive,
        4 => Mode::ShareUpdateExclusive,
        5 => Mode::Share,
        6 => Mode::ShareRowExclusive,
        7 => Mode::Exclusive,
        _ => Mode::AccessExclusive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_are_those_of_the_manual() {
        for (sql, mode, on) in [
            (
                "create index concurrently i on t (a)",
                Mode::ShareUpdateExclusive,
                "t",
            ),
            ("create index i on s.t (a)", Mode::Share, "s.t"),
            ("drop index s.i", Mode::AccessExclusive, "s.i"),
            ("drop index concurrently i", Mode::ShareUpdateExclusive, "i"),
            (
                "alter policy p on t using (true)",
                Mode::AccessExclusive,
                "t",
            ),
            ("drop policy p on s.t", Mode::AccessExclusive, "s.t"),
            ("alter table t add column c int", Mode::AccessExclusive, "t"),
            (
                "alter table t validate constraint c",
                Mode::ShareUpdateExclusive,
                "t",
            ),
            (
                "alter table t add constraint c foreign key (a) references r",
                Mode::ShareRowExclusive,
                "t",
            ),
            (
                "alter index i attach partition j",
                Mode::ShareUpdateExclusive,
                "i",
            ),
            (
                "create table n (a int references s.r)",
                Mode::ShareRowExclusive,
                "s.r",
            ),
            (
                "create trigger g before insert on t execute function f()",
                Mode::ShareRowExclusive,
                "t",
            ),
            ("update t set a = 1", Mode::RowExclusive, "t"),
            ("vacuum full t", Mode::AccessExclusive, "t"),
            ("truncate t", Mode::AccessExclusive, "t"),
        ] {
            let statement = crate::sql::script::parse(sql).unwrap().remove(0);
            let lock = statement.lock.unwrap_or_else(|| panic!("{sql}"));
            assert_eq!(
                (lock.mode, lock.on.to_string().as_str()),
                (mode, on),
                "{sql}"
            );
        }
        let create = crate::sql::script::parse("create table n (a int)").unwrap();
        assert_eq!(create[0].lock, None);
    }
}
