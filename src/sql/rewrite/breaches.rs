//! Rewrites that once changed who sees what: each is refused, or made rightly.

mod functions;

use super::{Depth, Rewritten, refusals, rewrite};
use crate::model::{
    Catalog, Collation, Column, Command, Declared, Function, Name, Policy, Schema, Table, Trigger,
    Volatility,
};

fn column(name: &str, kind: &str) -> Column {
    let collation = match (name, kind) {
        ("name_ci", _) => Collation::Nondeterministic,
        (_, "text" | "public.citext") => Collation::Default,
        _ => Collation::Inapplicable,
    };
    Column {
        name: name.into(),
        type_name: kind.into(),
        type_kind: 'b',
        collation: Some(collation),
        ..Column::default()
    }
}

fn table(columns: &[(&str, &str)]) -> Table {
    Table {
        columns: columns.iter().map(|(n, k)| column(n, k)).collect(),
        ruled: Some(false),
        ..Table::default()
    }
}

const MEMBERS: &[(&str, &str)] = &[
    ("org_id", "integer"),
    ("user_id", "integer"),
    ("level", "integer"),
    ("role", "text"),
    ("active", "boolean"),
    ("since", "timestamp with time zone"),
];

fn catalog() -> Catalog {
    let mut catalog = Catalog {
        equality_elsewhere: Some(["public.citext".to_owned()].into()),
        ..Catalog::default()
    };
    catalog.server.user = "owner".into();
    catalog.server.search_path = vec!["public".into()];
    for (schema, name, columns) in [
        ("public", "members", MEMBERS),
        ("public", "staff", MEMBERS),
        ("other", "staff", MEMBERS),
        ("public", "orgs", &[("id", "integer"), ("open", "boolean")]),
        ("public", "kv", &[("org_id", "integer"), ("val", "text")]),
        (
            "public",
            "quota",
            &[("user_id", "integer"), ("n", "integer")],
        ),
        (
            "public",
            "members_txt",
            &[
                ("email", "public.citext"),
                ("email_text", "text"),
                ("name_ci", "text"),
                ("user_id", "integer"),
            ],
        ),
        (
            "public",
            "t",
            &[
                ("id", "integer"),
                ("org_id", "integer"),
                ("owner_name", "text"),
                ("email", "public.citext"),
                ("name_ci", "text"),
            ],
        ),
    ] {
        let name = Name::new(schema, name);
        catalog.tables.insert(name, table(columns));
    }
    for (name, volatility) in [
        ("current_setting", Volatility::Stable),
        ("now", Volatility::Stable),
        ("set_config", Volatility::Volatile),
    ] {
        catalog.builtins.insert(name.into(), volatility);
    }
    for schema in ["public", "other"] {
        let given = Schema {
            owner: "owner".into(),
            usage: vec!["public".into()],
            create: Vec::new(),
        };
        catalog.schemas.insert(schema.into(), given);
    }
    let uid = "select nullif(current_setting('app.uid', true), '')::int";
    catalog.functions = vec![Function {
        returns: "integer".into(),
        ..function("uid", &[], "sql", uid)
    }];
    catalog
}

fn function(name: &str, arguments: &[(&str, &str)], language: &str, body: &str) -> Function {
    let list: Vec<String> = arguments.iter().map(|(n, k)| format!("{n} {k}")).collect();
    Function {
        name: Name::new("public", name),
        arguments: list.join(", "),
        argument_names: arguments.iter().map(|(n, _)| (*n).into()).collect(),
        argument_types: arguments.iter().map(|(_, k)| (*k).into()).collect(),
        language: language.into(),
        returns: "boolean".into(),
        volatility: Volatility::Stable,
        owner: "owner".into(),
        executors: vec!["public".into()],
        declared: Some(Declared::default()),
        body: body.into(),
        ..Function::default()
    }
}

fn name() -> Name {
    Name::new("public", "t")
}

#[track_caller]
fn refused(expression: &str, catalog: &Catalog, reason: &str) {
    let policy = Policy {
        using: Some(expression.into()),
        command: Command::Select,
        permissive: true,
        ..Policy::default()
    };
    let found = refusals(&policy, &name(), catalog).unwrap();
    let words: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(words.iter().any(|w| w.contains(reason)), "{words:?}");
    let made = rewrite(expression, &name(), catalog, Depth::Domain).unwrap();
    let text = made.map(|m| m.expression).unwrap_or_default();
    assert!(!text.contains("ARRAY("), "{text}");
}

#[track_caller]
fn made(expression: &str, catalog: &Catalog) -> Rewritten {
    let made = rewrite(expression, &name(), catalog, Depth::Domain).unwrap();
    made.unwrap_or_else(|| panic!("{expression} stays"))
}

#[test]
fn e12_e94_distinct_on_is_no_membership() {
    for more in ["", " and m.active"] {
        let text = format!(
            "uid() in (select distinct on (m.org_id) m.user_id from members m where m.org_id = t.org_id{more} order by m.org_id, m.since desc)"
        );
        refused(&text, &catalog(), "DISTINCT ON");
    }
}

#[test]
fn e53_explicit_collations_stay_explicit() {
    let text = "exists (select 1 from members_txt m where (m.email_text collate \"default\") = t.name_ci and m.user_id = uid())";
    refused(text, &catalog(), "COLLATE");
}

#[test]
fn w29_w31_an_explicit_collation_stays_outside() {
    for collation in ["\"default\"", "\"C\""] {
        let text =
            format!("name_ci = (current_setting('app.name'::text, true) collate {collation})");
        let made = made(&text, &catalog());
        let inside = "SELECT current_setting'app.name'::text, true COLLATE";
        let found = made.expression.replace(['(', ')'], "");
        assert!(found.contains(inside), "{found}");
    }
}

#[test]
fn w60_a_setting_that_changes_from_row_to_row() {
    let text = "set_config('app.seen'::text, id::text, true) is not null and current_setting('app.seen'::text, true) = id::text";
    let mut catalog = catalog();
    let of_the_table = catalog.tables.get_mut(&name()).unwrap();
    let policy = |text: &str| Policy {
        using: Some(text.into()),
        permissive: true,
        ..Policy::default()
    };
    of_the_table.policies = vec![policy(text)];
    refused(text, &catalog, "settings may change");
    // Another policy, a function or a trigger may do it as well.
    refused("id = uid()", &catalog, "settings may change");
    let of_the_table = catalog.tables.get_mut(&name()).unwrap();
    of_the_table.policies.clear();
    of_the_table.triggers = vec![Trigger {
        function: Name::new("public", "fired"),
        enabled: true,
        ..Trigger::default()
    }];
    let body = "begin perform set_config('app.uid', new.id::text, true); return new; end";
    let fired = function("fired", &[], "plpgsql", body);
    catalog.functions.push(fired);
    refused("id = uid()", &catalog, "settings may change");
}

#[test]
fn a_quota_is_asked_once_a_row() {
    let mut catalog = catalog();
    let body = "declare k int; begin select q.n into k from quota q where q.user_id = uid(); return k < 3; end";
    catalog.functions.push(Function {
        volatility: Volatility::Volatile,
        ..function("under", &[], "plpgsql", body)
    });
    // Nothing writes the counter: the function only reads.
    let once = made("under() and id = 1", &catalog);
    assert_eq!(once.expression, "(SELECT under()) AND id = 1");
    let body = "begin update quota set n = n + 1 where user_id = uid(); return new; end";
    catalog
        .functions
        .push(function("count_it", &[], "plpgsql", body));
    catalog.tables.get_mut(&name()).unwrap().triggers = vec![Trigger {
        function: Name::new("public", "count_it"),
        enabled: true,
        ..Trigger::default()
    }];
    refused("under() and id = 1", &catalog, "VOLATILE");
}

#[test]
fn operators_that_a_text_does_not_hold() {
    for text in [
        "nullif(email, 'Guest'::public.citext) is not null and id = uid()",
        "case email when 'Guest'::public.citext then false else id = uid() end",
        "email is distinct from 'Guest'::public.citext and id = uid()",
    ] {
        refused(text, &catalog(), "another operator");
        assert_eq!(
            rewrite(text, &name(), &catalog(), Depth::Wrap).unwrap(),
            None
        );
    }
    let text = "nullif(owner_name, 'Guest'::text) is not null and id = uid()";
    assert!(made(text, &catalog()).expression.contains("(SELECT uid())"));
}

#[test]
fn names_are_compared_as_texts_of_the_columns_collation() {
    let text = "owner_name in (select pg_roles.rolname from pg_roles where pg_has_role(current_user, pg_roles.oid, 'member'::text))";
    let found = made(text, &catalog()).expression;
    let set =
        "owner_name = ANY(ARRAY(SELECT pg_roles.rolname::text COLLATE \"default\" FROM pg_roles";
    assert!(
        found
            .replace("(pg_roles.rolname::text)", "pg_roles.rolname::text")
            .starts_with(set),
        "{found}"
    );
}

#[test]
fn the_clock_is_known_to_the_planner() {
    for text in [
        "at > now()",
        "at > (now() - '1 day'::interval)",
        "at > statement_timestamp()",
    ] {
        assert_eq!(
            rewrite(text, &name(), &catalog(), Depth::Domain).unwrap(),
            None,
            "{text}"
        );
    }
}
