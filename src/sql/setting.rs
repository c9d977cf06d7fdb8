//! Statements that change who a session is.

use super::tree::parse_statement;
use pg_query::protobuf::{AConst, TransactionStmtKind, VariableSetKind, a_const};
use pg_query::{Node, NodeEnum};

/// Whether a setting decides which rows a session sees: policies read those with a dot in their names, and by the others
/// names, times and policies themselves are understood.
pub fn decides(name: &str) -> bool {
    let known = [
        "array_nulls",
        "datestyle",
        "intervalstyle",
        "local_preload_libraries",
        "role",
        "row_security",
        "search_path",
        "session_preload_libraries",
        "session_replication_role",
        "timezone",
        "transform_null_equals",
    ];
    name.contains('.') || known.contains(&name.to_lowercase().as_str())
}

/// What a statement changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// `SET ROLE`, `RESET ROLE` (`none`) or `set_config('role', …)`; the number of the placeholder where the name is one.
    Role {
        name: Result<String, usize>,
        /// Until the end of the transaction.
        local: bool,
    },
    TransactionEnd,
}

/// `None` for a statement that leaves the role alone.
pub fn changes(text: &str) -> Option<Changes> {
    match parse_statement(text).ok()? {
        NodeEnum::VariableSetStmt(set) if set.name == "role" => Some(Changes::Role {
            name: match set.kind() {
                VariableSetKind::VarSetValue => value(set.args.first()?)?,
                _ => Ok("none".to_owned()),
            },
            local: set.is_local,
        }),
        NodeEnum::VariableSetStmt(set) if set.kind() == VariableSetKind::VarResetAll => None,
        NodeEnum::TransactionStmt(transaction) => matches!(
            transaction.kind(),
            TransactionStmtKind::TransStmtCommit | TransactionStmtKind::TransStmtRollback
        )
        .then_some(Changes::TransactionEnd),
        NodeEnum::SelectStmt(select) => select.target_list.iter().find_map(set_config),
        _ => None,
    }
}

/// `set_config('role', name, local)` among the targets of a SELECT.
fn set_config(target: &Node) -> Option<Changes> {
    let Some(NodeEnum::ResTarget(target)) = &target.node else {
        return None;
    };
    let Some(NodeEnum::FuncCall(call)) = &target.val.as_deref()?.node else {
        return None;
    };
    let (_, name) = super::tree::qualified(&call.funcname);
    let [setting, role, local] = call.args.as_slice() else {
        return None;
    };
    if name != "set_config" || value(setting)? != Ok("role".to_owned()) {
        return None;
    }
    Some(Changes::Role {
        name: value(role)?,
        local: super::tree::boolean_literal(local).unwrap_or(true),
    })
}

/// A literal, or the number of a placeholder; casts aside.
fn value(node: &Node) -> Option<Result<String, usize>> {
    match node.node.as_ref()? {
        NodeEnum::AConst(AConst {
            val: Some(a_const::Val::Sval(text)),
            ..
        }) => Some(Ok(text.sval.clone())),
        NodeEnum::ParamRef(p) => Some(Err(usize::try_from(p.number).ok()?)),
        NodeEnum::TypeCast(cast) => value(cast.arg.as_deref()?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Changes, changes};

    #[test]
    fn roles_come_and_go() {
        let role = |name: &str, local| {
            Some(Changes::Role {
                name: Ok(name.to_owned()),
                local,
            })
        };
        assert_eq!(changes("set local role \"A b\""), role("A b", true));
        assert_eq!(changes("set role app"), role("app", false));
        assert_eq!(changes("reset role"), role("none", false));
        assert_eq!(
            changes("select set_config('search_path', 'x', true), set_config('role', 'app', true)"),
            role("app", true)
        );
        assert_eq!(
            changes("select set_config('role', $2, true)"),
            Some(Changes::Role {
                name: Err(2),
                local: true
            })
        );
        assert_eq!(changes("commit"), Some(Changes::TransactionEnd));
        assert_eq!(changes("select 1"), None);
        assert_eq!(changes("begin"), None);
    }
}
