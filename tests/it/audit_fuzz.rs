//! The parser layer and the snapshot reader take any text without a panic.

use dbtune::model::{Catalog, Name, Policy, Snapshot, Table};
use dbtune::rules::{self, Scope};
use dbtune::sql::qual::Qual;
use dbtune::sql::{access, columns, constants, lines, rewrite, script, tree};
use proptest::prelude::*;
use std::path::Path;

/// Policies and statements as people write them.
fn real() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all: Vec<String> = ["policies/naive", "policies/tuned", "migrations"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(root.join(folder)).unwrap())
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    all.extend(
        [
            "owner_id = (select auth.uid())",
            "id in (select m.doc from member m where m.user_id = auth.uid() and m.level > 3)",
            "exists (select 1 from a join b using (id) where a.x = doc.x or b.y is null)",
            "(auth.jwt() -> 'app' ->> 'org')::int = org_id and not (a between 1 and 2)",
            "case when a then b else c end or a = any (array(select x from y))",
            "current_setting('app.tenant', true)::uuid is not distinct from tenant",
        ]
        .map(str::to_owned),
    );
    all
}

/// A real text with pieces cut out, doubled, or replaced by something else.
fn mutated() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(String::new()),
        Just("'".to_owned()),
        Just("\"".to_owned()),
        Just("(".repeat(40)),
        Just("$$".to_owned()),
        Just("/*".to_owned()),
        Just("--".to_owned()),
        Just("\u{0}".to_owned()),
        Just(" select ".to_owned()),
        Just(")::int[]".to_owned()),
        ".{0,6}",
    ];
    let cuts = prop::collection::vec((any::<prop::sample::Index>(), 0usize..20, piece), 0..6);
    (prop::sample::select(real()), cuts).prop_map(|(text, cuts)| {
        let mut chars: Vec<char> = text.chars().collect();
        for (at, length, piece) in cuts {
            let from = at.index(chars.len() + 1);
            let to = (from + length).min(chars.len());
            chars.splice(from..to, piece.chars());
        }
        chars.into_iter().collect()
    })
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![3 => mutated(), 1 => ".{0,80}", 1 => "[ -~]{0,60}"]
}

fn take(text: &str) {
    let catalog = catalog(text);
    let name = Name::new("public", "doc");
    let _ = Qual::of_policy(text, &name, &catalog);
    let _ = access::of_policy(text, &name, &catalog);
    let _ = access::of_statement(text, &catalog);
    let _ = tree::parse_expression(text);
    let _ = tree::parse_statement(text);
    let _ = dbtune::sql::single(text);
    let _ = columns::columns_made(text);
    if let Ok(statements) = script::parse(text) {
        for statement in statements {
            assert!(text.contains(&statement.sql));
            let last = text.matches('\n').count() + 1;
            assert!((1..=last).contains(&statement.line), "{}", statement.line);
        }
    }
    let folded = lines::fold(text, 20);
    assert_eq!(squeezed(&folded), squeezed(text));
    constants::without_constants(text);
    let _ = rules::audit(&catalog, None, &Scope::default());
    let table = &catalog.tables[&name];
    for policy in &table.policies {
        for depth in [
            rewrite::Depth::Wrap,
            rewrite::Depth::Sets,
            rewrite::Depth::Domain,
        ] {
            let _ = rewrite::rewrite_using(policy, &name, &catalog, depth);
            let _ = rewrite::rewrite(text, &name, &catalog, depth);
        }
    }
}

fn squeezed(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// One large table with the text as its policy.
fn catalog(text: &str) -> Catalog {
    let mut catalog = Catalog::default();
    let table = Table {
        rls_enabled: true,
        rows: Some(1e6),
        policies: vec![Policy {
            name: "p".to_owned(),
            permissive: true,
            roles: vec!["public".to_owned()],
            using: Some(text.to_owned()),
            check: Some(text.to_owned()),
            ..Policy::default()
        }],
        ..Table::default()
    };
    catalog.tables.insert(Name::new("public", "doc"), table);
    catalog
}

fn snapshot() -> Vec<u8> {
    let mut bytes = Vec::new();
    let text = "owner_id = (select auth.uid())";
    Snapshot::new(catalog(text), Some(dbtune::model::Statements::default()))
        .write(&mut bytes)
        .unwrap();
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in texts()) {
        take(&text);
    }

    #[test]
    fn any_bytes_are_a_snapshot_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Snapshot::parse(&bytes);
    }

    #[test]
    fn a_damaged_snapshot_is_read_or_refused(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..8, prop::collection::vec(any::<u8>(), 0..4)), 1..5)
    ) {
        let mut bytes = snapshot();
        for (at, length, piece) in cuts {
            let from = at.index(bytes.len() + 1);
            let to = (from + length).min(bytes.len());
            bytes.splice(from..to, piece);
        }
        if let Ok(snapshot) = Snapshot::parse(&bytes) {
            let _ = rules::audit(&snapshot.catalog, snapshot.statements.as_ref(), &Scope::default());
        }
    }
}
