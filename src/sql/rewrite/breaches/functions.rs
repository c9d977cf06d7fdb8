//! Functions whose body says less than the call does.

use super::{catalog, function, made, name, refused};
use crate::model::{Declared, Function};

/// A function of the row's `org_id`, or of another column.
#[track_caller]
fn refused_function(function: Function, call: &str, reason: &str) {
    let mut catalog = catalog();
    catalog.functions.push(function);
    refused(call, &catalog, reason);
}

const IN_ORG: &str = "exists (select 1 from members m where m.org_id = o and m.user_id = uid()";
const O: &[(&str, &str)] = &[("o", "integer")];

#[test]
fn f03_an_option_of_the_compiler() {
    let arguments = &[("o", "integer"), ("user_id", "integer")];
    let body = "#variable_conflict use_variable
begin return exists (select 1 from members m where m.org_id = o and m.user_id = user_id); end";
    let f = function("f03_f", arguments, "plpgsql", body);
    refused_function(f, "f03_f(org_id, uid())", "option of the compiler");
    // Without it a setting decides, or the call is an error.
    let body =
        "begin return exists (select 1 from members where org_id = o and user_id = user_id); end";
    let f = function("f03_f", arguments, "plpgsql", body);
    refused_function(f, "f03_f(org_id, uid())", "a parameter and a column");
}

#[test]
fn f04_f49_a_strict_function_is_null_for_null() {
    for definer in [false, true] {
        let body = format!("select {IN_ORG} and (r is null or m.role = r))");
        let mut catalog = catalog();
        let arguments = &[("o", "integer"), ("r", "text")];
        catalog.functions.push(Function {
            strict: true,
            security_definer: definer,
            ..function("f04_f", arguments, "sql", &body)
        });
        let made = made(
            "f04_f(org_id, current_setting('app.role'::text, true))",
            &catalog,
        );
        assert_eq!(
            made.expression,
            "org_id = ANY(ARRAY(SELECT public.f04_f_set()))"
        );
        let body = &made.companions[0].body;
        let bound = "(SELECT current_setting('app.role'::text, true)::text)";
        assert!(body.ends_with(&format!("{bound} IS NOT NULL")), "{body}");
        assert!(body.contains(&format!("m.role = {bound}")), "{body}");
        refused("f04_f(org_id, null)", &catalog, "NULL");
    }
}

#[test]
fn f05_f07_f08_f09_clauses_around_the_exists() {
    let with = "with members as (select * from public.members x where x.active) ";
    for (before, after, reason) in [
        (with, ")", "WITH"),
        ("", ") limit 0", "LIMIT"),
        ("", ") having false", "HAVING"),
        ("", ") offset 1", "OFFSET"),
    ] {
        let body = format!("{before}select {IN_ORG}{after}");
        refused_function(function("f_f", O, "sql", &body), "f_f(org_id)", reason);
    }
}

#[test]
fn f06_a_type_whose_equality_is_found_by_the_path() {
    let body = "select exists (select 1 from public.members_txt m where m.email = target and m.user_id = public.uid())";
    let f = Function {
        security_definer: true,
        config: vec!["search_path=\"\"".into()],
        ..function("f06_f", &[("target", "public.citext")], "sql", body)
    };
    refused_function(f, "f06_f(email)", "search path");
}

#[test]
fn f10_parameters_in_a_join() {
    let body = "select exists (select 1 from members m join orgs g on g.id = $1 and g.open
        where m.org_id = $1 and m.user_id = uid() and m.level >= $2)";
    let f = function("f10_f", &[("", "integer"), ("", "integer")], "sql", body);
    refused_function(f, "f10_f(org_id, 3)", "no test of one column");
    let body = body.replace("g.id = $1", "g.id = $2");
    let mut catalog = catalog();
    let f = function("f10_f", &[("", "integer"), ("", "integer")], "sql", &body);
    catalog.functions.push(f);
    let made = made("f10_f(org_id, 3)", &catalog);
    let body = &made.companions[0].body;
    assert!(
        body.contains("g.id = $1") && body.contains("m.level >= $1"),
        "{body}"
    );
}

#[test]
fn f22_a_name_of_several_schemas() {
    let body = "select exists (select 1 from staff where org_id = o and user_id = uid())";
    let f = Function {
        config: vec!["search_path=other, public".into()],
        ..function("f22_f", O, "sql", body)
    };
    refused_function(f, "f22_f(org_id)", "several schemas");
}

#[test]
fn f37_a_key_under_which_other_texts_are_equal() {
    let body = "select exists (select 1 from members_txt m where m.name_ci = target and m.user_id = uid())";
    let f = function("f37_f", &[("target", "text")], "sql", body);
    refused_function(f, "f37_f(owner_name)", "other texts are equal");
}

#[test]
fn f50_a_condition_that_may_raise() {
    let body = "select exists (select 1 from kv where kv.org_id = o and kv.val::boolean)";
    refused_function(
        function("f50_f", O, "sql", body),
        "f50_f(org_id)",
        "may raise",
    );
}

#[test]
fn whoever_asks_is_no_argument() {
    let arguments = &[("o", "integer"), ("u", "integer")];
    let body =
        "select exists (select 1 from public.members m where m.org_id = o and m.user_id = u)";
    let member = Function {
        security_definer: true,
        config: vec!["search_path=\"\"".into()],
        ..function("is_member", arguments, "sql", body)
    };
    let mut catalog = catalog();
    catalog.functions.push(member);
    let made = made("is_member(org_id, public.uid())", &catalog);
    assert_eq!(
        made.expression,
        "org_id = ANY(ARRAY(SELECT public.is_member_set()))"
    );
    let body = &made.companions[0].body;
    assert!(
        body.contains("m.user_id = (SELECT public.uid()::int)"),
        "{body}"
    );
    // It would mean the owner inside, or depends on what the caller may see.
    let tabled = "select n from public.quota";
    catalog.functions.push(Function {
        returns: "integer".into(),
        ..function("current_n", &[], "sql", tabled)
    });
    for who in ["public.current_n()", "length(current_user::text)"] {
        refused(&format!("is_member(org_id, {who})"), &catalog, "who asks");
    }
}

#[test]
fn functions_that_are_not_what_they_seem() {
    let body = format!("select {IN_ORG})");
    let plain = || function("f_f", O, "sql", &body);
    let declared = |declared: Declared| Function {
        declared: Some(declared),
        ..plain()
    };
    for (function, reason) in [
        (
            declared(Declared {
                defaults: 1,
                ..Declared::default()
            }),
            "defaults",
        ),
        (
            declared(Declared {
                variadic: true,
                ..Declared::default()
            }),
            "VARIADIC",
        ),
        (
            declared(Declared {
                outputs: true,
                ..Declared::default()
            }),
            "OUT",
        ),
        (
            declared(Declared {
                polymorphic: true,
                ..Declared::default()
            }),
            "polymorphic",
        ),
        (
            Function {
                declared: None,
                ..plain()
            },
            "was not read",
        ),
        (
            Function {
                config: vec!["timezone=UTC".into()],
                ..plain()
            },
            "SET timezone",
        ),
        (
            Function {
                config: vec!["role=owner".into()],
                ..plain()
            },
            "SET role",
        ),
    ] {
        refused_function(function, "f_f(org_id)", reason);
    }
    let mut catalog = catalog();
    catalog.functions.push(plain());
    assert!(
        made("f_f(org_id)", &catalog)
            .expression
            .contains("f_f_set()")
    );
    let mut unasked = catalog.clone();
    for column in &mut unasked.tables.get_mut(&name()).unwrap().columns {
        column.collation = None;
    }
    refused("f_f(org_id)", &unasked, "collation");
    unasked = catalog.clone();
    unasked.equality_elsewhere = None;
    refused("f_f(org_id)", &unasked, "search path");
    catalog
        .functions
        .push(function("f_f", &[("o", "text")], "sql", "select true"));
    refused("f_f(org_id)", &catalog, "several functions");
}
