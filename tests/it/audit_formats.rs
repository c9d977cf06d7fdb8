//! What each format makes of an audit.

use crate::audit_ground;
use crate::audit_run::{dbtune, write};
use dbtune::model::{Finding, Gap, Name, Object, ObjectKind, Report, Severity};
use dbtune::report::{Style, format};
use std::collections::BTreeMap;

const STYLE: Style = Style {
    color: false,
    width: 100,
    ascii: false,
};

fn render(report: &Report, name: &str) -> String {
    let mut out = Vec::new();
    (format(name).unwrap().render)(report, STYLE, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// `number` findings of three rules, with names as long as they get.
fn report(number: usize) -> Report {
    let mut report = Report::new("audit", "many ".repeat(60));
    report.findings = (0..number)
        .map(|n| {
            let (rule, severity) = match n % 3 {
                0 => ("unindexed-policy-column", Severity::Error),
                1 => ("policies-without-rls", Severity::Warning),
                _ => ("unused-index", Severity::Note),
            };
            let table = format!("{}_{n}", "t".repeat(55));
            Finding {
                rule: rule.to_owned(),
                severity,
                object: Object {
                    kind: ObjectKind::Policy,
                    name: Name::new("s".repeat(63), &table),
                    part: Some("p".repeat(63)),
                },
                message: match n % 3 {
                    0 => format!(
                        "{n} rows are read, one by one, for each statement; {}",
                        "word ".repeat(30)
                    ),
                    _ => "the same words for all".to_owned(),
                },
                evidence: BTreeMap::new(),
                fix: Some(format!(
                    "create index concurrently i_{n} on {}.{table} (a, b, c);",
                    "s".repeat(63)
                )),
                advice: Some("Some advice. ".repeat(12)),
                origin: None,
                excuse: None,
            }
        })
        .collect();
    report.gaps = vec![Gap {
        what: "something ".repeat(20),
        why: "reasons ".repeat(20),
        remedy: Some(format!(
            "grant pg_read_all_stats to \"{}\"; -- {}",
            "r".repeat(63),
            "and so on ".repeat(5)
        )),
    }];
    report.sort_findings();
    report
}

#[test]
fn a_hundred_findings_fit_a_terminal_and_can_be_read() {
    let report = report(150);
    let text = render(&report, "table");
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    // One heading a rule, worst first, and what all have in common said once.
    let headings: Vec<&str> = text.lines().filter(|l| l.contains("50 findings")).collect();
    assert!(
        headings.len() == 3
            && headings[0].starts_with("error    unindexed-policy-column")
            && headings[1].starts_with("warning")
            && headings[2].starts_with("note"),
        "{headings:?}"
    );
    assert_eq!(text.matches("the same words for all").count(), 2);
    // The first of each; and how to see the rest, which shows all.
    let more = "and 42 more: dbtune audit --only unindexed-policy-column";
    assert!(text.contains(more) && text.matches("and 42 more").count() == 3);
    let mut one = report;
    one.findings.retain(|f| f.severity == Severity::Error);
    assert_eq!(text_of_objects(&render(&one, "table")), 50);
    assert_eq!(text_of_objects(&text), 24);
}

fn text_of_objects(text: &str) -> usize {
    let starts = |l: &&str| l.starts_with(&format!("         {}.", "s".repeat(63)));
    text.lines().filter(starts).count()
}

#[test]
fn every_format_shows_every_finding() {
    let report = report(150);
    // A table is for a glance where there is more than one rule.
    for name in ["json", "markdown", "html", "sarif", "junit"] {
        let text = render(&report, name);
        // Markdown escapes the underscore.
        let text: String = text
            .chars()
            .filter(|c| !c.is_whitespace() && *c != '\\')
            .collect();
        for n in 0..150 {
            assert!(text.contains(&format!("t_{n}")), "{name}: {n}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sarif_is_valid_and_junit_has_a_case_a_rule() {
    let script = "
create table doc (id int primary key, owner_id uuid not null);
insert into doc select n, md5((n % 2000)::text)::uuid from generate_series(1, 20000) n;
alter table doc enable row level security;
grant select on doc to app;
create policy own on doc for select to app using (owner_id = auth.uid());
create table plain (id int primary key);
create policy all_of_it on plain using (true);
analyze;
";
    let db = audit_ground::database("formats", script).await;
    let folder = tempfile::tempdir().unwrap();
    let json = dbtune(
        folder.path(),
        &[
            "audit",
            "--only",
            "per-row-stable-call",
            "--format",
            "json",
            "--db",
            &db.url,
        ],
    );
    write(folder.path(), "known.json", &json.out);
    write(
        folder.path(),
        "dbtune.yaml",
        "waivers:\n- rule: unindexed-policy-column\n  object: public.doc\n  reason: later\n  expires: 2999-01-01\n",
    );
    let sarif = [
        "audit",
        "--baseline",
        "known.json",
        "--format",
        "sarif",
        "--db",
        &db.url,
    ];
    let log = dbtune(folder.path(), &sarif).json();
    valid(&log);
    let results = log["runs"][0]["results"].as_array().unwrap();
    let of = |rule: &str| results.iter().find(|r| r["ruleId"] == rule).unwrap();
    assert_eq!(of("per-row-stable-call")["baselineState"], "unchanged");
    assert_eq!(
        of("unindexed-policy-column")["suppressions"][0]["kind"],
        "external"
    );
    let plain = of("policies-without-rls");
    assert_eq!(
        (&plain["level"], &plain["baselineState"]),
        (&"error".into(), &"new".into())
    );
    let place = &plain["locations"][0]["logicalLocations"][0];
    assert_eq!(place["fullyQualifiedName"], "public.plain");
    let rules = log["runs"][0]["tool"]["driver"]["rules"]
        .as_array()
        .unwrap();
    assert_eq!(rules.len(), dbtune::rules::ALL.len());
    let index = usize::try_from(plain["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(rules[index]["id"], "policies-without-rls");
    // The same in every run, whatever the numbers are.
    let again = dbtune(folder.path(), &sarif).json();
    let prints = |log: &serde_json::Value| {
        let results = log["runs"][0]["results"].as_array().unwrap().iter();
        results
            .map(|r| r["partialFingerprints"].to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(prints(&log), prints(&again));

    let junit = dbtune(
        folder.path(),
        &["audit", "--format", "junit", "--db", &db.url],
    );
    assert_eq!(junit.code, 1);
    let cases = junit.out.matches("<testcase ").count();
    assert_eq!(cases, dbtune::rules::ALL.len());
    assert_eq!(
        junit.out.matches("<failure ").count(),
        1,
        "only errors fail: {}",
        junit.out
    );

    // Formats that cannot show a command say so before it starts.
    for (arguments, words) in [
        (&["rules", "--format", "sarif"][..], "shows audit only"),
        (
            &[
                "status",
                "--format",
                "junit",
                "--db",
                "postgresql://x@127.0.0.1:1/y",
            ],
            "audit, bench, verify only",
        ),
        (&["bench", "--before", "--format", "junit"], "only records"),
    ] {
        let ran = dbtune(tempfile::tempdir().unwrap().path(), arguments);
        assert!(
            ran.code == 2 && ran.err.contains(words),
            "{arguments:?}: {}",
            ran.err
        );
    }
}

#[test]
fn the_sarif_of_many_findings_with_lines_is_valid() {
    let mut report = report(30);
    report.findings[0].origin = Some(dbtune::model::Origin {
        file: "db/my migrations/1_a.sql".to_owned(),
        line: 3,
    });
    let log: serde_json::Value = serde_json::from_str(&render(&report, "sarif")).unwrap();
    valid(&log);
    let physical = &log["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(
        physical["artifactLocation"]["uri"],
        "db/my%20migrations/1_a.sql"
    );
    assert_eq!(physical["region"]["startLine"], 3);
}

/// By the schema of the standard.
fn valid(log: &serde_json::Value) {
    let schema = serde_json::from_str(include_str!("../schemas/sarif-2.1.0.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap_or_else(|e| panic!("{e}"));
    let errors: Vec<String> = validator
        .iter_errors(log)
        .map(|e| format!("{e} at {}", e.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
}
