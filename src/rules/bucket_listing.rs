use super::exposure::Trust;
use super::reach::list;
use super::{Category, Facts, PolicyFacts, Sink, rule};
use crate::model::{Buckets, Command, Name, Severity};
use crate::sql::expr::Expr;
use crate::sql::qual::{Clause, Form, Qual};
use crate::sql::quote;
use std::collections::BTreeSet;

rule! {
    /// ## What it finds
    /// A policy on `storage.objects` that lets every reader, or every signed-in one, select all files of a public bucket:
    /// its condition is true, or speaks of nothing but the bucket. Private buckets are left out, since there such a policy
    /// is the only way to the files. Which are public is read from `storage.buckets`.
    ///
    /// ## Why it matters
    /// Selecting is listing: whoever may read learns the name of every file. A public bucket serves its files by their
    /// address without any policy, so the policy adds nothing but the list.
    ///
    /// ## What to do
    /// Drop the policy, or let its condition look at the owner or the folder as well.
    /// ```sql,bad
    /// create schema storage;
    /// create table storage.buckets (id text primary key, public boolean default false);
    /// insert into storage.buckets values ('avatars', true), ('letters', false);
    /// create table storage.objects (id uuid primary key, bucket_id text, name text, owner_id text);
    /// alter table storage.objects enable row level security;
    /// create policy everybody on storage.objects for select to anon using (bucket_id = 'avatars');
    /// ```
    /// ```sql,good
    /// create schema storage;
    /// create table storage.buckets (id text primary key, public boolean default false);
    /// insert into storage.buckets values ('avatars', true), ('letters', false);
    /// create table storage.objects (id uuid primary key, bucket_id text, name text, owner_id text);
    /// alter table storage.objects enable row level security;
    /// create policy own on storage.objects for select to anon
    ///   using (bucket_id = 'avatars' and owner_id = (select auth.uid()::text));
    /// create policy letters on storage.objects for select to anon using (bucket_id = 'letters');
    /// ```
    "bucket-listing" {
        summary: "a storage policy lets anybody list every file of a public bucket",
        category: Category::Safety,
        also: &["splinter 0025_public_bucket_allows_listing"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let wide = facts.in_force().filter(|p| {
        let objects = p.name.schema == "storage" && p.name.name == "objects";
        let condition = p.using.as_ref();
        objects
            && p.policy.permissive
            && p.policy.command.covers(Command::Select)
            && condition.is_none_or(|q| whole_buckets(q, q.filter()))
    });
    let wide: Vec<_> = wide.collect();
    if wide.is_empty() {
        return;
    }
    let Some(buckets) = &facts.catalog.buckets else {
        let table = Name::new("storage", "buckets");
        if facts.catalog.tables.contains_key(&table) {
            let user = quote::ident(&facts.catalog.server.user);
            sink.gap(
                "storage.buckets, which says which buckets are public, cannot be read as a whole",
                Some(format!(
                    "grant usage on schema storage to {user}; grant select on storage.buckets to {user}; -- where row-level security is on, audit as a role with BYPASSRLS"
                )),
            );
        }
        return;
    };
    for policy in wide {
        let listed = listed(policy, buckets);
        let trust = |role: &String| match role.as_str() {
            "public" => Some(Trust::Anonymous),
            role => facts.exposure.trust(role),
        };
        let who = match policy.policy.roles.iter().filter_map(trust).min() {
            Some(Trust::Anonymous) => (Severity::Warning, "anybody"),
            Some(Trust::SignedIn) => (Severity::Note, "every signed-in user"),
            _ => continue,
        };
        if let Some(listed) = listed {
            report(policy, who, &listed, sink);
        }
    }
}

/// The public buckets that the policy shows, as words; `None` where there are none.
fn listed(policy: &PolicyFacts<'_>, buckets: &Buckets) -> Option<String> {
    let mut named = BTreeSet::new();
    // What is not plainly one bucket or one of several may be any.
    let mut any = policy.using.is_none();
    if let Some(using) = &policy.using {
        using.expr.walk(&mut |expr| match expr {
            Expr::Text(text) => {
                named.insert(text.as_str());
            }
            Expr::Compare(compare) => any |= compare.operator != "=",
            Expr::Not(_) => any = true,
            _ => {}
        });
    }
    if any || named.is_empty() {
        return match buckets.public {
            0 => None,
            1 => Some("the public bucket".to_owned()),
            n => Some(format!("{n} public buckets")),
        };
    }
    let public: Vec<&str> = named
        .into_iter()
        .filter(|name| buckets.named.contains(*name))
        .collect();
    (!public.is_empty()).then(|| format!("the public bucket {}", list(&public)))
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

fn report(
    policy: &PolicyFacts<'_>,
    (severity, who): (Severity, &str),
    listed: &str,
    sink: &mut Sink<'_>,
) {
    let condition = policy
        .policy
        .using
        .clone()
        .unwrap_or_else(|| "true".to_owned());
    sink.report(
        policy
            .found(severity, format!("lets {who} list every file of {listed}"))
            .evidence("condition", condition)
            .evidence("roles", policy.policy.roles.clone())
            .advice(
                "A public bucket serves its files without a policy: drop this one, or let its condition look at the owner \
                 or the folder as well.",
            ),
    );
}
