//! What the expressions say of single tuples, and of all rows together.

use super::ask::{attempt, softly};
use super::expect::{Expect, Outcome};
use crate::db::{Result, Session};
use crate::sql::quote;
use crate::verify::effective::{CLAUSES, Clause, Effective};
use crate::verify::pairing::Subject;
use crate::verify::tuples;
use std::collections::{BTreeMap, BTreeSet};

/// Made-up rows of each kind, admitted and refused, that are inserted.
const PICKS: usize = 5;

/// What is asked of one side: the clauses that an expression decides, with it.
pub(super) type Asked<'a> = BTreeMap<Clause, &'a Effective>;

/// What an expression says of a tuple.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Say {
    Yes,
    No,
    /// SQLSTATE.
    Raises(String),
}

impl Say {
    /// `None` where rows of one digest are decided differently: they differ in a column that one side alone has.
    fn read(outcome: &Outcome) -> Option<Self> {
        match outcome {
            Outcome::Text(text) if text == "1" => Some(Self::Yes),
            Outcome::Text(text) if text == "0" => Some(Self::No),
            Outcome::Refused => Some(Self::Raises("42501".to_owned())),
            Outcome::Failed(state) if state != "57014" => Some(Self::Raises(state.clone())),
            _ => None,
        }
    }
}

/// By tuple and clause. What is not in it is not known.
#[derive(Clone, Debug, Default)]
pub(super) struct Says(BTreeMap<(String, Clause), Say>);

impl Says {
    pub(super) fn of(&self, hash: &str, clause: Clause) -> Option<&Say> {
        self.0.get(&(hash.to_owned(), clause))
    }

    pub(super) fn is(&self, hash: &str, clause: Clause, say: &Say) -> bool {
        self.of(hash, clause) == Some(say)
    }

    /// What becomes of a row where each clause that does not admit it hides it.
    pub(super) fn hides(&self, hash: &str, clauses: &[Clause]) -> Option<Expect> {
        match self.all(hash, clauses)? {
            Say::Yes => Some(Expect::Rows(1)),
            Say::No => Some(Expect::Rows(0)),
            Say::Raises(state) => Some(Expect::Raises(state)),
        }
    }

    /// What becomes of a row where each clause that does not admit it refuses it.
    pub(super) fn refuses(&self, hash: &str, clauses: &[Clause]) -> Option<Expect> {
        match self.all(hash, clauses)? {
            Say::Yes => Some(Expect::Admitted),
            Say::No => Some(Expect::Refused),
            Say::Raises(state) => Some(Expect::Raises(state)),
        }
    }

    /// All together; not known where one raises and another does not admit, because the order decides then.
    fn all(&self, hash: &str, clauses: &[Clause]) -> Option<Say> {
        let mut result = Say::Yes;
        for clause in clauses {
            result = match (result, self.of(hash, *clause)?) {
                (one, Say::Yes) => one,
                (Say::Yes | Say::No, Say::No) => Say::No,
                (Say::Yes, Say::Raises(state)) => Say::Raises(state.clone()),
                (Say::No, Say::Raises(_)) | (Say::Raises(_), _) => return None,
            };
        }
        Some(result)
    }
}

/// One expression and the clauses that ask it, as FOR ALL makes them.
fn expressions<'a>(asked: &Asked<'a>) -> Vec<(&'a str, Vec<Clause>)> {
    let mut all: Vec<(&str, Vec<Clause>)> = Vec::new();
    for clause in CLAUSES {
        let Some(sql) = asked.get(&clause).map(|e| e.sql()) else {
            continue;
        };
        match all.iter_mut().find(|(known, _)| *known == sql) {
            Some((_, clauses)) => clauses.push(clause),
            None => all.push((sql, vec![clause])),
        }
    }
    all
}

/// What the expressions say of the tuples with these digests, as the session's role.
pub(super) async fn says(
    session: &Session,
    subject: &Subject,
    after: bool,
    asked: &Asked<'_>,
    hashes: &BTreeSet<String>,
) -> Result<Says> {
    let doing = format!("decide on rows of {}", subject.name());
    let (place, alias) = (tuples::place(subject), subject.on(after).alias());
    let expressions = expressions(asked);
    let quoted: Vec<String> = hashes.iter().map(|h| quote::literal(h)).collect();
    let list = quoted.join(", ");
    if hashes.is_empty() || expressions.is_empty() {
        return Ok(Says::default());
    }
    let arms: Vec<String> = expressions
        .iter()
        .enumerate()
        .map(|(at, (expression, _))| {
            format!(
                "(select {at} as e, dbtune_h as h, case when ({expression}) then '1' else '0' end as d
                  from (select * from {place} where dbtune_h = any (array[{list}])) as {alias} offset 0)"
            )
        })
        .collect();
    let sql = format!(
        "select json_build_array(e, h, string_agg(distinct d, ''))::text from ({}) said group by e, h",
        arms.join(" union all ")
    );
    let mut found = Says::default();
    let mut keep = |at: usize, hash: &str, outcome: &Outcome| {
        if let (Some((_, clauses)), Some(say)) = (expressions.get(at), Say::read(outcome)) {
            for clause in clauses {
                found.0.insert((hash.to_owned(), *clause), say.clone());
            }
        }
    };
    if let Some(texts) = softly(session, &doing, &sql).await? {
        for text in texts {
            if let Ok((at, hash, said)) = serde_json::from_str::<(usize, String, String)>(&text) {
                keep(at, &hash, &Outcome::Text(said));
            }
        }
        return Ok(found);
    }
    // One of them raises: each by itself.
    let mut statements = Vec::new();
    let mut keys = Vec::new();
    for (at, (expression, _)) in expressions.iter().enumerate() {
        for (hash, quoted) in hashes.iter().zip(&quoted) {
            keys.push((at, hash));
            statements.push(format!(
                "select string_agg(distinct d, '') from (select case when ({expression}) then '1' else '0' end as d
                 from (select * from {place} where dbtune_h = {quoted}) as {alias} offset 0) said"
            ));
        }
    }
    let texts: Vec<&str> = statements.iter().map(String::as_str).collect();
    let outcomes = attempt(session, &doing, &texts, 2000).await?;
    for ((at, hash), outcome) in keys.into_iter().zip(outcomes.unwrap_or_default()) {
        keep(at, hash, &outcome);
    }
    Ok(found)
}

/// Made-up rows, some that `effective` admits and some that it refuses, of those within `reach`.
pub(super) async fn picks(
    session: &Session,
    subject: &Subject,
    after: bool,
    effective: &Effective,
    reach: Option<&str>,
) -> Result<Vec<String>> {
    let doing = format!("choose made-up rows of {}", subject.name());
    let (place, alias) = (tuples::place(subject), subject.on(after).alias());
    let (expression, reach) = (effective.sql(), reach.unwrap_or("true"));
    // OFFSET 0 keeps the two conditions out of the scan: it stops as soon as there are enough.
    let arm = |wanted: &str| {
        format!(
            "(select h from (
                select dbtune_h as h, case when ({reach}) then ({expression}) is true end as d
                from (select * from {place} where dbtune_o = 1 and dbtune_ok order by md5(dbtune_h)) as {alias} offset 0) made
              where {wanted} limit {PICKS})"
        )
    };
    let sql = format!("{} union all {}", arm("d"), arm("not d"));
    Ok(softly(session, &doing, &sql).await?.unwrap_or_default())
}

/// Rows of the whole table that clauses admit, where none raises.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Whole {
    pub(super) select: Option<u64>,
    pub(super) delete: Option<u64>,
    /// Chosen by an UPDATE that reads nothing; and of them those that it may leave, and may not.
    pub(super) update: Option<(u64, u64)>,
}

pub(super) async fn whole(
    session: &Session,
    subject: &Subject,
    after: bool,
    asked: &Asked<'_>,
) -> Result<Whole> {
    let doing = format!("decide on the rows of {}", subject.name());
    let (place, alias) = (tuples::place(subject), subject.on(after).alias());
    let test = |clause: Clause| match asked.get(&clause) {
        Some(effective) => format!("({}) is true", effective.sql()),
        None => "null::boolean".to_owned(),
    };
    let sql = format!(
        "select json_build_array(coalesce(sum(n) filter (where s), 0), coalesce(sum(n) filter (where d), 0),
           coalesce(sum(n) filter (where u and c), 0), coalesce(sum(n) filter (where u and not c), 0))::text
         from (select dbtune_n as n, {} as s, {} as d, {} as u, {} as c
           from (select * from {place} where dbtune_o = 0) as {alias} offset 0) said",
        test(Clause::Select),
        test(Clause::Delete),
        test(Clause::Update),
        test(Clause::UpdateCheck)
    );
    let texts = softly(session, &doing, &sql).await?.unwrap_or_default();
    let Ok((select, delete, kept, refused)) =
        serde_json::from_str::<(u64, u64, u64, u64)>(&texts.concat())
    else {
        return Ok(Whole::default());
    };
    let has = |clause: Clause| asked.contains_key(&clause);
    let updates = has(Clause::Update) && has(Clause::UpdateCheck);
    Ok(Whole {
        select: has(Clause::Select).then_some(select),
        delete: has(Clause::Delete).then_some(delete),
        update: updates.then_some((kept, refused)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Clause::{Delete, Insert, Select};

    fn says(all: &[(Clause, Say)]) -> Says {
        let all = all
            .iter()
            .map(|(c, say)| (("h".to_owned(), *c), say.clone()));
        Says(all.collect())
    }

    #[test]
    fn clauses_add_up() {
        let raises = || Say::Raises("22P02".to_owned());
        let expect = |says: &Says| says.hides("h", &[Delete, Select]);
        assert_eq!(
            expect(&says(&[(Delete, Say::Yes)])),
            None,
            "one is not known"
        );
        let yes_no = says(&[(Delete, Say::Yes), (Select, Say::No)]);
        assert_eq!(expect(&yes_no), Some(Expect::Rows(0)));
        let one = says(&[(Delete, Say::Yes), (Select, raises())]);
        assert_eq!(expect(&one), Some(Expect::Raises("22P02".to_owned())));
        let either = says(&[(Delete, Say::No), (Select, raises())]);
        assert_eq!(expect(&either), None, "the order decides");
        let both = says(&[(Insert, Say::Yes), (Select, Say::Yes)]);
        assert_eq!(both.refuses("h", &[Insert, Select]), Some(Expect::Admitted));
    }
}
