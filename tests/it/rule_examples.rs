//! Every rule's own examples, on a real server: the bad one fires, the good one does not, and where the finding
//! brings a fix, the fix removes it.

use crate::{audit_ground, rule_registry::example, server};
use dbtune::rules::{self, Rule};

/// As many databases are filled at once.
const AT_ONCE: usize = 4;

#[tokio::test]
async fn bad_examples_fire_until_fixed_and_good_ones_do_not() {
    let mut wrong = Vec::new();
    for some in rules::ALL.chunks(AT_ONCE) {
        let mut running = tokio::task::JoinSet::new();
        for rule in some {
            running.spawn(judge(rule));
        }
        for found in running.join_all().await {
            wrong.extend(found);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

async fn judge(rule: &'static Rule) -> Vec<String> {
    let mut wrong = Vec::new();
    if server::server().version().0 < rule.since {
        return wrong;
    }
    let mut fences = vec![
        ("```sql,bad".to_owned(), true),
        ("```sql,good".to_owned(), false),
    ];
    // What newer servers have another cure for.
    let newer = (14..=server::server().version().0).map(|n| format!("```sql,good from {n} on"));
    fences.extend(
        newer
            .filter(|fence| rule.docs.contains(fence.as_str()))
            .map(|fence| (fence, false)),
    );
    for (fence, expected) in fences {
        let Some(script) = example(rule.docs, &fence) else {
            continue;
        };
        let label = rule.id.replace('-', "_");
        let db = audit_ground::database(&label, &script).await;
        let (findings, _) = audit_ground::audit(&db.url).await;
        let own: Vec<_> = findings.iter().filter(|f| f.rule == rule.id).collect();
        if own.is_empty() == expected {
            let all = audit_ground::labels(&findings);
            wrong.push(format!("{} {fence}: {all:?}", rule.id));
        }
        let fixes: Vec<_> = own.iter().filter_map(|f| f.fix.as_ref()).collect();
        if fixes.is_empty() {
            continue;
        }
        let client = db.client().await;
        for fix in &fixes {
            let done = client.batch_execute(fix).await;
            assert!(done.is_ok(), "{}: {fix}: {done:?}", rule.id);
        }
        let (after, _) = audit_ground::audit(&db.url).await;
        if after.iter().any(|f| f.rule == rule.id) {
            wrong.push(format!("{}: still there after {fixes:?}", rule.id));
        }
    }
    wrong
}
