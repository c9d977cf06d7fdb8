use super::{expression, only_value, plain};
use crate::sql::tree::{parse_expression, parse_select};
use pg_query::protobuf::SelectStmt;
use std::collections::BTreeSet;

/// For each field of a SELECT: texts that use it, and whether they are refused where a SELECT is taken apart.
const FIELDS: &[(&str, &[&str], bool)] = &[
    (
        "distinct_clause",
        &["select distinct on (a) a from t"],
        true,
    ),
    ("into_clause", &["select a into x from t"], true),
    ("target_list", &["select a, b + 1 as c from t"], false),
    (
        "from_clause",
        &["select a from t join s on t.a = s.a"],
        false,
    ),
    ("where_clause", &["select a from t where a = 1"], false),
    (
        "group_clause",
        &[
            "select a from t group by a",
            "select a from t group by rollup (a)",
        ],
        true,
    ),
    (
        "group_distinct",
        &["select a from t group by distinct a"],
        true,
    ),
    ("having_clause", &["select 1 from t having false"], true),
    (
        "window_clause",
        &["select a from t window w as (order by a)"],
        true,
    ),
    ("values_lists", &["values (1)"], true),
    ("sort_clause", &["select a from t order by a"], true),
    ("limit_offset", &["select a from t offset 1"], true),
    ("limit_count", &["select a from t limit 0"], true),
    (
        "limit_option",
        &["select a from t order by a fetch first 1 row with ties"],
        true,
    ),
    (
        "locking_clause",
        &[
            "select a from t for update",
            "select a from t for key share skip locked",
        ],
        true,
    ),
    (
        "with_clause",
        &["with t as (select 1 as a) select a from t"],
        true,
    ),
    ("op", &["select a from t union select a from s"], true),
    ("all", &["select a from t except all select a from s"], true),
    ("larg", &["select a from t intersect select a from s"], true),
    ("rarg", &["select a from t union all select a from s"], true),
];

#[test]
fn each_clause_of_a_select_is_handled_or_refused() {
    for (field, texts, refused) in FIELDS {
        for text in *texts {
            let select = parse_select(text).unwrap();
            let set = serde_json::to_value(&select).unwrap();
            let empty = serde_json::to_value(SelectStmt::default()).unwrap();
            assert_ne!(set[*field], empty[*field], "{text} uses {field}");
            assert_eq!(plain(&select).is_err(), *refused, "{text}");
        }
    }
    // Another grammar has other fields: each needs a line above.
    let all = serde_json::to_value(SelectStmt::default()).unwrap();
    let fields: BTreeSet<&str> = all
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let listed: BTreeSet<&str> = FIELDS.iter().map(|(field, ..)| *field).collect();
    assert_eq!(fields, listed);
}

#[test]
fn what_is_inside_is_handled_or_refused() {
    for text in [
        "exists (select 1 from t tablesample system (1))",
        "exists (select 1 from only t)",
        "exists (select 1 from t as u (x, y))",
        "exists (select 1 from t, lateral (select t.a) s)",
        "exists (select 1 from t natural join s)",
        "exists (select 1 from t join s using (a))",
        "exists (select 1 from (t join s on true) as j)",
        "exists (select 1 from rows from (f(1)) with ordinality)",
        "exists (select 1 from f(1) as g (a int))",
        "exists (select 1 from xmltable('/a' passing x columns b int))",
        "exists (select 1 from t where a in (with s as (select 1) select * from s))",
        "count(*) filter (where true) = 1",
        "string_agg(a, 'x' order by a) = 'a'",
        "percentile_cont(0.5) within group (order by a) = 1",
        "count(distinct a) = 1",
        "sum(a) over (partition by b) = 1",
        "whole(t.*)",
        "(x).* is null",
        "a is document",
        "grouping(a) = 1",
        "exists (select 1 from other.public.t)",
    ] {
        assert!(
            expression(&parse_expression(text).unwrap()).is_err(),
            "{text}"
        );
    }
    for text in [
        "exists (select * from public.t u left join s on u.a = s.a where u.b = $1)",
        "a = any (array(select x from t)) and coalesce(b, 1) between 1 and 2",
        "case when a then true else (b is not null) is true end",
        "f(a => 1, variadic array[2]) or (x).y[1:2] = '{}' collate \"C\"",
        "row(a, b) = row(1, greatest(2, 3)) and current_user::text like 'x%'",
        "a in (select distinct b from t where c order by b limit 1)",
        "exists (select 1 from unnest(array[1]) u)",
    ] {
        assert_eq!(
            expression(&parse_expression(text).unwrap()),
            Ok(()),
            "{text}"
        );
    }
}

#[test]
fn one_value_is_nothing_else() {
    for text in [
        "select f() limit 0",
        "select f() offset 1",
        "select f() having false",
        "select f() where false",
        "select distinct f()",
        "with x as (select 1) select f()",
        "select f(), 1",
        "select f() from t",
        "select f() order by 1",
        "select f() for update",
    ] {
        assert!(only_value(&parse_select(text).unwrap()).is_err(), "{text}");
    }
    assert!(only_value(&parse_select("select f() as found").unwrap()).is_ok());
}
