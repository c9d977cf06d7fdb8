//! Many expressions over all tuples of a table at once, as one identity.

use super::found::{Access, By, Kinds, Share};
use super::questions::{Asked, Expression, Part, Questions};
use super::weave::digest_of_all;
use crate::db::{Error, Limits, Result, Session};
use crate::model::Persona;
use crate::sql::quote;
use crate::verify::decide::raised_by_expression;
use crate::verify::effective::Effective;
use crate::verify::pairing::Subject;
use crate::verify::tuples::relation;

/// Tuples of which the expressions say the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    kind: Kind,
    /// What each expression says, then each condition.
    bits: Vec<bool>,
    rows: u64,
    /// Of their keys.
    keys: i128,
    /// Places of made-up rows.
    made: Vec<usize>,
    /// SQLSTATE, where it raised.
    raised: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    There,
    Possible,
    /// Made up, and a constraint refuses it.
    Refused,
}

/// Who asks, about what.
pub(super) struct Asker<'a> {
    pub(super) session: &'a Session,
    pub(super) persona: &'a Persona,
    pub(super) subject: &'a Subject,
    pub(super) limits: Limits,
    /// Digests of the made-up rows.
    pub(super) labels: &'a [u128],
}

/// What came of asking.
pub(super) enum Answer {
    Groups(Vec<Group>),
    /// SQLSTATE: it cannot be evaluated by this role at all.
    Refused(String),
    NoTime,
}

const KIND: &str = "case when t.dbtune_o = 0 then 0 when t.dbtune_ok then 1 else 2 end";
const MADE: &str = "case when t.dbtune_o = 1 then pg_catalog.substr(t.dbtune_h, 2)::int end";

impl Asker<'_> {
    /// All clauses by one statement; where that raises, clause by clause, because a policy that raises may never be asked.
    pub(super) async fn ask(&self, questions: &Questions) -> Result<Vec<(Asked, Answer)>> {
        let all = self
            .groups(&questions.expressions, &questions.reaches)
            .await;
        let groups = match all {
            Ok(groups) => groups,
            Err(error) if error.is("57014") => {
                let tested = questions.asked.iter().cloned();
                return Ok(tested.map(|a| (a, Answer::NoTime)).collect());
            }
            Err(error) if is_raised(&error) => return self.one_by_one(questions).await,
            Err(error) => return Err(error),
        };
        let asked = questions.asked.iter().cloned();
        Ok(asked.map(|a| (a, Answer::Groups(groups.clone()))).collect())
    }

    async fn one_by_one(&self, questions: &Questions) -> Result<Vec<(Asked, Answer)>> {
        let mut all: Vec<(Asked, Answer)> = Vec::new();
        for asked in &questions.asked {
            let mut asked = asked.clone();
            if asked.by != By::Policies {
                all.push((asked, Answer::Groups(Vec::new())));
                continue;
            }
            let expression = [Expression {
                text: asked.effective.sql().to_owned(),
                of_those_there: !asked.clause.of_new_rows(),
            }];
            let reaches: Vec<String> = asked
                .reach
                .and_then(|at| questions.reaches.get(at).cloned())
                .into_iter()
                .collect();
            asked.reach = asked.reach.map(|_| 0);
            let answer = match self.groups(&expression, &reaches).await {
                Ok(groups) => Answer::Groups(groups),
                Err(error) if error.is("57014") => Answer::NoTime,
                Err(error) if error.is("42501") => Answer::Refused("42501".to_owned()),
                Err(error) if is_raised(&error) => self.row_by_row(&asked).await?,
                Err(error) => return Err(error),
            };
            // The policies together are one expression now.
            for part in asked.permissive.iter_mut().chain(&mut asked.restrictive) {
                part.at = usize::MAX;
            }
            all.push((asked, answer));
        }
        Ok(all)
    }

    async fn groups(&self, expressions: &[Expression], reaches: &[String]) -> Result<Vec<Group>> {
        let (relation, alias) = (relation(self.subject), self.subject.before.alias());
        let decided = expressions.iter().map(|e| {
            let spared = if e.of_those_there {
                String::new()
            } else {
                format!("when {alias}.dbtune_o = 0 then '0' ")
            };
            format!("case {spared}when ({}) then '1' else '0' end", e.text)
        });
        let brought = reaches.iter().map(|r| {
            format!("case when {alias}.dbtune_o = 0 then '1' when ({r}) then '1' else '0' end")
        });
        let bits: Vec<String> = decided.chain(brought).collect();
        let bits = if bits.is_empty() {
            "''".to_owned()
        } else {
            bits.join(" || ")
        };
        // OFFSET 0 keeps the decision an expression of each tuple: inside an aggregate the planner would take it for something
        // that is evaluated once, and choose its sub-selects accordingly.
        let sql = format!(
            "select json_build_array({KIND}, dbtune_b, coalesce(sum(dbtune_n), 0), coalesce(sum(dbtune_k), 0)::text,
               coalesce(json_agg({MADE}) filter (where t.dbtune_o = 1), '[]'))::text
             from (select dbtune_n, dbtune_k, dbtune_o, dbtune_ok, dbtune_h, {bits} as dbtune_b
               from (select * from dbtune_verify.{relation}) as {alias} offset 0) t
             group by {KIND}, dbtune_b"
        );
        self.read(&sql, false).await
    }

    /// For an expression that raises for some rows.
    async fn row_by_row(&self, asked: &Asked) -> Result<Answer> {
        let (relation, alias) = (relation(self.subject), self.subject.before.alias());
        let sql = format!(
            "select json_build_array({KIND}, x.d, coalesce(sum(t.dbtune_n), 0), coalesce(sum(t.dbtune_k), 0)::text,
               coalesce(json_agg({MADE}) filter (where t.dbtune_o = 1), '[]'))::text
             from dbtune_verify.decide({}, {}, {}) x
             join dbtune_verify.{relation} t on t.dbtune_h = x.h and t.dbtune_o = x.o
             group by {KIND}, x.d",
            quote::literal(&relation),
            quote::literal(&alias),
            quote::literal(asked.effective.sql())
        );
        match self.read(&sql, true).await {
            Ok(groups) => Ok(Answer::Groups(groups)),
            Err(error) if error.is("57014") => Ok(Answer::NoTime),
            Err(error) if is_raised(&error) => {
                Ok(Answer::Refused(error.sqlstate.unwrap_or_default()))
            }
            Err(error) => Err(error),
        }
    }

    async fn read(&self, sql: &str, by_row: bool) -> Result<Vec<Group>> {
        let doing = format!("decide on {} as {}", self.subject.name(), self.persona.name);
        self.session
            .begin_as(self.persona, false, self.limits)
            .await?;
        let texts = self.session.texts(&doing, sql).await;
        self.session.end().await?;
        let mut groups = Vec::new();
        for text in texts? {
            let (kind, bits, rows, keys, made): (u8, String, u64, String, Vec<usize>) =
                serde_json::from_str(&text).map_err(|e| Error::new(&doing, e.to_string()))?;
            let raised = (by_row && bits.len() > 1).then(|| bits.clone());
            groups.push(Group {
                kind: match kind {
                    0 => Kind::There,
                    1 => Kind::Possible,
                    _ => Kind::Refused,
                },
                bits: match &raised {
                    // Row by row says nothing of what the role can bring about: everything counts.
                    _ if by_row => vec![bits == "1", true],
                    _ => bits.chars().map(|c| c == '1').collect(),
                },
                rows,
                keys: keys.parse().unwrap_or_default(),
                made,
                raised,
            });
        }
        Ok(groups)
    }

    /// What the groups say of one clause. `expressions` is how many bits are of policies.
    pub(super) fn tell(
        &self,
        asked: &Asked,
        expressions: usize,
        groups: &[Group],
        cell: &mut Access,
    ) {
        let together = asked.permissive.iter().all(|p| p.at == usize::MAX);
        let expressions = if together { 1 } else { expressions };
        let says = |group: &Group, at: usize| group.bits.get(at).copied().unwrap_or(false);
        let permitted = |g: &Group| asked.permissive.iter().any(|p| says(g, p.at));
        let admitted = |g: &Group| {
            if together {
                says(g, 0)
            } else {
                permitted(g) && asked.restrictive.iter().all(|p| says(g, p.at))
            }
        };
        let reachable = |g: &&Group| {
            g.kind == Kind::Possible && asked.reach.is_none_or(|at| says(g, expressions + at))
        };
        let there = || groups.iter().filter(|g| g.kind == Kind::There);
        let possible = || groups.iter().filter(reachable);
        let rows = |of: &dyn Fn(&Group) -> bool| there().filter(|g| of(g)).map(|g| g.rows).sum();
        let kinds = |of: &dyn Fn(&Group) -> bool| -> u64 {
            possible()
                .filter(|g| of(g))
                .map(|g| g.made.len() as u64)
                .sum()
        };
        let is_of_those_there = !asked.clause.of_new_rows();
        if is_of_those_there {
            cell.rows = Some(rows(&admitted));
            let keys = there().filter(|g| admitted(g)).map(|g| g.keys);
            cell.digest = Some(keys.fold(0_i128, i128::wrapping_add).to_string());
            cell.ends = there().find_map(|g| g.raised.clone());
        }
        let labels = possible().filter(|g| admitted(g)).flat_map(|g| &g.made);
        cell.kinds = Some(Kinds {
            admitted: kinds(&admitted),
            all: kinds(&|_| true),
            digest: digest_of_all(labels.filter_map(|at| self.labels.get(*at).copied())),
        });
        let share = |part: &Part, of: &dyn Fn(&Group) -> bool| Share {
            policy: part.policy.clone(),
            rows: (!together && is_of_those_there).then(|| rows(of)),
            kinds: (!together).then(|| kinds(of)),
        };
        let permissive = asked.permissive.iter();
        cell.admits = permissive
            .map(|p| share(p, &|g| admitted(g) && says(g, p.at)))
            .collect();
        let restrictive = asked.restrictive.iter();
        cell.takes = restrictive
            .map(|p| share(p, &|g| permitted(g) && !says(g, p.at)))
            .collect();
    }
}

/// For what needs no question.
pub(super) fn untested(effective: &Effective, (rows, digest): (u64, &str), cell: &mut Access) {
    match effective {
        Effective::All => {
            cell.rows = Some(rows);
            cell.digest = Some(digest.to_owned());
        }
        Effective::Nothing => {
            cell.rows = Some(0);
            cell.digest = Some("0".to_owned());
        }
        Effective::Tested(_) => {}
    }
}

fn is_raised(error: &Error) -> bool {
    error.sqlstate.as_deref().is_some_and(raised_by_expression)
}
