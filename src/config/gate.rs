//! The `gate:` section of `dbtune.yaml`: what fails a benchmark, and what is let pass for a time.

use super::Error;
use crate::model::{PlanChange, Thresholds};
use chrono::NaiveDate;
use serde::Deserialize;
use serde_saphyr::Spanned;
use std::collections::BTreeMap;

/// What fails a benchmark. Every field may be left out; a field that is not here is refused.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GateSettings {
    /// Target for p95 in milliseconds, for queries whose workload entry names none; else `slo_ms`.
    pub p95_ms: Option<Spanned<f64>>,
    /// How much longer p95 may become, in percent; else `regression_percent`.
    pub p95_percent: Option<Spanned<f64>>,
    /// How many more shared buffers an execution may touch, in percent.
    pub buffers_percent: Option<Spanned<f64>>,
    pub plan_change: Option<PlanChange>,
    /// By query name, or by `query@persona`, which wins.
    pub queries: BTreeMap<String, Override>,
    /// Queries whose bad verdict passes.
    pub allow: Vec<Spanned<Allowance>>,
}

/// What the gate asks of one query, where that is not what it asks of all.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Override {
    pub p95_ms: Option<Spanned<f64>>,
    pub p95_percent: Option<Spanned<f64>>,
    pub buffers_percent: Option<Spanned<f64>>,
    pub plan_change: Option<PlanChange>,
}

/// One entry of the allow-list.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowance {
    /// Query name, or `query@persona`.
    pub query: String,
    /// For those who read the report.
    pub reason: String,
    /// The last day on which it counts.
    pub expires: NaiveDate,
}

impl GateSettings {
    pub(super) fn check(&self, file: &str) -> Result<(), Error> {
        let of_all = [
            ("gate.p95_ms", &self.p95_ms),
            ("gate.p95_percent", &self.p95_percent),
            ("gate.buffers_percent", &self.buffers_percent),
        ];
        let of_each = self.queries.values().flat_map(|q| {
            [
                ("p95_ms", &q.p95_ms),
                ("p95_percent", &q.p95_percent),
                ("buffers_percent", &q.buffers_percent),
            ]
        });
        for (field, value) in of_all.into_iter().chain(of_each) {
            if let Some(value) = value {
                positive(file, field, value)?;
            }
        }
        for allowance in &self.allow {
            let place = allowance.referenced;
            let found = &allowance.value;
            if found.query.trim().is_empty() || found.reason.trim().is_empty() {
                return Err(Error::at(
                    file,
                    place.line(),
                    place.column(),
                    "an entry of gate.allow without a query or a reason, expected both",
                ));
            }
        }
        Ok(())
    }

    /// What is asked of `id`, a `query@persona`; `defaults` is what is asked where the section says nothing.
    pub fn thresholds(&self, id: &str, defaults: Thresholds) -> Thresholds {
        let all = Override {
            p95_ms: None,
            p95_percent: self.p95_percent.clone(),
            buffers_percent: self.buffers_percent.clone(),
            plan_change: self.plan_change,
        };
        let named = [
            Some(&all),
            self.queries.get(query_of(id)),
            self.queries.get(id),
        ];
        let mut thresholds = defaults;
        for one in named.into_iter().flatten() {
            if let Some(percent) = &one.p95_percent {
                thresholds.p95_percent = percent.value;
            }
            if let Some(percent) = &one.buffers_percent {
                thresholds.buffers_percent = Some(percent.value);
            }
            if let Some(change) = one.plan_change {
                thresholds.plan_change = change;
            }
        }
        thresholds
    }

    /// The target that the section names for `id` itself.
    pub fn target_ms(&self, id: &str) -> Option<f64> {
        [id, query_of(id)]
            .into_iter()
            .find_map(|name| self.queries.get(name)?.p95_ms.as_ref())
            .map(|ms| ms.value)
    }

    /// The entry that lets `id` pass on `today`.
    pub fn allowance(&self, id: &str, today: NaiveDate) -> Option<&Allowance> {
        self.allow
            .iter()
            .map(|a| &a.value)
            .find(|a| a.names(id) && a.expires >= today)
    }

    /// Entries that no longer count.
    pub fn expired(&self, today: NaiveDate) -> impl Iterator<Item = &Allowance> {
        self.allow
            .iter()
            .map(|a| &a.value)
            .filter(move |a| a.expires < today)
    }

    /// Names in the section that no query of the workload has; `ids` are its `query@persona`s.
    pub fn unknown<'a>(&'a self, ids: &'a [String]) -> impl Iterator<Item = &'a str> {
        self.queries
            .keys()
            .chain(self.allow.iter().map(|a| &a.value.query))
            .map(String::as_str)
            .filter(|name| !ids.iter().any(|id| id == name || query_of(id) == *name))
    }
}

impl Allowance {
    fn names(&self, id: &str) -> bool {
        self.query == id || self.query == query_of(id)
    }
}

fn query_of(id: &str) -> &str {
    id.split('@').next().unwrap_or(id)
}

fn positive(file: &str, field: &str, number: &Spanned<f64>) -> Result<(), Error> {
    let value = number.value;
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    let place = number.referenced;
    let message = format!("{field} is {value}, expected a number over 0");
    Err(Error::at(file, place.line(), place.column(), message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    const FILE: &str = "
gate:
  p95_percent: 15
  plan_change: warn
  queries:
    list: { p95_percent: 30, p95_ms: 400 }
    list@clerk: { buffers_percent: 5, plan_change: fail }
  allow:
    - { query: slow, reason: rewritten next month, expires: 2026-03-31 }
";

    fn gate(text: &str) -> GateSettings {
        Settings::parse("f", text).unwrap().gate
    }

    #[test]
    fn the_closest_name_wins() {
        let gate = gate(FILE);
        let of = |id| gate.thresholds(id, Thresholds::default());
        let percent = |id| of(id).p95_percent;
        assert!((percent("other@clerk") - 15.0).abs() < 1e-9);
        assert!((percent("list@owner") - 30.0).abs() < 1e-9);
        let clerk = of("list@clerk");
        assert_eq!(clerk.plan_change, PlanChange::Fail);
        assert_eq!(clerk.buffers_percent, Some(5.0));
        assert!((clerk.p95_percent - 30.0).abs() < 1e-9);
        assert_eq!(gate.target_ms("list@clerk"), Some(400.0));
        assert_eq!(gate.target_ms("other@clerk"), None);
        let settings = Settings::parse("f", FILE).unwrap();
        let target = |id, own| settings.target_ms(id, own);
        assert!((target("list@clerk", Some(7.0)) - 400.0).abs() < 1e-9);
        assert!((target("other@clerk", Some(7.0)) - 7.0).abs() < 1e-9);
        assert!((target("other@clerk", None) - 100.0).abs() < 1e-9);
    }

    #[test]
    fn what_has_expired_lets_nothing_pass() {
        let gate = gate(FILE);
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        assert!(gate.allowance("slow@p", day("2026-03-31")).is_some());
        assert!(gate.allowance("slow@p", day("2026-04-01")).is_none());
        assert!(gate.allowance("slower@p", day("2026-03-01")).is_none());
        assert_eq!(gate.expired(day("2026-04-01")).count(), 1);
        let ids = ["list@clerk".to_owned()];
        assert_eq!(gate.unknown(&ids).collect::<Vec<_>>(), ["slow"]);
    }

    #[test]
    fn mistakes_are_shown_where_they_are() {
        for (text, line, part) in [
            ("gate:\n  p95_percent: 0\n", 2, "p95_percent is 0"),
            ("gate:\n  p95: 3\n", 2, "p95"),
            (
                "gate:\n  queries:\n    a: { p95_ms: -1 }\n",
                3,
                "p95_ms is -1",
            ),
            ("gate:\n  plan_change: maybe\n", 2, "maybe"),
            (
                "gate:\n  allow:\n    - { query: a, reason: '', expires: 2026-01-01 }\n",
                3,
                "reason",
            ),
            (
                "gate:\n  allow:\n    - { query: a, reason: b }\n",
                3,
                "expires",
            ),
        ] {
            let error = Settings::parse("f", text).unwrap_err();
            assert_eq!(error.line, line, "{error}");
            assert!(error.message.contains(part), "{error}");
        }
    }
}
