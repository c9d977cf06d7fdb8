//! Claims, columns and what ties them.

use super::claim::{Words, claim_of};
use super::{Form, Test, scan};
use crate::model::{Catalog, Column as TableColumn, Function, Name, Table};
use crate::sql::expr::Body;

/// A database with Supabase's functions.
pub(crate) fn catalog() -> Catalog {
    let function = |name: &str, body: &str| Function {
        name: Name::new("auth", name),
        language: "sql".to_owned(),
        body: body.to_owned(),
        ..Function::default()
    };
    Catalog {
        functions: vec![
            function(
                "uid",
                "select coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''), \
                 (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'))::uuid",
            ),
            function(
                "jwt",
                "select nullif(current_setting('request.jwt.claims', true), '')::jsonb",
            ),
        ],
        ..Catalog::default()
    }
}

#[test]
fn claims_are_followed_through_functions() {
    let of = |text: &str| {
        let f = Function {
            language: "sql".to_owned(),
            body: format!("select {text}"),
            ..Function::default()
        };
        let body = Body::of(&f).unwrap();
        claim_of(&body.queries[0].targets[0], &Words::new(), &catalog())
            .map(|c| format!("{} {}", c.setting, c.path.join(".")))
    };
    for (text, expected) in [
        ("auth.uid()", Some("request.jwt.claims sub")),
        ("(select auth.uid())", Some("request.jwt.claims sub")),
        (
            "(auth.jwt() -> 'app_metadata' ->> 'org')::int",
            Some("request.jwt.claims app_metadata.org"),
        ),
        ("auth.jwt() #>> '{a,b}'", Some("request.jwt.claims a.b")),
        (
            "current_setting('app.tenant', true)::int",
            Some("app.tenant "),
        ),
        ("auth.jwt()", None),
        ("now()", None),
    ] {
        assert_eq!(of(text).as_deref(), expected, "{text}");
    }
}

fn tables() -> Catalog {
    let mut catalog = catalog();
    for (name, columns) in [
        ("doc", ["id", "org", "owner"].as_slice()),
        ("member", &["user_id", "org_id"]),
    ] {
        let columns = columns.iter().map(|c| TableColumn {
            name: (*c).to_owned(),
            ..TableColumn::default()
        });
        catalog.tables.insert(
            Name::new("public", name),
            Table {
                columns: columns.collect(),
                ..Table::default()
            },
        );
    }
    catalog.functions.push(Function {
        name: Name::new("public", "can"),
        language: "sql".to_owned(),
        argument_types: vec!["int".to_owned()],
        argument_names: vec!["target".to_owned()],
        body: "select exists (select 1 from public.member m where m.org_id = target and m.user_id = auth.uid())".to_owned(),
        ..Function::default()
    });
    catalog.functions.push(Function {
        name: Name::new("public", "orgs"),
        language: "sql".to_owned(),
        body: "select m.org_id from public.member m where m.user_id = auth.uid()".to_owned(),
        ..Function::default()
    });
    catalog
}

#[test]
fn membership_is_found_however_it_is_written() {
    let doc = Name::new("public", "doc");
    for text in [
        "public.can(org)",
        "org in (select public.orgs())",
        "org = any (array(select public.orgs()))",
        "exists (select 1 from public.member m where m.org_id = doc.org and m.user_id = (select auth.uid()))",
        "org in (select m.org_id from public.member m where m.user_id = auth.uid())",
        "org = any (array(select m.org_id from public.member m where m.user_id = auth.uid()))",
    ] {
        let ties = scan([(&doc, text)], &tables());
        let columns: Vec<_> = ties
            .equal
            .values()
            .flatten()
            .map(|(_, c)| c.as_str())
            .collect();
        assert_eq!(columns, ["user_id"], "{text}");
        let joined: Vec<_> = ties
            .joined
            .iter()
            .map(|((_, a), (_, b))| format!("{a} {b}"))
            .collect();
        assert_eq!(joined, ["org org_id", "org_id org"], "{text}");
    }
    let ties = scan(
        [(
            &doc,
            "owner = auth.uid() and auth.jwt() ->> 'kind' = 'nurse'",
        )],
        &tables(),
    );
    assert_eq!(ties.equal.len(), 1);
    assert_eq!(
        ties.literals.values().flatten().collect::<Vec<_>>(),
        ["nurse"]
    );
}

#[test]
fn lists_flags_and_the_role_are_seen() {
    let doc = Name::new("public", "doc");
    let of = |text: &str| scan([(&doc, text)], &tables());
    for (text, form) in [
        ("(auth.jwt() -> 'orgs') ? org::text", Form::Texts),
        ("(auth.jwt() -> 'orgs') @> to_jsonb(org)", Form::Json),
        (
            "org in (select jsonb_array_elements_text(auth.jwt() -> 'orgs')::int)",
            Form::Json,
        ),
        (
            "array[org] && string_to_array(current_setting('app.orgs'), ',')::int[]",
            Form::Delimited(",".to_owned()),
        ),
        (
            "org = any (current_setting('app.orgs')::int[])",
            Form::Array,
        ),
    ] {
        let ties = of(text);
        let found: Vec<_> = ties.listed.iter().collect();
        let [((_, found), places)] = found.as_slice() else {
            panic!("{text}: {ties:?}");
        };
        assert_eq!(*found, form, "{text}");
        assert!(places.contains(&(doc.clone(), "org".to_owned())), "{text}");
    }
    let ties = of(
        "owner = current_user and auth.jwt() ->> 'kind' in ('a', 'b') and id > 3 and owner is null",
    );
    assert_eq!(ties.user.len(), 1);
    assert_eq!(ties.constants.values().flatten().count(), 2);
    assert_eq!(ties.beside.len(), 2);
    let tests: Vec<_> = ties.tests.iter().map(|(_, test)| test.clone()).collect();
    assert_eq!(
        tests,
        [Test::Compare(">".to_owned(), "3".to_owned()), Test::Null]
    );
    let alone = of("owner = auth.uid() or auth.jwt() ->> 'kind' = 'a'");
    assert!(alone.beside.is_empty());
    let range = of("org >= (auth.jwt() ->> 'least')::int");
    assert_eq!(range.loose.values().flatten().count(), 1);
}
