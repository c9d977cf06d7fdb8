use super::reach::{COMMANDS, list};
use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::{Command, Severity};
use crate::sql::expr::Expr;
use crate::sql::fold::Session;

rule! {
    /// ## What it finds
    /// A permissive policy on `storage.objects` with a condition that says nothing of `bucket_id`, where no restrictive
    /// policy does.
    ///
    /// ## Why it matters
    /// All buckets share that table. A condition on path or owner alone holds in each of them, those made later
    /// included: whoever may read a folder of one bucket may read the folder of that name in all.
    ///
    /// ## What to do
    /// Add `bucket_id = 'name'`.
    /// ```sql,bad
    /// create schema storage;
    /// create table storage.objects (id uuid primary key, bucket_id text, name text, owner_id text);
    /// grant select on storage.objects to app;
    /// alter table storage.objects enable row level security;
    /// create policy own on storage.objects for select to app using (owner_id = (select auth.uid()::text));
    /// ```
    /// ```sql,good
    /// create schema storage;
    /// create table storage.objects (id uuid primary key, bucket_id text, name text, owner_id text);
    /// grant select on storage.objects to app;
    /// alter table storage.objects enable row level security;
    /// create policy own on storage.objects for select to app
    ///   using (bucket_id = 'avatars' and owner_id = (select auth.uid()::text));
    /// ```
    "storage-policy-without-bucket" {
        summary: "a storage policy holds in every bucket",
        category: Category::Safety,
        also: &["pgrls SEC050"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let storage = |p: &&PolicyFacts<'_>| {
        p.name.schema == "storage"
            && p.name.name == "objects"
            && p.table.column("bucket_id").is_some()
    };
    let policies: Vec<_> = facts.in_force().filter(storage).collect();
    let floor = policies
        .iter()
        .any(|p| !p.policy.permissive && p.quals().any(|(_, q)| names_bucket(&q.expr)));
    if floor {
        return;
    }
    for policy in policies.into_iter().filter(|p| p.policy.permissive) {
        let clause = if policy.policy.command == Command::Insert {
            policy.written()
        } else {
            policy.seen()
        };
        let Some(clause) = clause else {
            continue;
        };
        // What is always or never true is other rules'.
        let value = facts.fold(policy, clause, Session::Any);
        if value.is_true() || value.is_never_true() || names_bucket(clause) {
            continue;
        }
        report(facts, policy, sink);
    }
}

fn names_bucket(expr: &Expr) -> bool {
    expr.any_outside(|e| matches!(e, Expr::Column(c) if c.row && c.name == "bucket_id"))
}

fn report(facts: &Facts<'_>, policy: &PolicyFacts<'_>, sink: &mut Sink<'_>) {
    let roles = facts.reached(policy, &COMMANDS);
    let severity = if roles.is_empty() {
        Severity::Note
    } else {
        Severity::Warning
    };
    sink.report(
        policy
            .found(
                severity,
                format!(
                    "says nothing of bucket_id: {} by {} holds in every bucket",
                    policy.policy.command.keyword(),
                    list(&roles)
                ),
            )
            .evidence("roles", roles)
            .advice("Add bucket_id = '…' to the condition, or a restrictive policy that does."),
    );
}
