use super::*;
use crate::model::{Collation, Column, Declared, Function, Index, IndexKey, Table, Volatility};

fn table(columns: &[(&str, &str)]) -> Table {
    Table {
        columns: columns
            .iter()
            .map(|(name, kind)| Column {
                name: (*name).to_owned(),
                type_name: (*kind).to_owned(),
                type_kind: 'b',
                collation: Some(if *kind == "text" {
                    Collation::Default
                } else {
                    Collation::Inapplicable
                }),
                ..Default::default()
            })
            .collect(),
        ruled: Some(false),
        ..Default::default()
    }
}

fn function(schema: &str, name: &str, volatility: Volatility) -> Function {
    Function {
        name: Name::new(schema, name),
        volatility,
        language: "sql".to_owned(),
        returns: "boolean".to_owned(),
        declared: Some(Declared::default()),
        ..Default::default()
    }
}

fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    catalog.server.user = "owner".to_owned();
    catalog.equality_elsewhere = Some(std::collections::BTreeSet::new());
    catalog.server.search_path = vec!["public".to_owned()];
    let mut put = |name: &str, columns: &[(&str, &str)]| {
        catalog
            .tables
            .insert(Name::new("public", name), table(columns));
    };
    put(
        "docs",
        &[
            ("id", "integer"),
            ("owner_id", "uuid"),
            ("org_id", "integer"),
            ("status", "text"),
            ("readers", "uuid[]"),
            ("writers", "uuid[]"),
        ],
    );
    put(
        "members",
        &[("user_id", "uuid"), ("org_id", "integer"), ("role", "text")],
    );
    catalog
        .builtins
        .insert("current_setting".into(), Volatility::Stable);
    catalog
        .builtins
        .insert("nextval".into(), Volatility::Volatile);
    let docs = catalog
        .tables
        .get_mut(&Name::new("public", "docs"))
        .unwrap();
    docs.indexes.push(Index {
        method: "gin".into(),
        valid: true,
        live: true,
        keys: vec![IndexKey {
            column: Some("readers".into()),
            ..IndexKey::default()
        }],
        ..Index::default()
    });
    catalog
        .builtins
        .insert("random".into(), Volatility::Volatile);
    catalog.functions = declared_functions();
    catalog.functions.extend(volatile_functions());
    catalog
}

fn declared_functions() -> Vec<Function> {
    vec![
        Function {
            returns: "uuid".into(),
            body: "select current_setting('sub', true)::uuid".into(),
            ..function("auth", "uid", Volatility::Stable)
        },
        Function {
            returns: "jsonb".into(),
            ..function("auth", "jwt", Volatility::Stable)
        },
        function("public", "is_admin", Volatility::Stable),
        function("public", "audited", Volatility::Volatile),
        Function {
            returns: "integer[]".into(),
            ..function("public", "my_orgs", Volatility::Stable)
        },
        Function {
            argument_types: vec!["integer".into(), "text".into()],
            argument_names: vec!["o".into(), "r".into()],
            security_definer: true,
            config: vec!["search_path=\"\"".into()],
            owner: "owner".into(),
            executors: vec!["authenticated".into()],
            body: "select exists (select 1 from public.members m where m.org_id = o and m.user_id = auth.uid() and m.role = r)".into(),
            ..function("public", "is_member", Volatility::Stable)
        },
        Function {
            argument_types: vec!["integer".into()],
            argument_names: vec!["o".into()],
            language: "plpgsql".into(),
            body: "begin return exists(select 1 from public.members where org_id = o and user_id = auth.uid()); end".into(),
            ..function("public", "can_see", Volatility::Stable)
        },
    ]
}

/// Functions that nobody declared to be anything.
fn volatile_functions() -> Vec<Function> {
    let volatile = |name: &str, language: &str, body: &str| Function {
        language: language.into(),
        body: body.into(),
        ..function("public", name, Volatility::Volatile)
    };
    vec![
        volatile(
            "checks",
            "plpgsql",
            "declare r text; found_one boolean := false; begin
             select m.role into r from public.members m where m.user_id = auth.uid();
             if r = 'admin' then return true; end if;
             found_one := exists (select from public.members m where m.user_id = auth.uid());
             return found_one; end",
        ),
        volatile("looks", "sql", "select checks() or auth.uid() is null"),
        volatile(
            "writes",
            "sql",
            "insert into public.members default values returning true",
        ),
        volatile(
            "reads_docs",
            "sql",
            "select exists (select from public.docs)",
        ),
        volatile(
            "speaks",
            "plpgsql",
            "begin raise notice 'x'; return true; end",
        ),
        volatile(
            "locks",
            "sql",
            "select exists (select from public.members for update)",
        ),
        volatile(
            "numbers",
            "plpgsql",
            "begin perform nextval('s'); return true; end",
        ),
    ]
}

fn rewritten(expression: &str) -> Option<Rewritten> {
    let table = Name::new("public", "docs");
    rewrite(expression, &table, &catalog(), Depth::Sets).unwrap()
}

#[track_caller]
fn becomes(from: &str, to: &str) {
    let tidy = |t: &str| print_expression(&parse_expression(t).unwrap()).unwrap();
    assert_eq!(rewritten(from).unwrap().expression, tidy(to));
    assert_eq!(rewritten(to), None, "a second run finds nothing more");
}

#[track_caller]
fn stays(expression: &str) {
    assert_eq!(rewritten(expression), None);
}

#[test]
fn wraps_the_largest_row_independent_part() {
    becomes("owner_id = auth.uid()", "owner_id = (select auth.uid())");
    becomes(
        "org_id = ((current_setting('c', true)::jsonb ->> 'org')::int)",
        "org_id = (select (current_setting('c', true)::jsonb ->> 'org')::int)",
    );
    becomes(
        "is_admin() or owner_id = auth.uid()",
        "(select is_admin()) or owner_id = (select auth.uid())",
    );
    becomes(
        "(auth.jwt() ->> 'aal') = 'aal2'",
        "(select (auth.jwt() ->> 'aal') = 'aal2')",
    );
    becomes(
        "not (owner_id = auth.uid())",
        "not (owner_id = (select auth.uid()))",
    );
    becomes(
        "org_id = any (array(select m.org_id from public.members m where m.user_id = auth.uid()))",
        "org_id = any (array(select m.org_id from public.members m where m.user_id = (select auth.uid())))",
    );
    becomes(
        "org_id = any (my_orgs())",
        "org_id = any ((select my_orgs())::integer[])",
    );
}

#[test]
fn mixed_forms_are_not_overlooked() {
    becomes(
        "owner_id = (select auth.uid() as uid) or owner_id = auth.uid()",
        "owner_id = (select auth.uid() as uid) or owner_id = (select auth.uid())",
    );
}

#[test]
fn volatile_calls_stay() {
    stays("random() < 0.5 or id < 0");
    stays("audited()");
    stays("owner_id = (select auth.uid()) and audited()");
    stays(
        "exists (select 1 from public.members m where m.org_id = docs.org_id and public.audited())",
    );
}

#[test]
fn membership_tests_become_sets() {
    let set = "org_id = any (array(select m.org_id from public.members m where m.user_id = (select auth.uid())))";
    becomes(
        "org_id in (select m.org_id from public.members m where m.user_id = auth.uid())",
        set,
    );
    let qualified = set.replacen("org_id", "docs.org_id", 1);
    becomes(
        "exists (select 1 from public.members m where m.org_id = docs.org_id and m.user_id = auth.uid())",
        &qualified,
    );
    becomes(
        "auth.uid() in (select m.user_id from public.members m where m.org_id = docs.org_id)",
        &qualified,
    );
}

#[test]
fn a_test_of_two_outer_columns_stays() {
    stays(
        "exists (select 1 from public.members m where m.org_id = docs.org_id and m.user_id = docs.owner_id)",
    );
    stays(
        "exists (select 1 from public.members m where m.org_id = docs.org_id and (docs.status = m.role or m.role = 'admin'))",
    );
    // A test that may raise is asked of no more rows than before.
    stays(
        "exists (select 1 from public.members m where m.org_id = docs.org_id and docs.status::integer = 1)",
    );
    stays("exists (select count(*) from public.members m where m.org_id = docs.org_id)");
    stays("org_id not in (select m.org_id from public.members m)");
}

#[test]
fn tests_of_the_row_are_taken_out_of_exists() {
    let mine = "docs.org_id = any (array(select m.org_id from public.members m where m.user_id = (select auth.uid())";
    let exists = "exists (select 1 from public.members m where m.org_id = docs.org_id and m.user_id = auth.uid() and";
    becomes(
        &format!("{exists} docs.status = 'x')"),
        &format!("docs.status = 'x' and {mine}))"),
    );
    becomes(
        &format!("{exists} (docs.status = 'x' or m.role = 'admin'))"),
        &format!("(docs.status = 'x' and {mine}))) or {mine} and m.role = 'admin'))"),
    );
}

#[test]
fn a_case_that_admits_is_an_or() {
    becomes(
        "case when status is null then true else owner_id = auth.uid() end",
        "status is null or owner_id = (select auth.uid())",
    );
    becomes(
        "id > 1 and case when status = 'a' then true when is_admin() then true else false end",
        "id > 1 and (status = 'a' or (select is_admin()))",
    );
    stays("case when status is null then false else owner_id = (select auth.uid()) end");
    stays("case when status is null then true else status::integer = 1 end");
    stays("case status when 'a' then true else false end");
    stays("not case when status is null then true else id = 1 end");
}

#[test]
fn is_not_distinct_becomes_two_arms() {
    let arms =
        "owner_id = (select auth.uid()) or (owner_id is null and (select auth.uid() is null))";
    becomes("owner_id is not distinct from auth.uid()", arms);
    becomes("not (auth.uid() is distinct from owner_id)", arms);
    stays("owner_id is distinct from (select auth.uid())");
    stays("not (owner_id is not distinct from (select auth.uid()))");
    stays("id is not distinct from org_id");
}

#[test]
fn membership_of_an_array_column_becomes_containment() {
    becomes(
        "auth.uid() = any (readers)",
        "readers @> (select array[auth.uid()])",
    );
    becomes(
        "(select auth.uid() as uid) = any (readers)",
        "readers @> array[(select auth.uid() as uid)]",
    );
    stays("not ((select auth.uid()) = any (readers))");
    stays("(select auth.uid()) = all (readers)");
    // No index, or another type.
    stays("(select auth.uid()) = any (writers)");
    stays("(select auth.jwt()) = any (readers)");
}

#[test]
fn volatile_functions_that_only_read_are_evaluated_once() {
    becomes("checks()", "(select checks())");
    becomes("looks()", "(select looks())");
    for kept in [
        "writes()",
        "reads_docs()",
        "speaks()",
        "locks()",
        "numbers()",
    ] {
        stays(kept);
    }
}

#[test]
fn an_access_function_gets_a_set_companion() {
    let made = rewritten("is_member(org_id, 'admin')").unwrap();
    assert_eq!(
        made.expression,
        "org_id = ANY(ARRAY(SELECT public.is_member_set('admin')))"
    );
    let create = made.companions.first().unwrap().create.join(";\n");
    assert!(
        create.contains("is_member_set(text) returns setof integer"),
        "{create}"
    );
    assert!(create.contains("m.role = $1"), "{create}");
    assert!(
        create.contains("security definer\n  set search_path = ''"),
        "{create}"
    );
    assert!(
        create.contains("grant execute on function public.is_member_set(text) to authenticated")
    );
    let made = rewritten("can_see(org_id)").unwrap();
    assert_eq!(
        made.expression,
        "org_id = ANY(ARRAY(SELECT public.can_see_set()))"
    );
}

#[test]
fn what_is_not_understood_is_left_alone() {
    stays("is_member(id + 1, 'x')");
    stays("(status::xml) is document and owner_id = (select auth.uid())");
    assert!(rewrite("a = ", &Name::default(), &catalog(), Depth::Sets).is_err());
}
