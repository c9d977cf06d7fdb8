//! Statements that reach beyond their database: run on a clone, they change the server that the original lives on.

use pg_query::NodeEnum;
use pg_query::protobuf::{ObjectType, Token};

/// What a script would change that all databases of a server share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beyond {
    /// "roles", "a database" …: completes "it changes …".
    pub what: &'static str,
    /// Whether a block of procedural code says so, which may do it or not.
    pub perhaps: bool,
}

/// The first such statement of a script; `None` where there is none, or the script is no SQL.
pub fn beyond(script: &str) -> Option<Beyond> {
    let parsed = pg_query::parse(script, 0).ok()?;
    let statements = parsed.protobuf.stmts.iter();
    let mut nodes = statements.filter_map(|s| s.stmt.as_ref()?.node.as_ref());
    nodes.find_map(of)
}

fn of(node: &NodeEnum) -> Option<Beyond> {
    let what = match node {
        NodeEnum::CreateRoleStmt(_)
        | NodeEnum::AlterRoleStmt(_)
        | NodeEnum::AlterRoleSetStmt(_)
        | NodeEnum::DropRoleStmt(_)
        | NodeEnum::GrantRoleStmt(_) => "roles",
        NodeEnum::CreatedbStmt(_)
        | NodeEnum::DropdbStmt(_)
        | NodeEnum::AlterDatabaseStmt(_)
        | NodeEnum::AlterDatabaseSetStmt(_) => "a database by its name",
        NodeEnum::AlterSystemStmt(_) => "the server's settings",
        NodeEnum::CreateTableSpaceStmt(_) | NodeEnum::DropTableSpaceStmt(_) => "tablespaces",
        NodeEnum::CreateSubscriptionStmt(_) => "subscriptions",
        NodeEnum::RenameStmt(s) if s.rename_type() == ObjectType::ObjectRole => "roles",
        NodeEnum::RenameStmt(s) if s.rename_type() == ObjectType::ObjectDatabase => {
            "a database by its name"
        }
        NodeEnum::AlterOwnerStmt(s) if s.object_type() == ObjectType::ObjectDatabase => {
            "a database by its name"
        }
        NodeEnum::DoStmt(block) => {
            let mut bodies = block.args.iter().filter_map(|arg| match &arg.node {
                Some(NodeEnum::DefElem(e)) if e.defname == "as" => e.arg.as_deref(),
                _ => None,
            });
            let said = bodies.any(|body| match &body.node {
                Some(NodeEnum::String(text)) => says(&text.sval),
                _ => false,
            });
            return said.then_some(Beyond {
                what: "roles or databases",
                perhaps: true,
            });
        }
        _ => return None,
    };
    Some(Beyond {
        what,
        perhaps: false,
    })
}

/// Whether code creates, changes or drops a role or a database, or a text in it says so.
fn says(code: &str) -> bool {
    let Ok(scanned) = pg_query::scan(code) else {
        return true;
    };
    let tokens = &scanned.tokens;
    let verb = |t: Token| matches!(t, Token::Create | Token::Alter | Token::Drop);
    let shared = |t: Token| {
        matches!(
            t,
            Token::Role
                | Token::User
                | Token::GroupP
                | Token::Database
                | Token::Tablespace
                | Token::SystemP
        )
    };
    let pair = tokens
        .iter()
        .zip(tokens.iter().skip(1))
        .any(|(a, b)| verb(a.token()) && shared(b.token()));
    pair || tokens
        .iter()
        .filter(|t| t.token() == Token::Sconst)
        .any(|t| {
            let place = usize::try_from(t.start)
                .ok()
                .zip(usize::try_from(t.end).ok());
            let text = place.and_then(|(start, end)| code.get(start..end));
            text.is_none_or(|text| {
                let inner = text.trim_matches(['\'', 'E', 'e']);
                inner.len() < code.len() && says(inner)
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(script: &str) -> Option<(&'static str, bool)> {
        beyond(script).map(|b| (b.what, b.perhaps))
    }

    #[test]
    fn what_all_databases_share() {
        assert_eq!(
            what("create table t(id int); alter role app bypassrls"),
            Some(("roles", false))
        );
        assert_eq!(what("grant admin to app"), Some(("roles", false)));
        assert_eq!(
            what("grant select on t to app; alter policy p on t to app"),
            None
        );
        assert_eq!(
            what("alter database prod set search_path = x"),
            Some(("a database by its name", false))
        );
        assert_eq!(
            what("alter system set fsync = off"),
            Some(("the server's settings", false))
        );
        assert_eq!(what("create user mapping for app server s"), None);
    }

    #[test]
    fn blocks_of_code_may_say_so() {
        let block = "do $$ begin if true then create role app; end if; end $$";
        assert_eq!(what(block), Some(("roles or databases", true)));
        let dynamic = "do $$ begin execute 'alter role app superuser'; end $$";
        assert_eq!(what(dynamic), Some(("roles or databases", true)));
        assert_eq!(what("do $$ begin update t set role = 'user'; end $$"), None);
    }
}
