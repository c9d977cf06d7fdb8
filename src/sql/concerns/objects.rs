//! Which objects a statement names: granted, dropped, renamed, moved.

use super::Concern;
use crate::model::Name;
use crate::sql::script::{listed_name, relation};
use crate::sql::tree::qualified;
use pg_query::protobuf::{
    DropBehavior, DropStmt, GrantStmt, GrantTargetType, ObjectType, ObjectWithArgs, RangeVar,
    RenameStmt,
};
use pg_query::{Node, NodeEnum};

pub(super) fn granted(statement: &GrantStmt, found: &mut Vec<Concern>) {
    let in_schema = statement.targtype() == GrantTargetType::AclTargetAllInSchema;
    for object in &statement.objects {
        match (&object.node, statement.objtype()) {
            (Some(NodeEnum::String(schema)), ObjectType::ObjectSchema) => {
                found.push(Concern::Schema(schema.sval.clone()));
            }
            (Some(NodeEnum::String(schema)), kind)
                if in_schema && kind != ObjectType::ObjectSequence =>
            {
                found.push(Concern::Schema(schema.sval.clone()));
            }
            (Some(NodeEnum::RangeVar(range)), ObjectType::ObjectTable) => {
                found.push(Concern::Relation(relation(Some(range))));
            }
            (Some(NodeEnum::ObjectWithArgs(function)), _) => {
                found.push(Concern::Function(named(Some(function))));
            }
            _ => {}
        }
    }
}

pub(super) fn dropped(statement: &DropStmt, found: &mut Vec<Concern>) {
    let cascade = statement.behavior() == DropBehavior::DropCascade;
    for object in &statement.objects {
        match statement.remove_type() {
            ObjectType::ObjectPolicy | ObjectType::ObjectTrigger | ObjectType::ObjectRule => {
                found.push(Concern::Relation(owner_of(object)));
            }
            ObjectType::ObjectView | ObjectType::ObjectMatview => {
                found.push(Concern::Relation(listed_name(object)));
            }
            // With what depends on it go policies of other tables.
            ObjectType::ObjectTable if cascade => {
                found.push(Concern::Relation(listed_name(object)));
            }
            ObjectType::ObjectFunction
            | ObjectType::ObjectProcedure
            | ObjectType::ObjectRoutine
            | ObjectType::ObjectAggregate => match &object.node {
                Some(NodeEnum::ObjectWithArgs(function)) => {
                    found.push(Concern::Function(named(Some(function))));
                }
                _ => found.push(Concern::Everything),
            },
            ObjectType::ObjectSchema => match &object.node {
                Some(NodeEnum::String(name)) => found.push(Concern::Schema(name.sval.clone())),
                _ => found.push(Concern::Everything),
            },
            ObjectType::ObjectIndex | ObjectType::ObjectSequence => {}
            ObjectType::ObjectCast | ObjectType::ObjectOperator | ObjectType::ObjectPublication => {
                found.push(Concern::Everything);
            }
            _ if cascade => found.push(Concern::Everything),
            _ => {}
        }
    }
}

pub(super) fn renamed(statement: &RenameStmt, found: &mut Vec<Concern>) {
    match statement.rename_type() {
        ObjectType::ObjectRole => found.push(Concern::Everything),
        ObjectType::ObjectSchema => found.push(Concern::Schema(statement.subname.clone())),
        kind => moved(
            kind,
            statement.relation.as_ref(),
            statement.object.as_deref(),
            found,
        ),
    }
}

/// An object that gets another owner, name or schema.
pub(super) fn moved(
    kind: ObjectType,
    of: Option<&RangeVar>,
    object: Option<&Node>,
    found: &mut Vec<Concern>,
) {
    match (kind, object.and_then(|o| o.node.as_ref())) {
        (ObjectType::ObjectTable | ObjectType::ObjectView | ObjectType::ObjectMatview, _) => {
            found.push(Concern::Relation(relation(of)));
        }
        (_, Some(NodeEnum::ObjectWithArgs(function)))
            if !matches!(kind, ObjectType::ObjectOperator) =>
        {
            found.push(Concern::Function(named(Some(function))));
        }
        (ObjectType::ObjectSchema, Some(NodeEnum::String(name))) => {
            found.push(Concern::Schema(name.sval.clone()));
        }
        _ => {}
    }
}

pub(super) fn named(function: Option<&ObjectWithArgs>) -> Name {
    function.map_or_else(Name::default, |f| dotted(&f.objname))
}

pub(super) fn dotted(nodes: &[Node]) -> Name {
    let (schema, name) = qualified(nodes);
    Name::new(schema, name)
}

/// The relation of `relation.part`.
fn owner_of(object: &Node) -> Name {
    match &object.node {
        Some(NodeEnum::List(list)) => {
            let (_, relation) = list
                .items
                .split_last()
                .map_or((None, &[][..]), |(l, r)| (Some(l), r));
            dotted(relation)
        }
        _ => Name::default(),
    }
}
