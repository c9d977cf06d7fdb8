//! What came of a statement, and whether it is what was expected.

use std::collections::BTreeSet;

/// What the server did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Rows(u64),
    Text(String),
    /// A constraint of the table stopped it, after the policies had let it pass.
    Stopped(String),
    /// A policy refused the row.
    Refused,
    /// SQLSTATE of anything else: a privilege, a time limit, a policy that raises.
    Failed(String),
}

impl Outcome {
    pub(super) fn read(text: &str) -> Self {
        if let Some(said) = text.strip_prefix("text ") {
            return Self::Text(said.to_owned());
        }
        if let Some(count) = text.strip_prefix("rows ") {
            return Self::Rows(count.parse().unwrap_or_default());
        }
        let failed = text.trim_start_matches("! ");
        match failed.split_once(' ') {
            Some((state, "after")) => Self::Stopped(state.to_owned()),
            Some((state, _)) => Self::Failed(state.to_owned()),
            None if failed == "42501" => Self::Refused,
            None => Self::Failed(failed.to_owned()),
        }
    }

    /// For people, without a row's value.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Rows(count) => format!("touched {count} rows"),
            Self::Text(_) => "gave other rows".to_owned(),
            Self::Stopped(state) => format!("let it pass as far as a constraint ({state})"),
            Self::Refused => "refused it (42501)".to_owned(),
            Self::Failed(state) => format!("ended it with {state}"),
        }
    }
}

/// What the expressions say the server will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// So many rows are touched, unless there are some and a constraint stops it.
    Rows(u64),
    /// No policy refuses it, however many rows are touched.
    Admitted,
    /// A policy refuses it.
    Refused,
    /// A policy refuses one row, if no constraint stops another one before.
    RefusedOrStopped,
    /// A policy raises this SQLSTATE.
    Raises(String),
    /// So many rows are counted.
    Count(u64),
    /// These rows are given, of those asked for.
    These {
        seen: BTreeSet<String>,
        asked: BTreeSet<String>,
    },
}

/// How the two compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Agree,
    Disagree,
    /// The statement shows nothing, because something else ended it.
    NotRun,
}

impl Expect {
    pub(super) fn against(&self, outcome: &Outcome) -> Verdict {
        let agrees = match (self, outcome) {
            (Self::Raises(state), Outcome::Failed(other)) if state == other => true,
            (Self::Raises(state), Outcome::Refused) if state == "42501" => true,
            // An error may come before or after the branch that decides.
            (Self::Raises(_), _) | (_, Outcome::Failed(_)) => return Verdict::NotRun,
            (Self::Rows(expected), Outcome::Rows(count)) => expected == count,
            (Self::Rows(expected), Outcome::Stopped(_)) => *expected > 0,
            (Self::Admitted, Outcome::Rows(_) | Outcome::Stopped(_))
            | (Self::Refused | Self::RefusedOrStopped, Outcome::Refused)
            | (Self::RefusedOrStopped, Outcome::Stopped(_)) => true,
            (Self::Count(expected), Outcome::Text(text)) => text.parse() == Ok(*expected),
            (Self::These { seen, asked }, Outcome::Text(text)) => {
                // Rows elsewhere may share a place with one that was asked for.
                let given = text.split(';').filter(|one| asked.contains(*one));
                given.map(str::to_owned).collect::<BTreeSet<_>>() == *seen
            }
            _ => false,
        };
        if agrees {
            Verdict::Agree
        } else {
            Verdict::Disagree
        }
    }

    pub(super) fn words(&self, outcome: &Outcome) -> String {
        match self {
            Self::Rows(count) => format!("{count} rows are touched"),
            Self::Admitted => "it passes".to_owned(),
            Self::Refused | Self::RefusedOrStopped => "it is refused".to_owned(),
            Self::Raises(state) => format!("it ends with {state}"),
            Self::Count(count) => match outcome {
                Outcome::Text(text) => format!("{count} rows are seen, not {text}"),
                _ => format!("{count} rows are seen"),
            },
            Self::These { seen, asked } => match outcome {
                Outcome::Text(text) => {
                    let given: BTreeSet<&str> =
                        text.split(';').filter(|one| asked.contains(*one)).collect();
                    let more = given.iter().filter(|one| !seen.contains(**one)).count();
                    let fewer = seen
                        .iter()
                        .filter(|one| !given.contains(one.as_str()))
                        .count();
                    format!(
                        "{} of {} rows are given ({more} more and {fewer} fewer came)",
                        seen.len(),
                        asked.len()
                    )
                }
                _ => format!("{} of {} rows are given", seen.len(), asked.len()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn these(seen: &[&str]) -> Expect {
        let set = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect();
        Expect::These {
            seen: set(seen),
            asked: set(&["1(0,1)", "1(0,2)"]),
        }
    }

    #[test]
    fn what_the_server_did_is_told_apart() {
        let read = Outcome::read;
        assert_eq!(read("rows 3"), Outcome::Rows(3));
        assert_eq!(read("! 23505 after"), Outcome::Stopped("23505".to_owned()));
        assert_eq!(read("! 23514"), Outcome::Failed("23514".to_owned()));
        assert_eq!(read("! 42501"), Outcome::Refused);
        assert_eq!(read("! 42501 denied"), Outcome::Failed("42501".to_owned()));
    }

    #[test]
    fn a_wrong_prediction_disagrees() {
        use Verdict::{Agree, Disagree, NotRun};
        let stopped = Outcome::Stopped("23505".to_owned());
        let late = Outcome::Failed("57014".to_owned());
        let text = |t: &str| Outcome::Text(t.to_owned());
        for (expect, outcome, verdict) in [
            (Expect::Rows(1), Outcome::Rows(1), Agree),
            (Expect::Rows(1), Outcome::Rows(0), Disagree),
            (Expect::Rows(0), stopped.clone(), Disagree),
            (Expect::Rows(1), stopped.clone(), Agree),
            (Expect::Rows(1), Outcome::Refused, Disagree),
            (Expect::Refused, Outcome::Rows(1), Disagree),
            (Expect::Refused, stopped.clone(), Disagree),
            (Expect::RefusedOrStopped, stopped.clone(), Agree),
            (Expect::Admitted, Outcome::Refused, Disagree),
            (Expect::Admitted, stopped, Agree),
            (Expect::Admitted, late.clone(), NotRun),
            (Expect::Refused, late, NotRun),
            (Expect::Count(5), text("5"), Agree),
            (Expect::Count(5), text("6"), Disagree),
            (these(&["1(0,1)"]), text("1(0,1);7(0,1)"), Agree),
            (these(&["1(0,1)"]), text("1(0,1);1(0,2)"), Disagree),
            (these(&["1(0,1)"]), text(""), Disagree),
        ] {
            assert_eq!(expect.against(&outcome), verdict, "{expect:?} {outcome:?}");
        }
        let raises = Expect::Raises("22P02".to_owned());
        assert_eq!(raises.against(&Outcome::Failed("22P02".to_owned())), Agree);
        assert_eq!(raises.against(&Outcome::Rows(0)), NotRun);
    }
}
