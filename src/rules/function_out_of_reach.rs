use super::resolution::{Caller, Failure, Reach, Trouble};
use super::sink::Found;
use super::{Category, Facts, Sink, rule};
use crate::model::{Catalog, Function, Name, ObjectKind, Severity, Table};
use crate::sql::quote;
use crate::sql::touches::Touches;
use crate::sql::tree::check_condition;
use std::collections::{BTreeMap, BTreeSet};

rule! {
    /// ## What it finds
    /// A function that a policy, a default, a generated column, a check constraint or a trigger runs, whose body calls what
    /// the role at work cannot reach: a function that is in none of the schemas of the body's own search path (an
    /// extension's, often), that was dropped, that the role may not execute, or whose schema it has no USAGE on. Bodies in
    /// SQL and PL/pgSQL are followed, security-definer ones as their owner. Also a default, generated column or check
    /// constraint, of the table or of a column's domain, that itself calls a function which a role with INSERT may not
    /// execute, and a default that draws from a sequence which it may not use, as `serial` makes one.
    ///
    /// ## Why it matters
    /// Bodies are resolved when they run, not when they are made: the statement of that role fails, with "function does
    /// not exist" (42883) or "permission denied" (42501), while the same statement works for a superuser.
    ///
    /// ## What to do
    /// Qualify the name in the body, add the schema to the function's `search_path`, or grant what is missing.
    /// ```sql,bad
    /// create table doc (id int primary key, token text);
    /// create schema ext;
    /// create function ext.make_token() returns text language sql as $$ select 'x' $$;
    /// create function fill() returns trigger language plpgsql set search_path = ''
    ///   as $$ begin new.token := make_token(); return new; end $$;
    /// create trigger fill before insert on doc for each row execute function fill();
    /// grant insert on doc to app;
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, token text);
    /// create schema ext;
    /// grant usage on schema ext to app;
    /// create function ext.make_token() returns text language sql as $$ select 'x' $$;
    /// create function fill() returns trigger language plpgsql set search_path = ''
    ///   as $$ begin new.token := ext.make_token(); return new; end $$;
    /// create trigger fill before insert on doc for each row execute function fill();
    /// grant insert on doc to app;
    /// ```
    "function-out-of-reach" {
        summary: "what a policy, default or trigger runs calls a function that its role cannot reach",
        category: Category::Safety,
        severity: Severity::Error,
        check: check,
    }
}

/// A failing call, to the roles it fails for and what brings them there.
#[derive(Default)]
struct Felt {
    roles: BTreeSet<String>,
    by: BTreeSet<String>,
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let mut walk = Walk {
        facts,
        reach: Reach::new(facts),
        failures: BTreeMap::new(),
    };
    walk.policies();
    for (name, table) in &facts.catalog.tables {
        if table.extension.is_none() {
            walk.triggers(name, table);
            walk.expressions(name, table, sink);
            sequences(facts, name, table, sink);
        }
    }
    let by_oid: BTreeMap<u32, &Function> =
        facts.catalog.functions.iter().map(|f| (f.oid, f)).collect();
    for ((oid, call, trouble), felt) in walk.failures {
        if let Some(function) = by_oid.get(&oid) {
            report(function, &call, &trouble, &felt, sink);
        }
    }
}

struct Walk<'f, 'a> {
    facts: &'f Facts<'a>,
    reach: Reach<'f, 'a>,
    failures: BTreeMap<Failure, Felt>,
}

impl<'a> Walk<'_, 'a> {
    fn enter(&mut self, function: &'a Function, role: &str, by: impl Fn() -> String) {
        let caller = Caller {
            role: role.to_owned(),
            path: None,
        };
        for failure in self.reach.failures(function, &caller) {
            let felt = self.failures.entry(failure).or_default();
            felt.roles.insert(role.to_owned());
            felt.by.insert(by());
        }
    }

    fn policies(&mut self) {
        let facts = self.facts;
        for policy in facts.policies.iter().filter(|p| p.table.rls_enabled) {
            let by = || format!("policy {} on {}", policy.policy.name, policy.name);
            for role in facts.roles_of(policy) {
                for call in policy.quals().flat_map(|(_, qual)| &qual.calls) {
                    if let &[function] = facts.functions(call).as_slice()
                        && facts.may_execute(function, role)
                    {
                        self.enter(function, role, by);
                    }
                }
            }
        }
    }

    /// The server does not ask for EXECUTE on the trigger function itself, only on what it calls.
    fn triggers(&mut self, name: &Name, table: &'a Table) {
        for trigger in table.triggers.iter().filter(|t| t.enabled) {
            let named = self
                .facts
                .functions_in(&trigger.function.schema, &trigger.function.name);
            let Some(&function) = named.iter().find(|f| f.argument_types.is_empty()) else {
                continue;
            };
            let events: Vec<&str> = trigger.events.iter().map(String::as_str).collect();
            let by = || format!("trigger {} on {name}", trigger.name);
            for role in holders(table, &events) {
                self.enter(function, role, by);
            }
        }
    }

    /// Defaults, generated columns and check constraints are evaluated as whoever writes the row.
    fn expressions(&mut self, name: &Name, table: &Table, sink: &mut Sink<'_>) {
        let of_columns = table.columns.iter().filter_map(|column| {
            // Without a dot it names nothing but what is built in.
            let text = column.default.as_ref().filter(|t| t.contains('.'))?;
            let (what, events): (_, &[&str]) = if column.generated {
                ("generated column", &["INSERT", "UPDATE"])
            } else {
                ("default of column", &["INSERT"])
            };
            let touches = Touches::of_query(&format!("select {text}"))?;
            Some((what, &column.name, ObjectKind::Column, events, touches))
        });
        let of_constraints = table.constraints.iter().filter_map(|(constraint, text)| {
            if !text.contains('.') {
                return None;
            }
            let condition = check_condition(text)?;
            let touches = Touches::of_query(&format!("select {condition}"))?;
            let events: &[&str] = &["INSERT", "UPDATE"];
            Some(("constraint", constraint, ObjectKind::Table, events, touches))
        });
        let of_domains = table.columns.iter().flat_map(|column| {
            let checks = domain_checks(self.facts.catalog, &column.type_name);
            checks.into_iter().filter_map(move |text| {
                let condition = check_condition(text)?;
                let touches = Touches::of_query(&format!("select {condition}"))?;
                let events: &[&str] = &["INSERT", "UPDATE"];
                Some((
                    "domain of column",
                    &column.name,
                    ObjectKind::Column,
                    events,
                    touches,
                ))
            })
        });
        let all = of_columns.chain(of_constraints).chain(of_domains);
        for (what, part, kind, events, touches) in all {
            let roles = holders(table, events);
            for (schema, called) in &touches.calls {
                // Stored expressions name what is not built in with its schema.
                let &[function] = self.facts.functions_in(schema, called).as_slice() else {
                    continue;
                };
                let (may, denied): (Vec<&str>, Vec<&str>) = roles
                    .iter()
                    .partition(|role| self.facts.may_execute(function, role));
                if !denied.is_empty() {
                    refused((kind, name, what, part), function, &denied, sink);
                }
                for role in may {
                    self.enter(function, role, || format!("{what} {part} of {name}"));
                }
            }
        }
    }
}

/// The CHECK constraints of a domain and of those that it is over.
fn domain_checks<'c>(catalog: &'c Catalog, type_name: &str) -> Vec<&'c str> {
    let mut found = Vec::new();
    let mut next = catalog.domains.get(type_name);
    while let Some(domain) = next {
        let checks = domain.checks.values().map(String::as_str);
        // Without a dot it names nothing but what is built in.
        found.extend(checks.filter(|c| c.contains('.')));
        next = domain.base.as_ref().and_then(|b| catalog.domains.get(b));
    }
    found
}

/// Defaults that draw from a sequence which a role with INSERT may not use.
fn sequences(facts: &Facts<'_>, name: &Name, table: &Table, sink: &mut Sink<'_>) {
    for column in &table.columns {
        let Some(sequence) = &column.sequence else {
            continue;
        };
        let draws = column.default.as_ref().is_some_and(|text| {
            let touches = Touches::of_query(&format!("select {text}"));
            touches.is_some_and(|t| t.calls.iter().any(|(_, f)| f == "nextval"))
        });
        let may = |role: &&str| {
            facts.acts_as(role, &sequence.owner)
                || sequence
                    .users
                    .iter()
                    .any(|granted| granted == "public" || facts.acts_as(role, granted))
        };
        let mut denied = holders(table, &["INSERT"]);
        denied.retain(|role| !may(role));
        if !draws || denied.is_empty() {
            continue;
        }
        sink.report(
            Found::new(
                Severity::Error,
                ObjectKind::Column,
                name,
                Some(&column.name),
                format!(
                    "default of column {} draws from {}, which {} may not use: an INSERT that leaves it out fails with 42501",
                    column.name,
                    sequence.name,
                    denied.join(", ")
                ),
            )
            .evidence("sequence", sequence.name.to_string())
            .evidence("roles", denied.clone())
            .fix(format!(
                "grant usage on sequence {} to {};",
                quote::name(&sequence.name),
                grantees(denied.iter().copied())
            )),
        );
    }
}

/// Roles that were granted one of the privileges, on some columns at least; not the owner.
fn holders<'t>(table: &'t Table, privileges: &[&str]) -> Vec<&'t str> {
    let grants = table.grants.iter().filter(|(role, granted)| {
        let holds = granted
            .iter()
            .any(|g| privileges.iter().any(|p| g.split(' ').next() == Some(*p)));
        holds && *role != "public" && **role != table.owner
    });
    grants.map(|(role, _)| role.as_str()).collect()
}

fn refused(
    (kind, name, what, part): (ObjectKind, &Name, &str, &str),
    function: &Function,
    denied: &[&str],
    sink: &mut Sink<'_>,
) {
    let list = denied.join(", ");
    let when = if what == "default of column" {
        "an INSERT that leaves it out fails with 42501"
    } else {
        "every INSERT fails with 42501"
    };
    sink.report(
        Found::new(
            Severity::Error,
            kind,
            name,
            Some(part),
            format!(
                "{what} {part} calls {}, which {list} may not execute: {when}",
                function.name
            ),
        )
        .evidence("calls", function.name.to_string())
        .evidence("roles", denied.to_vec())
        .fix(grant_execute(
            &function.name,
            &function.arguments,
            denied.iter().copied(),
        )),
    );
}

fn report(function: &Function, call: &str, trouble: &Trouble, felt: &Felt, sink: &mut Sink<'_>) {
    // What runs as its owner lacks it for the owner.
    let acting: BTreeSet<&str> = if function.security_definer {
        [function.owner.as_str()].into()
    } else {
        felt.roles.iter().map(String::as_str).collect()
    };
    let who = acting.iter().copied().collect::<Vec<_>>().join(", ");
    let (why, code, fix, advice) = match trouble {
        Trouble::Missing => (
            "which does not exist".to_owned(),
            "42883",
            None,
            Some("Create it again, or take the call out of the body.".to_owned()),
        ),
        Trouble::OffPath(schemas, path) => {
            let path = if path.is_empty() {
                "empty".to_owned()
            } else {
                path.join(", ")
            };
            let first = schemas.first().map_or("", String::as_str);
            (
                format!(
                    "which is in {} and not to be found by {who}: the body's search path is {path}",
                    schemas.join(", ")
                ),
                "42883",
                None,
                Some(format!(
                    "Write {}.{} in the body.",
                    quote::ident(first),
                    quote::ident(call)
                )),
            )
        }
        Trouble::NoUsage(schema) => (
            format!("and {who} has no USAGE on schema {schema}"),
            "42501",
            Some(format!(
                "grant usage on schema {} to {};",
                quote::ident(schema),
                grantees(acting.iter().copied())
            )),
            None,
        ),
        Trouble::NoExecute(known) => (
            format!("which {who} may not execute"),
            "42501",
            known
                .as_ref()
                .map(|(name, arguments)| grant_execute(name, arguments, acting.iter().copied())),
            None,
        ),
    };
    let by = felt.by.iter().cloned().collect::<Vec<_>>();
    let shown = match by.as_slice() {
        [only] => only.clone(),
        [first, ..] => format!("{first} and {} more", by.len() - 1),
        [] => String::new(),
    };
    let roles = felt.roles.iter().cloned().collect::<Vec<_>>();
    let mut found = Found::new(
        Severity::Error,
        ObjectKind::Function,
        &function.name,
        Some(call),
        format!(
            "calls {call}, {why}: {shown} fails with {code} for {}",
            roles.join(", ")
        ),
    )
    .evidence("calls", call)
    .evidence("sqlstate", code)
    .evidence("run_by", by)
    .evidence("roles", roles);
    if let Some(fix) = fix {
        found = found.fix(fix);
    }
    if let Some(advice) = advice {
        found = found.advice(advice);
    }
    sink.report(found);
}

fn grant_execute<'r>(name: &Name, arguments: &str, roles: impl Iterator<Item = &'r str>) -> String {
    format!(
        "grant execute on function {}({arguments}) to {};",
        quote::name(name),
        grantees(roles)
    )
}

fn grantees<'r>(roles: impl Iterator<Item = &'r str>) -> String {
    roles.map(quote::ident).collect::<Vec<_>>().join(", ")
}
