use super::sink::Found;
use super::{Category, Facts, Sink, rule};
use crate::model::{Function, Name, ObjectKind, Severity};
use crate::sql::body;
use std::collections::BTreeMap;

rule! {
    /// ## What it finds
    /// A security-definer function in SQL that a policy calls, whose owner is subject to the policies of a table it
    /// reads.
    ///
    /// ## Why it matters
    /// Such a function is written to get around the inner policies. Here they still apply: they are evaluated within each
    /// call, may hide rows that the function means to see, and may lead back to where the call came from.
    ///
    /// ## What to do
    /// If that is not meant, give the function to the owner of the tables. That shows more rows: make sure that the body
    /// restricts what it returns.
    /// ```sql,bad
    /// do $$ begin create role helper nologin; exception when duplicate_object or unique_violation then null; end $$;
    /// create table doc (id int primary key, org int);
    /// create table member (org int, user_id uuid);
    /// grant select on member to helper;
    /// alter table member enable row level security;
    /// create policy own on member for select using (user_id = (select auth.uid()));
    /// create function my_orgs() returns setof int language sql stable security definer set search_path = ''
    ///   as $$ select m.org from public.member m where m.user_id = auth.uid() $$;
    /// alter function my_orgs() owner to helper;
    /// alter table doc enable row level security;
    /// create policy p on doc for select to app using (org = any (array(select my_orgs())));
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, org int);
    /// create table member (org int, user_id uuid);
    /// alter table member enable row level security;
    /// create policy own on member for select using (user_id = (select auth.uid()));
    /// create function my_orgs() returns setof int language sql stable security definer set search_path = ''
    ///   as $$ select m.org from public.member m where m.user_id = auth.uid() $$;
    /// alter table doc enable row level security;
    /// create policy p on doc for select to app using (org = any (array(select my_orgs())));
    /// ```
    "security-definer-under-rls" {
        summary: "a policy's security-definer function is itself subject to policies",
        category: Category::Safety,
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let mut called: BTreeMap<u32, &Function> = BTreeMap::new();
    for (_, qual) in facts.policies.iter().flat_map(super::PolicyFacts::quals) {
        for function in qual.calls.iter().flat_map(|call| facts.functions(call)) {
            if function.security_definer && function.language == "sql" {
                called.insert(function.oid, function);
            }
        }
    }
    for function in called.into_values() {
        let Some(mentions) = body::mentions(&function.body) else {
            continue;
        };
        let subject: Vec<&Name> = mentions
            .relations
            .iter()
            .filter_map(|(schema, name)| facts.catalog.resolve(schema, name))
            .filter(|(_, table)| table.rls_enabled && facts.meets_policies(&function.owner, table))
            .map(|(name, _)| name)
            .collect();
        if !subject.is_empty() {
            report(function, &subject, sink);
        }
    }
}

fn report(function: &Function, tables: &[&Name], sink: &mut Sink<'_>) {
    let list = tables
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    sink.report(
        Found::new(
            Severity::Warning,
            ObjectKind::Function,
            &function.name,
            None,
            format!(
                "runs as {}, to whom the policies of {list} apply: they are evaluated in each call",
                function.owner
            ),
        )
        .evidence("owner", function.owner.clone())
        .evidence("tables", tables.iter().map(ToString::to_string).collect::<Vec<_>>())
        .advice(
            "If that is not meant, give it to the owner of the tables. Callers then get every row that the body selects: \
             check that it restricts them.",
        ),
    );
}
