//! One identity in front of every table that the change reaches, on both sides.

use super::agreement::{judge, read_both, steady};
use super::decide::{Answer, Judge};
use super::effective::{CLAUSES, Clause, Effective, effective};
use super::found::{Cell, Verdict};
use super::pairing::Subject;
use super::parents::Parents;
use super::reach::reach;
use super::rights::Rights;
use crate::db::{Limits, Result, Session, Target};
use crate::model::{Catalog, Persona, Volatility};
use crate::sql::scope::worst_volatility;
use crate::sql::tree::parse_expression;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// What all identities share.
pub(super) struct Ground<'a> {
    pub(super) before: &'a Target,
    pub(super) after: &'a Target,
    pub(super) catalogs: (&'a Catalog, &'a Catalog),
    pub(super) subjects: &'a [Subject],
    /// Subjects, by number, that have a policy whose text cannot be trusted.
    pub(super) doubtful: &'a BTreeSet<usize>,
    /// When to stop.
    pub(super) deadline: Instant,
}

/// One identity's cells.
#[derive(Default)]
pub(super) struct Row {
    pub(super) cells: Vec<Cell>,
    /// Which cells rest on small worlds: their expression depends on more than the row and the session, or is no text.
    pub(super) by_worlds: BTreeSet<usize>,
    /// What was decided before and after, for controls and evidence.
    pub(super) decided: BTreeMap<usize, Decision>,
}

/// What a cell rests on.
pub(super) struct Decision {
    pub(super) subject: usize,
    pub(super) effective: (Effective, Effective),
    pub(super) reach: (Option<String>, Option<String>),
    pub(super) answers: (Answer, Answer),
}

impl Ground<'_> {
    pub(super) fn left(&self) -> Option<Duration> {
        self.deadline
            .checked_duration_since(Instant::now())
            .filter(|left| *left > Duration::from_millis(50))
    }

    fn limits(&self) -> Option<Limits> {
        Some(Limits {
            statement: self.left()?,
            lock: Duration::from_secs(10),
        })
    }

    /// Everything that one identity may do. `step` is called for each table.
    pub(super) async fn row(
        &self,
        persona: &Persona,
        rights: (&Rights, &Rights),
        step: &mut dyn FnMut(&Subject),
    ) -> Result<Row> {
        let before = Session::connect(self.before, "verify").await?;
        let after = Session::connect(self.after, "verify").await?;
        let mut row = Row::default();
        let mut parents = (Parents::default(), Parents::default());
        for subject in self.subjects {
            step(subject);
            // FOR ALL asks the same of several commands.
            let mut known: Vec<(Asked, (Answer, Answer))> = Vec::new();
            for clause in CLAUSES {
                let Some(asked) = self.ask(subject, clause, rights) else {
                    continue;
                };
                let cell = |verdict| Cell {
                    identity: persona.name.clone(),
                    table: subject.name(),
                    clause,
                    before: None,
                    after: None,
                    verdict,
                };
                if let Some(verdict) = asked.privilege {
                    row.cells.push(cell(verdict));
                    continue;
                }
                let Some(limits) = self.limits() else {
                    row.cells
                        .push(cell(Verdict::NotShown("there was no time".to_owned())));
                    continue;
                };
                let judges = (
                    Judge {
                        session: &before,
                        persona,
                        after: false,
                        limits,
                    },
                    Judge {
                        session: &after,
                        persona,
                        after: true,
                        limits,
                    },
                );
                let at = row.cells.len();
                if self.doubtful.contains(&subject.number) {
                    let verdict = if clause == Clause::Select {
                        read_both(&judges, subject).await?
                    } else {
                        Verdict::Same
                    };
                    row.by_worlds.insert(at);
                    row.cells.push(cell(verdict));
                    continue;
                }
                let same = known.iter().find(|(k, _)| k.same(&asked));
                let answers = if let Some((_, answers)) = same {
                    answers.clone()
                } else {
                    let (b, a) = tokio::join!(
                        self.decide(&judges.0, &mut parents.0, rights.0, subject, &asked),
                        self.decide(&judges.1, &mut parents.1, rights.1, subject, &asked)
                    );
                    (b?, a?)
                };
                let mut verdict = judge(&judges, subject, clause, &asked, &answers).await?;
                if asked.volatile {
                    row.by_worlds.insert(at);
                    if verdict == Verdict::Same || matches!(verdict, Verdict::Differs(_)) {
                        verdict =
                            steady(&judges, subject, clause, &asked, &answers, verdict).await?;
                    }
                }
                if clause == Clause::Select && !asked.volatile {
                    if is_plain(&answers.0) {
                        parents.0.note(subject, false, &asked.before);
                    }
                    if is_plain(&answers.1) {
                        parents.1.note(subject, true, &asked.after);
                    }
                }
                let mut cell = cell(verdict);
                (cell.before, cell.after) = (rows(&answers.0), rows(&answers.1));
                row.cells.push(cell);
                known.push((asked.clone(), answers.clone()));
                row.decided.insert(
                    at,
                    Decision {
                        subject: subject.number,
                        effective: (asked.before, asked.after),
                        reach: asked.reach,
                        answers,
                    },
                );
            }
        }
        Ok(row)
    }

    /// Through the parents' visible rows where the expression reads any, else as it is.
    async fn decide(
        &self,
        judge: &Judge<'_>,
        parents: &mut Parents,
        rights: &Rights,
        subject: &Subject,
        asked: &Asked,
    ) -> Result<Answer> {
        let (effective, reach) = if judge.after {
            (&asked.after, asked.reach.1.as_deref())
        } else {
            (&asked.before, asked.reach.0.as_deref())
        };
        let columns = |parent: &Subject| -> BTreeSet<String> {
            let all = rights.columns(parent.on(judge.after), Clause::Select);
            all.into_iter().map(str::to_owned).collect()
        };
        if !asked.volatile {
            let other = parents
                .instead(judge, self.subjects, &columns, effective)
                .await?;
            if let Some(other) = other {
                let answer = judge.decide(subject, &other, reach).await?;
                if is_plain(&answer) || answer == Answer::NoTime {
                    return Ok(answer);
                }
            }
        }
        judge.decide(subject, effective, reach).await
    }

    /// What is asked of a clause; `None` where the role has no privilege for it on either side.
    fn ask(&self, subject: &Subject, clause: Clause, rights: (&Rights, &Rights)) -> Option<Asked> {
        let columns = (
            rights.0.columns(&subject.before, clause),
            rights.1.columns(&subject.after, clause),
        );
        if columns.0.is_empty() && columns.1.is_empty() {
            return None;
        }
        let kept = |names: &BTreeSet<&str>, after: bool| -> BTreeSet<i16> {
            let table = subject.on(after);
            let all = table
                .columns
                .iter()
                .filter(|c| names.contains(c.name.as_str()));
            all.map(|c| c.number).collect()
        };
        // A column that one side alone has is no matter of privileges.
        let (b, a) = (kept(&columns.0, false), kept(&columns.1, true));
        let common = |numbers: &BTreeSet<i16>, other: bool| -> BTreeSet<i16> {
            let there = subject.on(other);
            numbers
                .iter()
                .copied()
                .filter(|n| there.column(*n).is_some())
                .collect()
        };
        let privilege = (common(&b, true) != common(&a, false)).then_some(Verdict::Privilege {
            before: b.len(),
            after: a.len(),
        });
        let before = effective(
            &subject.before,
            clause,
            &rights.0.roles,
            rights.0.exempt(&subject.before),
        );
        let after = effective(
            &subject.after,
            clause,
            &rights.1.roles,
            rights.1.exempt(&subject.after),
        );
        let using = |after: bool| {
            let (table, rights) = if after {
                (&subject.after, rights.1)
            } else {
                (&subject.before, rights.0)
            };
            effective(table, Clause::Update, &rights.roles, rights.exempt(table))
        };
        let reach = (
            reach(
                subject,
                false,
                clause,
                &columns.0,
                &using(false),
                self.catalogs.0,
            ),
            reach(
                subject,
                true,
                clause,
                &columns.1,
                &using(true),
                self.catalogs.1,
            ),
        );
        let volatile =
            is_volatile(&before, self.catalogs.0) || is_volatile(&after, self.catalogs.1);
        Some(Asked {
            before,
            after,
            reach,
            privilege,
            volatile,
        })
    }
}

/// What is asked of both sides.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) before: Effective,
    pub(super) after: Effective,
    /// Which made-up rows the role can bring about.
    pub(super) reach: (Option<String>, Option<String>),
    privilege: Option<Verdict>,
    volatile: bool,
}

impl Asked {
    fn same(&self, other: &Self) -> bool {
        self.before == other.before && self.after == other.after && self.reach == other.reach
    }
}

/// Whether the expression calls anything that is declared VOLATILE, or is not understood.
pub(super) fn is_volatile(effective: &Effective, catalog: &Catalog) -> bool {
    let Effective::Tested(text) = effective else {
        return false;
    };
    parse_expression(text).map_or(true, |node| {
        worst_volatility(&node, catalog) == Volatility::Volatile
    })
}

/// Whether every row was decided, and none raised an error.
fn is_plain(answer: &Answer) -> bool {
    match answer {
        Answer::Decided(d) => {
            d.ends.is_none() && d.there.raised.is_none() && d.possible.raised.is_none()
        }
        Answer::Refused(_) | Answer::NoTime => false,
    }
}

fn rows(answer: &Answer) -> Option<u64> {
    match answer {
        Answer::Decided(decided) if decided.ends.is_none() => Some(decided.there.admitted),
        _ => None,
    }
}
