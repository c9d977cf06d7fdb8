use super::{Finding, Gap, Severity};
use serde::{Deserialize, Serialize};

/// What one command has to say: built once, rendered by any format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The subcommand.
    pub command: String,
    pub outcome: Outcome,
    /// The result in one line.
    pub summary: String,
    /// What people read, in order. Rendered by table, markdown and HTML; test results hold the texts.
    pub blocks: Vec<Block>,
    /// Every format shows every one of them.
    pub findings: Vec<Finding>,
    pub gaps: Vec<Gap>,
    /// What was judged, one by one, for test reports; empty for commands that judge nothing.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// The typed result, for JSON.
    pub data: serde_json::Value,
    /// The next command to type, where there is an obvious one.
    pub next: Option<String>,
}

/// One thing that a run judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    pub result: CheckResult,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckResult {
    Passed,
    /// Each reason, in words.
    Failed(Vec<String>),
    /// It could not be judged, and why.
    Skipped(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Exit code 0.
    Pass,
    /// Looked, and the answer is no: exit code 1.
    Fail,
    /// Looked, and cannot tell: exit code 3.
    Inconclusive,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Block {
    Heading(String),
    Text(String),
    /// What the reader must know before trusting the rest. Every format shows it.
    Warning(String),
    Table(Grid),
    Code {
        language: String,
        text: String,
    },
    /// Drawn where the format can draw; the others show the same numbers in a table beside it.
    Chart(Chart),
    /// As [`Block::Chart`].
    Curves(Curves),
    /// As [`Block::Chart`].
    Heat(Heat),
    /// Shown on demand: by HTML and markdown, which can fold.
    Sides(Sides),
}

/// Distribution functions, one drawing each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    pub title: String,
    pub unit: String,
    pub lines: Vec<Curve>,
}

/// Values at equal steps of the distribution function of two sides, rising.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    pub label: String,
    pub before: Vec<f64>,
    pub after: Vec<f64>,
    /// What the 95th percentile is to stay under.
    pub target: Option<f64>,
    pub tone: Tone,
}

/// A table whose cells are coloured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Heat {
    pub title: String,
    /// What the rows are, and what the columns are.
    pub corner: String,
    pub columns: Vec<String>,
    /// A label, and a cell for each column; `None` for a pair that there is not.
    pub rows: Vec<(String, Vec<Option<HeatCell>>)>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HeatCell {
    pub text: String,
    /// The same in a word, for those who do not see the colour.
    pub note: String,
    pub tone: Tone,
    /// How strong the colour is, from 0 to 1.
    pub strength: f64,
}

/// Two texts to be compared line by line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sides {
    pub title: String,
    pub before: String,
    pub after: String,
}

/// Pairs of values on a logarithmic axis.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Chart {
    pub title: String,
    pub unit: String,
    pub pairs: Vec<Pair>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    pub label: String,
    pub before: f64,
    pub after: f64,
    /// `before` is a lower bound.
    pub open: bool,
    /// What `after` lies between, where that is known.
    #[serde(default)]
    pub range: Option<(f64, f64)>,
    pub tone: Tone,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    pub columns: Vec<GridColumn>,
    pub rows: Vec<Vec<Cell>>,
    /// Rows at the end that ask for nothing: they may be folded.
    #[serde(default)]
    pub quiet: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GridColumn {
    pub title: String,
    /// Numbers stand to the right.
    pub right: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    pub text: String,
    pub tone: Tone,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    #[default]
    Plain,
    Good,
    Bad,
    Warn,
    Dim,
}

impl Report {
    pub fn new(command: &str, summary: impl Into<String>) -> Self {
        Self {
            command: command.to_owned(),
            outcome: Outcome::Pass,
            summary: summary.into(),
            blocks: Vec::new(),
            findings: Vec::new(),
            gaps: Vec::new(),
            checks: Vec::new(),
            data: serde_json::Value::Null,
            next: None,
        }
    }

    /// Worst first, then by object and rule, so that two runs print the same.
    pub fn sort_findings(&mut self) {
        self.findings.sort_by(|a, b| {
            b.severity
                .cmp(&a.severity)
                .then_with(|| a.object.cmp(&b.object))
                .then_with(|| a.rule.cmp(&b.rule))
        });
    }

    /// Fails the report where a finding that counts is at or over `fail_on`.
    pub fn judge_findings(&mut self, fail_on: Option<Severity>) {
        let fails = |f: &Finding| f.counts() && fail_on.is_some_and(|level| f.severity >= level);
        if self.findings.iter().any(fails) {
            self.outcome = Outcome::Fail;
        }
    }
}

impl Grid {
    /// `right` names the columns that stand to the right.
    pub fn new(titles: &[&str], right: &[&str]) -> Self {
        let columns = titles
            .iter()
            .map(|title| GridColumn {
                title: (*title).to_owned(),
                right: right.contains(title),
            })
            .collect();
        Self {
            columns,
            rows: Vec::new(),
            quiet: 0,
        }
    }
}

impl Cell {
    pub fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone,
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self {
            text: text.into(),
            tone: Tone::Plain,
        }
    }
}
