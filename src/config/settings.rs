use super::{AllowedAccess, Error, GateSettings, Waiver, from_yaml};
use crate::model::Severity;
use serde::Deserialize;
use std::path::PathBuf;

/// `dbtune.yaml`. Every field may be left out; a field that is not here is refused.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Target for the 95th percentile of a query that names none, in milliseconds.
    pub slo_ms: f64,
    /// How much worse p95 may become before the gate fails, in percent.
    pub regression_percent: f64,
    /// Wall-clock budget of `bench`, in seconds.
    pub duration_s: u64,
    /// `statement_timeout` of everything dbtune looks at or measures, in milliseconds.
    pub statement_timeout_ms: u64,
    /// Parameter draws of each query.
    pub draws: usize,
    /// Folder of the migrations, relative to the file.
    pub migrations: Option<PathBuf>,
    /// The workload, relative to the file.
    pub workload: Option<PathBuf>,
    /// Findings at or over this severity fail `audit`.
    pub fail_on: Option<FailOn>,
    /// Findings that are let be for a while.
    pub waivers: Vec<Waiver>,
    /// Changes of who sees or writes rows that `verify` lets be.
    pub allowed_access: Vec<AllowedAccess>,
    /// What fails `bench`.
    pub gate: GateSettings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailOn {
    Never,
    Note,
    Warning,
    Error,
}

impl FailOn {
    pub fn severity(self) -> Option<Severity> {
        match self {
            Self::Never => None,
            Self::Note => Some(Severity::Note),
            Self::Warning => Some(Severity::Warning),
            Self::Error => Some(Severity::Error),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            slo_ms: 100.0,
            regression_percent: 10.0,
            duration_s: 60,
            statement_timeout_ms: 30_000,
            draws: 20,
            migrations: None,
            workload: None,
            fail_on: None,
            gate: GateSettings::default(),
            waivers: Vec::new(),
            allowed_access: Vec::new(),
        }
    }
}

impl Settings {
    /// The target for p95 of queries that name none, in milliseconds.
    pub fn usual_target_ms(&self) -> f64 {
        let gate = self.gate.p95_ms.as_ref();
        gate.map_or(self.slo_ms, |ms| ms.value)
    }

    /// The target for p95 of `query@persona`, whose workload entry may name its `own`, in milliseconds.
    pub fn target_ms(&self, id: &str, own: Option<f64>) -> f64 {
        let gate = self.gate.target_ms(id);
        gate.or(own).unwrap_or_else(|| self.usual_target_ms())
    }

    pub fn parse(file: &str, text: &str) -> Result<Self, Error> {
        // A file of comments alone says nothing, and that is fine.
        let parsed: Option<Self> = from_yaml(file, text)?;
        let settings = parsed.unwrap_or_default();
        let positive = [
            ("slo_ms", settings.slo_ms),
            ("regression_percent", settings.regression_percent),
        ];
        for (field, value) in positive {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::at(
                    file,
                    0,
                    0,
                    format!("{field} is {value}, expected a number over 0"),
                ));
            }
        }
        let counts = [
            ("duration_s", settings.duration_s),
            ("statement_timeout_ms", settings.statement_timeout_ms),
            ("draws", settings.draws as u64),
        ];
        for (field, value) in counts {
            if value == 0 {
                return Err(Error::at(
                    file,
                    0,
                    0,
                    format!("{field} is 0, expected at least 1"),
                ));
            }
        }
        settings.waivers.iter().try_for_each(|w| w.check(file))?;
        settings
            .allowed_access
            .iter()
            .try_for_each(|a| a.check(file))?;
        settings.gate.check(file)?;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_is_the_default_and_unknown_fields_are_refused() {
        assert_eq!(
            Settings::parse("f", "# none\n").unwrap(),
            Settings::default()
        );
        let settings = Settings::parse("f", "slo_ms: 50\nfail_on: warning\n").unwrap();
        assert!((settings.slo_ms - 50.0).abs() < f64::EPSILON);
        assert_eq!(settings.fail_on, Some(FailOn::Warning));
        let error = Settings::parse("dbtune.yaml", "slo_ms: 50\nslo: 3\n").unwrap_err();
        assert_eq!((error.line, error.column), (2, 1), "{error}");
        assert!(error.message.contains("slo_ms"), "{error}");
        let error = Settings::parse("dbtune.yaml", "draws: 0\n").unwrap_err();
        assert!(error.to_string().contains("draws is 0"), "{error}");
    }
    #[test]
    fn a_waiver_needs_a_reason_and_a_date() {
        let text = |rest: &str| format!("waivers:\n- rule: r\n  object: public.*\n{rest}");
        let waivers = |rest: &str| Settings::parse("f", &text(rest)).map(|s| s.waivers);
        let good = waivers("  reason: it is small\n  expires: 2030-01-31\n").unwrap();
        assert_eq!(good[0].expires.to_string(), "2030-01-31");
        for (rest, word) in [
            ("  expires: 2030-01-31\n", "reason"),
            ("  reason: ' '\n  expires: 2030-01-31\n", "reason"),
            ("  reason: x\n", "expires"),
            ("  reason: x\n  expires: soon\n", "f:5"),
            (
                "  reason: x\n  expires: 2030-01-31\n  until: 2031-01-01\n",
                "until",
            ),
        ] {
            let error = waivers(rest).unwrap_err().to_string();
            assert!(error.contains(word), "{rest}: {error}");
        }
    }

    #[test]
    fn allowed_access_needs_a_reason_and_may_expire() {
        let text = |rest: &str| format!("allowed_access:\n- object: public.v\n{rest}");
        let allowed = |rest: &str| Settings::parse("f", &text(rest)).map(|s| s.allowed_access);
        let good = allowed("  reason: a report\n").unwrap();
        assert!(good[0].expires.is_none() && good[0].covers(&["public.v"]));
        let good = allowed("  reason: a report\n  expires: 2030-01-31\n").unwrap();
        assert!(good[0].holds("2030-01-31".parse().unwrap()));
        assert!(!good[0].holds("2030-02-01".parse().unwrap()));
        for (rest, word) in [
            ("  expires: 2030-01-31\n", "reason"),
            ("  reason: ''\n", "reason"),
            ("  reason: x\n  until: 2031-01-01\n", "until"),
        ] {
            let error = allowed(rest).unwrap_err().to_string();
            assert!(error.contains(word), "{rest}: {error}");
        }
    }
}
