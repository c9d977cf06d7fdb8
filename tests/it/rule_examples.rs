//! Every rule's own examples, on a real server: the bad one fires, the good one does not.

use crate::{audit_ground, rule_registry::example};
use dbtune::rules;

#[tokio::test]
async fn bad_examples_fire_and_good_ones_do_not() {
    let mut wrong = Vec::new();
    for rule in rules::ALL {
        for (fence, expected) in [("```sql,bad", true), ("```sql,good", false)] {
            let script = example(rule.docs, fence).unwrap() + "\n";
            let label = rule.id.replace('-', "_");
            let db = audit_ground::database(&label, &script).await;
            let (findings, _) = audit_ground::audit(&db.url).await;
            if findings.iter().any(|f| f.rule == rule.id) != expected {
                wrong.push(format!(
                    "{} {fence}: {:?}",
                    rule.id,
                    audit_ground::labels(&findings)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
