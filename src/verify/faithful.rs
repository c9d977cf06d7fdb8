//! Whether a policy's text says what its tree says.
//!
//! A text is not the tree: `NULLIF(citext, …)`, CASE x WHEN and IS DISTINCT FROM are printed without their operator, and may
//! come back with another one. What does not come back as it was is read from the table itself, under row-level security.

use super::pairing::Subject;
use super::side::{Policy, policies_now};
use crate::db::{Result, Session};
use crate::sql::quote;

/// The policy whose text cannot be trusted, and why.
pub(super) type Doubt = (String, &'static str);

/// The policies of `subject` on one clone that cannot be decided by their text. Nothing is kept of the try.
pub(super) async fn doubts(clone: &Session, subject: &Subject, after: bool) -> Result<Vec<Doubt>> {
    let table = subject.on(after);
    let mut found: Vec<Doubt> = Vec::new();
    for policy in &table.policies {
        if policy.whole_row {
            found.push((policy.name.clone(), "reads the row as a whole"));
        } else if policy.reads.iter().any(|n| *n < 0) {
            found.push((policy.name.clone(), "reads a system column"));
        }
    }
    clone
        .execute(
            "read a policy's text",
            "begin read write; set local search_path = pg_catalog; set local lock_timeout = '10s'",
        )
        .await?;
    let read = again(clone, subject, after).await;
    clone.end().await?;
    for (policy, copy) in read? {
        if copy.is_none_or(|copy| copy.trees != policy.trees) {
            found.push((
                policy.name.clone(),
                "comes back from its text as another expression",
            ));
        }
    }
    Ok(found)
}

async fn again<'a>(
    clone: &Session,
    subject: &'a Subject,
    after: bool,
) -> Result<Vec<(&'a Policy, Option<Policy>)>> {
    let table = subject.on(after);
    let name = |at: usize| format!("dbtune again {at}");
    for (at, policy) in table.policies.iter().enumerate() {
        let mut sql = format!(
            "create policy {} on {}",
            quote::ident(&name(at)),
            table.quoted()
        );
        if policy.using.is_none() {
            sql.push_str(" for insert");
        }
        for (clause, text) in [("using", &policy.using), ("with check", &policy.check)] {
            if let Some(text) = text {
                sql = format!("{sql} {clause} ({text})");
            }
        }
        clone.execute("read a policy's text", &sql).await?;
    }
    let now = policies_now(clone, table.oid).await?;
    Ok(table
        .policies
        .iter()
        .enumerate()
        .map(|(at, policy)| (policy, now.iter().find(|p| p.name == name(at)).cloned()))
        .collect())
}
