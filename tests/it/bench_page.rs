//! What a comparison looks like in each format, from samples made up here.

use dbtune::bench::{Gate, Measured, judge, report};
use dbtune::model::{Outcome, Report, Samples};
use dbtune::report::{Style, format};
use std::time::Duration;

fn whole(number: u128) -> u64 {
    u64::try_from(number).unwrap()
}

/// A long-tailed distribution about `ms`, the same each time.
fn samples(ms: f64, seed: u64, plan: &str, cut: u64) -> Samples {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        f64::from(u32::try_from(state >> 32).unwrap()) / f64::from(u32::MAX)
    };
    let latencies_ns: Vec<u64> = (0..200)
        .map(|_| {
            let noise: f64 = (0..6).map(|_| uniform()).sum::<f64>() - 3.0;
            whole(Duration::from_secs_f64(ms / 1e3 * (noise * 0.35).exp()).as_nanos())
        })
        .collect();
    Samples {
        draws: (0..200).map(|n| n % 20).collect(),
        blocks: vec![5; 40],
        epochs: vec![10; 4],
        setup_ns: vec![200_000; 200],
        latencies_ns,
        timeouts: cut,
        rows: vec![50; 20],
        digests: vec![7; 20],
        buffers: Some(whole(Duration::from_secs_f64(ms / 10.0).as_millis())),
        plan: Some(plan.to_owned()),
        cost: Some(ms * 10.0),
        ..Samples::default()
    }
}

fn compared() -> Report {
    const SEQ: &str = "Limit\n  Sort\n    Seq Scan on inventory_items\n      SubPlan: Index Only Scan on user_locations";
    const INDEX: &str = "Limit\n  Index Scan on inventory_items using items_location_created_idx\n    InitPlan: Index Only Scan on user_locations";
    let mut all = Vec::new();
    let mut put = |query: &str, before: f64, after: f64, plans: (&str, &str), cut: u64| {
        let seed = all.len() as u64 * 2 + 1;
        all.push(Measured {
            query: query.to_owned(),
            weight: 1.0,
            slo_ms: 100.0,
            before: samples(before, seed, plans.0, cut),
            after: samples(after, seed + 1, plans.1, 0),
            repeatable: true,
            thresholds: None,
            allowed: None,
        });
    };
    put(
        "inventory_page_newest@nurse_small",
        840.0,
        2.3,
        (SEQ, INDEX),
        0,
    );
    put(
        "inventory_page_newest@nurse_big",
        1310.0,
        8.9,
        (SEQ, INDEX),
        30,
    );
    put(
        "inventory_by_category@nurse_small",
        31.0,
        1.4,
        (SEQ, INDEX),
        0,
    );
    put(
        "inventory_by_category@nurse_big",
        44.0,
        5.2,
        (SEQ, INDEX),
        0,
    );
    put(
        "inventory_low_by_supplier@nurse_small",
        4.0,
        9.1,
        (INDEX, SEQ),
        0,
    );
    put(
        "authorizations_of_patient@pharmacist",
        0.42,
        0.42,
        (INDEX, INDEX),
        0,
    );
    put(
        "notifications_unread@nurse_small",
        0.9,
        0.91,
        (INDEX, INDEX),
        0,
    );
    put("a<b>&\"'|@anon", 12.0, 12.1, (SEQ, SEQ), 0);
    let gate = Gate::new(10.0, all.len(), Duration::from_secs(2));
    report(&judge(&all, &gate, true), &gate)
}

fn shown(report: &Report, name: &str, ascii: bool) -> String {
    let style = Style {
        color: false,
        width: 100,
        ascii,
    };
    let mut bytes = Vec::new();
    (format(name).unwrap().render)(report, style, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_table_fits_a_terminal() {
    let report = compared();
    assert_eq!(report.outcome, Outcome::Fail);
    let table = shown(&report, "table", false);
    let wide: Vec<_> = table
        .lines()
        .take_while(|l| !l.starts_with("latencies"))
        .filter(|l| l.chars().count() > 100)
        .collect();
    assert!(wide.is_empty(), "{wide:#?}");
    assert!(
        table.contains('▁') && table.contains('→') && !table.contains('\u{1b}'),
        "{table}"
    );
    let plain = shown(&report, "table", true);
    assert!(plain.is_ascii(), "{plain}");
    assert_eq!(plain.lines().count(), table.lines().count());
}

#[test]
fn markdown_says_what_regressed_first_and_folds_the_rest() {
    let text = shown(&compared(), "markdown", false);
    let (before, folded) = text.split_once("<details>").unwrap();
    assert!(
        before.contains("| inventory_low_by_supplier@nurse_small |"),
        "{text}"
    );
    assert!(
        !before.contains("notifications_unread") && folded.contains("notifications_unread"),
        "{text}"
    );
    assert!(
        folded.contains("```diff") && folded.contains("+   Index Scan on inventory_items"),
        "{text}"
    );
    assert!(
        text.contains("a&lt;b&gt;&amp;") && text.contains("\\|"),
        "{text}"
    );
    assert_eq!(
        text.matches("<details>").count(),
        text.matches("</details>").count()
    );
}

#[test]
fn ci_formats_name_the_query_and_the_reason() {
    let report = compared();
    let xml = shown(&report, "junit", false);
    assert!(xml.contains("tests=\"8\" failures=\"1\""), "{xml}");
    let github = shown(&report, "github", false);
    let first = github.lines().next().unwrap();
    assert!(
        first.starts_with("::error title=inventory_low_by_supplier@nurse_small::slower: p95"),
        "{github}"
    );
    assert!(github.lines().all(|l| l.starts_with("::")), "{github}");
}

#[test]
fn the_page_needs_nothing_else() {
    let page = shown(&compared(), "html", false);
    // For whoever wants to see it.
    std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/bench.html"), &page).unwrap();
    for part in [
        "class=\"step before\"",
        "class=\"heat\"",
        "class=\"changed\"",
        "latency in ms (logarithmic)",
        "<title>",
        "prefers-color-scheme: dark",
        "@media print",
        "a&lt;b&gt;",
    ] {
        assert!(page.contains(part), "{part}");
    }
    for part in [
        "<script", "http:", "https:", "src=", "url(", "NaN", "inf\"", "a<b>",
    ] {
        assert!(!page.contains(part), "{part}");
    }
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    assert!(page.matches("role=\"img\"").count() >= 9);
}

#[test]
fn a_c_locale_asks_for_ascii() {
    let asks = |pairs: &[(&str, &str)]| {
        let env = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        dbtune::cli::is_ascii(&env.collect())
    };
    assert!(asks(&[("LANG", "C")]) && asks(&[("LC_ALL", "POSIX"), ("LANG", "de_DE.UTF-8")]));
    assert!(!asks(&[]) && !asks(&[("LC_ALL", ""), ("LANG", "C.UTF-8")]));
}
