//! What the server itself answers under row-level security: for what expressions cannot tell, and to check what they told.

use super::pairing::Subject;
use super::tuples::digest_of_key;
use crate::db::{Limits, Result, Session};
use crate::model::Persona;
use crate::sql::quote;

/// Rows seen, and a digest of them whatever their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Rows {
        count: u64,
        digest: String,
    },
    /// SQLSTATE.
    Refused(String),
    NoTime,
}

/// Reads every row that the persona sees.
pub(super) async fn read(
    session: &Session,
    persona: &Persona,
    subject: &Subject,
    after: bool,
    limits: Limits,
) -> Result<Read> {
    let shared: Vec<String> = subject
        .on(after)
        .columns
        .iter()
        .filter(|c| {
            let other = subject.on(!after);
            other
                .columns
                .iter()
                .any(|o| o.number == c.number || o.name == c.name)
        })
        .map(|c| format!("t.{}::text", quote::ident(&c.name)))
        .collect();
    let sql = format!(
        "select count(*) || ' ' || coalesce(sum(hashtextextended(s.r, 0)::numeric), 0)
         from (select row({})::text as r from {} t) s",
        shared.join(", "),
        subject.on(after).quoted()
    );
    answer(session, persona, subject, &sql, limits).await
}

/// Counts what the persona sees, with a digest of its keys.
pub(super) async fn read_keys(
    session: &Session,
    persona: &Persona,
    subject: &Subject,
    limits: Limits,
) -> Result<Read> {
    let table = &subject.before;
    let sql = format!(
        "select count(*) || ' ' || coalesce(sum({}), 0) from {}",
        digest_of_key(table),
        table.quoted()
    );
    answer(session, persona, subject, &sql, limits).await
}

async fn answer(
    session: &Session,
    persona: &Persona,
    subject: &Subject,
    sql: &str,
    limits: Limits,
) -> Result<Read> {
    let doing = format!("read {} as {}", subject.name(), persona.name);
    session.begin_as(persona, false, limits).await?;
    let texts = session.texts(&doing, sql).await;
    session.end().await?;
    match texts {
        Ok(texts) => {
            let text = texts.concat();
            let (count, digest) = text.split_once(' ').unwrap_or((&text, ""));
            Ok(Read::Rows {
                count: count.parse().unwrap_or_default(),
                digest: digest.to_owned(),
            })
        }
        Err(error) if error.is("57014") => Ok(Read::NoTime),
        Err(error) => match error.sqlstate.clone() {
            Some(state) if !state.starts_with("08") && !state.starts_with("57") => {
                Ok(Read::Refused(state))
            }
            _ => Err(error),
        },
    }
}
