//! The rows a persona sees: counted and digested on the server, all of them or a sample.

use super::subject::Subject;
use super::{Access, Answer, Look, Visibility, refusal};
use crate::db::{Limits, Result, Session};
use crate::model::Persona;
use std::time::{Duration, Instant};

/// Pages spread evenly over the table that a sample takes first.
const PAGES: u32 = 24;
/// Rows in a first, small sample that tells how long all of them would take.
const PROBE_ROWS: usize = 400;
/// Rows seen after the change that join the sample, because they are what the change is about.
const VISIBLE: usize = 2000;
/// As many where that takes too long.
const FEW_VISIBLE: usize = 20;

/// Places of rows (`ctid`), equal on both sides because one database is a copy of the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// Spread over the table.
    pub(super) spread: Vec<String>,
    /// Seen by the persona after the change.
    pub(super) visible: Vec<String>,
}

/// Compares the rows seen, and on a sample those that may be locked for an update. Returns the sample.
pub(super) async fn compare(look: Look<'_>, found: &mut Visibility) -> Result<Sample> {
    let sample = sample(look).await?;
    let probe = Places::of(sample.spread.iter().take(PROBE_ROWS));
    let slow = slowest(look, &probe).await?;
    let total = total_rows(&look.sides.before, look.subject).await?;
    let whole = scaled(slow, total, sample.spread.len().min(PROBE_ROWS));
    let fits = whole <= look.limits.statement;
    let mut answers = None;
    if fits {
        let (b, a) = both(look, Access::Read, None).await?;
        if b != Answer::TimedOut && a != Answer::TimedOut {
            answers = Some((false, b, a));
        }
    }
    let (sampled, before, after) = if let Some(answers) = answers {
        answers
    } else {
        let places = Places::of(sample.spread.iter().chain(&sample.visible));
        let (b, a) = both(look, Access::Read, Some(&places)).await?;
        (true, b, a)
    };
    found
        .seen
        .push(look.seen(Access::Read, sampled, before, after));
    Ok(sample)
}

/// The same for rows that may be locked for an update; it writes, so it is for clones alone.
pub(super) async fn compare_locks(
    look: Look<'_>,
    sample: &Sample,
    found: &mut Visibility,
) -> Result<()> {
    let places = Places::of(sample.spread.iter().take(PROBE_ROWS).chain(&sample.visible));
    let (before, after) = both(look, Access::Lock, Some(&places)).await?;
    found
        .seen
        .push(look.seen(Access::Lock, true, before, after));
    Ok(())
}

/// A literal array of row places.
struct Places(String);

impl Places {
    fn of<'a>(places: impl Iterator<Item = &'a String>) -> Self {
        let quoted: Vec<_> = places.map(|p| format!("\"{p}\"")).collect();
        Self(format!("'{{{}}}'::tid[]", quoted.join(",")))
    }
}

async fn both(look: Look<'_>, access: Access, places: Option<&Places>) -> Result<(Answer, Answer)> {
    let (before, after) = tokio::join!(
        answer(&look.sides.before, look, access, places),
        answer(&look.sides.after, look, access, places)
    );
    Ok((before?, after?))
}

async fn answer(
    session: &Session,
    look: Look<'_>,
    access: Access,
    places: Option<&Places>,
) -> Result<Answer> {
    let subject = look.subject;
    let only = places.map_or_else(String::new, |p| format!(" where t.ctid = any ({})", p.0));
    let suffix = if access == Access::Lock {
        " for update"
    } else {
        ""
    };
    let sql = format!(
        "select count(*) || ' ' || coalesce(sum(hashtextextended(s.r, 0)::numeric), 0)
         from (select {} as r from {} t{only}{suffix}) s",
        subject.row(),
        subject.quoted()
    );
    session
        .begin_as(look.persona, access == Access::Read, look.limits)
        .await?;
    let doing = format!(
        "count the rows of {} as {}",
        subject.name, look.persona.name
    );
    let texts = session.texts(&doing, &sql).await;
    session.end().await?;
    match texts {
        Ok(texts) => {
            let text = texts.concat();
            let (count, digest) = text.split_once(' ').unwrap_or((&text, ""));
            Ok(Answer::Rows {
                count: count.parse().unwrap_or_default(),
                digest: digest.to_owned(),
            })
        }
        Err(error) => refusal(error),
    }
}

/// How long the slower side takes for a few rows.
async fn slowest(look: Look<'_>, places: &Places) -> Result<Duration> {
    let start = Instant::now();
    let (before, after) = both(look, Access::Read, Some(places)).await?;
    let timed_out = before == Answer::TimedOut || after == Answer::TimedOut;
    Ok(if timed_out {
        Duration::MAX
    } else {
        start.elapsed()
    })
}

fn scaled(probe: Duration, total: u64, rows: usize) -> Duration {
    let rows = u32::try_from(rows.max(1)).unwrap_or(u32::MAX);
    // A part of the probe is set-up, which does not grow.
    let each = probe.saturating_sub(Duration::from_millis(10)) / rows;
    each.saturating_mul(u32::try_from(total).unwrap_or(u32::MAX))
}

async fn total_rows(session: &Session, subject: &Subject) -> Result<u64> {
    let name = crate::sql::quote::literal(&subject.quoted());
    let sql = format!(
        "select greatest(sum(greatest(c.reltuples, 0)), 0)::bigint::text from pg_class c
         where c.relkind = 'r' and c.oid in (select {name}::regclass union select relid from pg_partition_tree({name}::regclass))"
    );
    let texts = session.texts("estimate the rows of a table", &sql).await?;
    Ok(texts.concat().parse().unwrap_or_default())
}

async fn sample(look: Look<'_>) -> Result<Sample> {
    let subject = look.subject;
    let name = crate::sql::quote::literal(&subject.quoted());
    // Line pointers of pages spread evenly; places without a row are harmless.
    let spread = format!(
        "select format('(%s,%s)', page, line) from
           (select greatest(max(pg_relation_size(c.oid) / current_setting('block_size')::int), 1) as pages,
              least(greatest(ceil(max(c.reltuples / greatest(c.relpages, 1))), 30), 150)::int as lines from pg_class c
            where c.oid in (select {name}::regclass union select relid from pg_partition_tree({name}::regclass))) s,
           generate_series(0, least(pages, {PAGES}) - 1) k,
           lateral (select (k * pages / least(pages, {PAGES}))::bigint as page) p,
           generate_series(1, lines) line
         order by line, page"
    );
    let spread = look
        .sides
        .before
        .texts("choose rows to compare", &spread)
        .await?;
    let mut visible = Vec::new();
    for limit in [VISIBLE, FEW_VISIBLE] {
        let sql = format!(
            "select t.ctid::text from {} t limit {limit}",
            subject.quoted()
        );
        visible = as_persona(&look.sides.after, look.persona, look.limits, &sql).await?;
        if !visible.is_empty() {
            break;
        }
    }
    Ok(Sample { spread, visible })
}

/// Nothing where the persona may not look.
async fn as_persona(
    session: &Session,
    persona: &Persona,
    limits: Limits,
    sql: &str,
) -> Result<Vec<String>> {
    session.begin_as(persona, true, limits).await?;
    let texts = session.texts("choose rows to compare", sql).await;
    session.end().await?;
    match texts {
        Ok(texts) => Ok(texts),
        Err(error) => refusal(error).map(|_| Vec::new()),
    }
}
