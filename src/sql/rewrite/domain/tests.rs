use crate::model::{Catalog, Collation, Column, Command, Name, Policy, Table, Volatility};
use crate::model::{ForeignKey, Function};
use crate::sql::rewrite::{Depth, rewrite_using};
use crate::sql::tree::{parse_expression, print_expression};

fn column(name: &str, kind: &str) -> Column {
    Column {
        name: name.into(),
        type_name: kind.into(),
        type_kind: 'b',
        not_null: true,
        collation: Some(Collation::Inapplicable),
        ..Column::default()
    }
}

fn policy(name: &str, using: &str) -> Policy {
    Policy {
        name: name.into(),
        permissive: true,
        roles: vec!["staff".into()],
        command: Command::Select,
        using: Some(using.into()),
        check: None,
    }
}

fn function(name: &str, arguments: &[&str], body: &str) -> Function {
    Function {
        name: Name::new("public", name),
        language: "plpgsql".into(),
        returns: "boolean".into(),
        volatility: Volatility::Stable,
        argument_types: arguments.iter().map(|_| "uuid".into()).collect(),
        argument_names: arguments.iter().map(|a| (*a).into()).collect(),
        body: body.into(),
        ..Function::default()
    }
}

fn catalog() -> Catalog {
    let mut catalog = Catalog {
        equality_elsewhere: Some(std::collections::BTreeSet::new()),
        ..Catalog::default()
    };
    catalog.server.search_path = vec!["public".into()];
    let places = Table {
        rows: Some(100.0),
        rls_enabled: true,
        columns: vec![column("id", "uuid")],
        policies: vec![policy("all", "true"), policy("bosses", "public.reads()")],
        grants: [("staff".into(), vec!["SELECT".into()])].into(),
        ..Table::default()
    };
    let visits = Table {
        rows: Some(100_000.0),
        rls_enabled: true,
        columns: vec![column("place_id", "uuid"), column("status", "text")],
        foreign_keys: vec![ForeignKey {
            columns: vec!["place_id".into()],
            references: Name::new("public", "places"),
            referenced_columns: vec!["id".into()],
            enforced: true,
            ..ForeignKey::default()
        }],
        ..Table::default()
    };
    let seats = Table {
        columns: vec![column("person", "uuid"), column("place", "uuid")],
        ..Table::default()
    };
    for (name, mut table) in [("places", places), ("visits", visits), ("seats", seats)] {
        table.ruled = Some(false);
        catalog.tables.insert(Name::new("public", name), table);
    }
    catalog.functions = vec![
        function("is_boss", &[], "begin return true; end"),
        function(
            "reads",
            &[],
            "begin return exists (select from public.visits); end",
        ),
        function(
            "near",
            &["p"],
            "begin if public.is_boss() then return true; end if;
             return exists (select 1 from public.seats s where s.place = p); end",
        ),
        function(
            "picky",
            &["p"],
            "begin if p is null then raise exception 'no'; end if; return true; end",
        ),
        function("casts", &["p"], "begin return p::text::int = 1; end"),
        function(
            "unclear",
            &["place"],
            "begin return exists (select 1 from public.seats s where s.place = place); end",
        ),
    ];
    catalog
}

const MINE: &str = "place_id = ANY(ARRAY(SELECT s.place FROM public.seats s))";

fn rewritten(policy: &Policy, catalog: &Catalog) -> Option<String> {
    let table = Name::new("public", "visits");
    rewrite_using(policy, &table, catalog, Depth::Domain)
        .unwrap()
        .map(|made| made.expression)
}

fn tidy(text: &str) -> String {
    print_expression(&parse_expression(text).unwrap()).unwrap()
}

#[track_caller]
fn becomes(catalog: &Catalog, from: &str, to: &str) {
    assert_eq!(rewritten(&policy("p", from), catalog), Some(tidy(to)));
    let again = rewritten(&policy("p", to), catalog);
    assert_eq!(again, None, "a second run finds nothing more");
}

const BOSS: &str =
    "place_id = any (array(select places.id from public.places where (select is_boss())))";

#[test]
fn a_branch_without_a_column_becomes_a_set_of_keys() {
    let made = format!("{BOSS} or {MINE}");
    becomes(&catalog(), &format!("is_boss() or {MINE}"), &made);
    let inside = format!("status is null and ({made})");
    becomes(
        &catalog(),
        &format!("status is null and (is_boss() or {MINE})"),
        &inside,
    );
}

#[test]
fn a_policy_without_a_column_takes_that_of_its_neighbour() {
    let mut catalog = catalog();
    let table = catalog
        .tables
        .get_mut(&Name::new("public", "visits"))
        .unwrap();
    table.policies = vec![policy("mine", MINE)];
    becomes(&catalog, "is_boss()", BOSS);
    let restrictive = Policy {
        permissive: false,
        ..policy("p", "is_boss()")
    };
    assert_eq!(
        rewritten(&restrictive, &catalog),
        Some(tidy("(select is_boss())"))
    );
    let alone = super::tests::catalog();
    assert_eq!(
        rewritten(&policy("p", "is_boss()"), &alone),
        Some(tidy("(select is_boss())"))
    );
}

#[test]
fn a_function_that_cannot_be_opened_is_asked_about_the_keys() {
    becomes(
        &catalog(),
        "near(place_id)",
        "place_id = any (array(select places.id from public.places where near(places.id)))",
    );
    for kept in [
        "picky(place_id)",
        "casts(place_id)",
        "near(other_id)",
        "unclear(place_id)",
    ] {
        assert_eq!(rewritten(&policy("p", kept), &catalog()), None, "{kept}");
    }
}

/// Takes one condition away, from the policy's table or from the one with the keys.
type Spoil = fn(&mut Table, &mut Table);

#[test]
fn every_condition_is_needed() {
    let only_wrapped = Some(tidy(&format!("(select is_boss()) or {MINE}")));
    let expression = format!("is_boss() or {MINE}");
    let spoils: [(&str, Spoil); 12] = [
        ("null", |v, _| v.columns[0].not_null = false),
        ("type", |v, _| v.columns[0].type_name = "text".into()),
        ("domain type", |v, _| v.columns[0].type_kind = 'd'),
        ("key", |v, _| v.foreign_keys[0].enforced = false),
        ("two columns", |v, _| {
            v.foreign_keys[0].columns.push("x".into());
        }),
        ("children", |v, _| v.inherited = true),
        ("size", |v, _| v.rows = Some(1_000.0)),
        ("grant", |_, p| p.grants.clear()),
        ("hidden", |_, p| {
            p.policies[0].using = Some("id is not null".into());
        }),
        ("others' policy", |_, p| {
            p.policies[0].roles = vec!["boss".into()];
        }),
        ("circle", |_, p| {
            let circle = "exists (select from public.visits)";
            p.policies.push(policy("c", circle));
        }),
        ("restrictive", |_, p| {
            p.policies.push(Policy {
                permissive: false,
                ..policy("r", "true")
            });
        }),
    ];
    for (what, spoil) in spoils {
        let mut catalog = catalog();
        let mut take = |name: &str| catalog.tables.remove(&Name::new("public", name)).unwrap();
        let (mut visits, mut places) = (take("visits"), take("places"));
        spoil(&mut visits, &mut places);
        for (name, table) in [("visits", visits), ("places", places)] {
            catalog.tables.insert(Name::new("public", name), table);
        }
        let made = rewritten(&policy("p", &expression), &catalog);
        assert_eq!(made, only_wrapped, "{what}");
    }
    for spoiled in [
        Policy {
            command: Command::All,
            ..policy("p", &expression)
        },
        Policy {
            roles: vec!["public".into()],
            ..policy("p", &expression)
        },
    ] {
        let mut catalog = catalog();
        let table = catalog
            .tables
            .get_mut(&Name::new("public", "visits"))
            .unwrap();
        table.grants = [("anon".into(), vec!["SELECT".into()])].into();
        assert_eq!(rewritten(&spoiled, &catalog), only_wrapped);
    }
}
