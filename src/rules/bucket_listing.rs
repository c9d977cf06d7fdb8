use super::exposure::Trust;
use super::sink::Found;
use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::{Command, ObjectKind, Severity};
use crate::sql::qual::{Clause, Form, Qual};

rule! {
    /// ## What it finds
    /// A policy on `storage.objects` that lets every reader, or every signed-in one, select all files of a bucket: its
    /// condition is true, or speaks of nothing but the bucket.
    ///
    /// ## Why it matters
    /// Selecting is listing: whoever may read learns the name of every file. A public bucket serves its files by their
    /// address without any policy, so the policy adds nothing but the list.
    ///
    /// ## What to do
    /// Drop the policy for a public bucket. For a private one let the condition look at the owner or the folder.
    /// ```sql,bad
    /// create schema storage;
    /// create table storage.objects (id uuid primary key, bucket_id text, name text, owner_id text);
    /// alter table storage.objects enable row level security;
    /// create policy everybody on storage.objects for select to anon using (bucket_id = 'avatars');
    /// ```
    /// ```sql,good
    /// create schema storage;
    /// create table storage.objects (id uuid primary key, bucket_id text, name text, owner_id text);
    /// alter table storage.objects enable row level security;
    /// create policy own on storage.objects for select to anon
    ///   using (bucket_id = 'avatars' and owner_id = (select auth.uid()::text));
    /// ```
    "bucket-listing" {
        summary: "a storage policy lets anybody list every file of a bucket",
        category: Category::Safety,
        also: &["splinter 0025_public_bucket_allows_listing"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in &facts.policies {
        let objects = policy.name.schema == "storage" && policy.name.name == "objects";
        let wide = policy
            .using
            .as_ref()
            .is_none_or(|q| whole_buckets(q, q.filter()));
        let selects = policy.policy.command.covers(Command::Select);
        if !objects || !policy.table.rls_enabled || !policy.policy.permissive || !selects || !wide {
            continue;
        }
        let trust = |role: &String| match role.as_str() {
            "public" => Some(Trust::Anonymous),
            role => facts.exposure.trust(role),
        };
        match policy.policy.roles.iter().filter_map(trust).min() {
            Some(Trust::Anonymous) => report(policy, Severity::Warning, "anybody", sink),
            Some(Trust::SignedIn) => report(policy, Severity::Note, "every signed-in user", sink),
            _ => {}
        }
    }
}

/// Whether nothing but the bucket decides.
fn whole_buckets(qual: &Qual, clauses: &[Clause]) -> bool {
    qual.calls.is_empty()
        && clauses.iter().all(|clause| match clause {
            Clause::Test(test) => match &test.form {
                Form::Constant(value) => *value,
                _ => test.scopes.is_empty() && test.columns.iter().all(|c| c.column == "bucket_id"),
            },
            Clause::AnyOf(branches) => branches.iter().any(|b| whole_buckets(qual, b)),
        })
}

fn report(policy: &PolicyFacts<'_>, severity: Severity, who: &str, sink: &mut Sink<'_>) {
    let condition = policy
        .policy
        .using
        .clone()
        .unwrap_or_else(|| "true".to_owned());
    sink.report(
        Found::new(
            severity,
            ObjectKind::Policy,
            policy.name,
            Some(&policy.policy.name),
            format!("lets {who} list every file where {condition}"),
        )
        .evidence("condition", condition)
        .evidence("roles", policy.policy.roles.clone())
        .advice(
            "A public bucket serves its files without a policy: drop this one. For a private bucket let the condition \
             look at the owner or the folder as well.",
        ),
    );
}
