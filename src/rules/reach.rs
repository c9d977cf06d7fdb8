//! Whom a policy concerns: roles that are subject to it and hold the privileges it is about.

use super::sink::Found;
use super::{Facts, PolicyFacts};
use crate::model::{Command, ObjectKind, Severity, Table};
use crate::sql::fold::Session;

/// Roles by which API servers let in those who have not logged in.
const ANONYMOUS: &[&str] = &["anon", "anonymous", "web_anon"];

pub(super) const COMMANDS: [Command; 4] = [
    Command::Select,
    Command::Insert,
    Command::Update,
    Command::Delete,
];

pub(super) fn is_anonymous(role: &str) -> bool {
    ANONYMOUS.contains(&role)
}

impl<'a> Facts<'a> {
    /// The policies that are in force, on tables that belong to no extension.
    pub(super) fn in_force(&self) -> impl Iterator<Item = &PolicyFacts<'a>> {
        self.policies
            .iter()
            .filter(|p| p.table.rls_enabled && p.table.extension.is_none())
    }

    /// Whether `role` may use `command` on the table, or on some of its columns.
    pub(super) fn holds(&self, role: &str, table: &Table, command: Command) -> bool {
        let keyword = command.keyword();
        table.grants.iter().any(|(granted, privileges)| {
            (granted == "public" || self.acts_as(role, granted))
                && privileges.iter().any(|p| {
                    p == keyword
                        || p.strip_prefix(keyword)
                            .is_some_and(|rest| rest.starts_with(" ("))
                })
        })
    }

    /// Roles that meet the policy with a privilege for one of `commands`; `public` where everybody does.
    pub(super) fn reached<'p>(
        &self,
        policy: &'p PolicyFacts<'_>,
        commands: &[Command],
    ) -> Vec<&'p str> {
        let everybody = policy.policy.roles.iter().any(|r| r == "public");
        let candidates: Vec<&str> = if everybody {
            policy.table.grants.keys().map(String::as_str).collect()
        } else {
            policy.policy.roles.iter().map(String::as_str).collect()
        };
        candidates
            .into_iter()
            .filter(|role| self.meets_policies(role, policy.table))
            .filter(|role| {
                let covered = |c: &&Command| policy.policy.command.covers(**c);
                let mut commands = commands.iter().filter(covered);
                commands.any(|command| self.holds(role, policy.table, *command))
            })
            .collect()
    }

    /// Those of [`Facts::reached`] that stand for sessions without a login.
    pub(super) fn reached_anonymously<'p>(
        &self,
        policy: &'p PolicyFacts<'_>,
        commands: &[Command],
    ) -> Vec<&'p str> {
        let mut roles = self.reached(policy, commands);
        roles.retain(|role| is_anonymous(role) || *role == "public");
        roles
    }

    /// Whether a restrictive policy for the same commands and roles takes rows away from what this one allows.
    pub(super) fn is_narrowed(&self, policy: &PolicyFacts<'_>, commands: &[Command]) -> bool {
        let table = self.policies_of(policy.name);
        commands
            .iter()
            .filter(|c| policy.policy.command.covers(**c))
            .all(|command| {
                table.iter().any(|other| {
                    let roles = &other.policy.roles;
                    !other.policy.permissive
                        && other.policy.command.covers(*command)
                        && (roles.iter().any(|r| r == "public")
                            || policy.policy.roles.iter().all(|r| roles.contains(r)))
                        && {
                            let clause = if *command == Command::Insert {
                                other.written()
                            } else {
                                other.seen()
                            };
                            clause.is_some_and(|e| !self.fold(other, e, Session::Any).is_true())
                        }
                })
            })
    }
}

impl PolicyFacts<'_> {
    /// A finding about the policy.
    pub(super) fn found(&self, severity: Severity, message: impl Into<String>) -> Found {
        Found::new(
            severity,
            ObjectKind::Policy,
            self.name,
            Some(&self.policy.name),
            message,
        )
    }
}

/// `a, b and c`.
pub(super) fn list(words: &[&str]) -> String {
    match words {
        [] => "no role so far".to_owned(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
