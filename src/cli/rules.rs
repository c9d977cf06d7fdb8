use super::Context;
use crate::model::{Block, Grid, Report};
use crate::rules::{self, Rule};
use anyhow::bail;
use clap::Subcommand;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Explain a rule: what it finds, why it matters, what to do
    Show {
        #[arg(value_name = "RULE")]
        id: String,
    },
}

#[expect(clippy::unused_async, reason = "every command is awaited the same way")]
pub(super) async fn run(args: Args, _context: &Context) -> anyhow::Result<Report> {
    match args.what {
        None => Ok(list()),
        Some(What::Show { id }) => match rules::find(&id) {
            Some(rule) => Ok(show(rule)),
            None => bail!("there is no rule `{id}`; `dbtune rules` lists them"),
        },
    }
}

fn list() -> Report {
    let mut report = Report::new("rules", format!("{} rules", rules::ALL.len()));
    let mut grid = Grid::new(&["rule", "about", "finds"], &[]);
    for rule in rules::ALL {
        grid.rows.push(vec![
            rule.id.into(),
            rule.category.label().into(),
            rule.summary.into(),
        ]);
    }
    report.blocks.push(Block::Table(grid));
    report.data = rules::ALL.iter().map(|rule| data(rule)).collect();
    report.next = Some("dbtune rules show RULE".to_owned());
    report
}

fn show(rule: &Rule) -> Report {
    let mut report = Report::new("rules", format!("{}: {}", rule.id, rule.summary));
    let mut text = rule.facts() + "\n";
    let mut code: Option<String> = None;
    for line in rule.docs.lines() {
        let line = line.strip_prefix(' ').unwrap_or(line);
        match (&mut code, line.strip_prefix("```")) {
            (None, Some(kind)) => {
                report
                    .blocks
                    .push(Block::Text(std::mem::take(&mut text).trim().to_owned()));
                let label = kind
                    .strip_prefix("sql,")
                    .unwrap_or(kind)
                    .trim_end_matches(" shown");
                report
                    .blocks
                    .push(Block::Heading(format!("Example: {label}")));
                code = Some(String::new());
            }
            (Some(lines), Some(_)) => {
                report.blocks.push(Block::Code {
                    language: "sql".to_owned(),
                    text: std::mem::take(lines),
                });
                code = None;
            }
            (Some(lines), None) => {
                lines.push_str(line);
                lines.push('\n');
            }
            (None, None) => {
                if let Some(heading) = line.strip_prefix("## ") {
                    if !text.trim().is_empty() {
                        report.blocks.push(Block::Text(text.trim().to_owned()));
                    }
                    text.clear();
                    report.blocks.push(Block::Heading(heading.to_owned()));
                } else {
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
    }
    report.data = data(rule);
    report
}

fn data(rule: &Rule) -> serde_json::Value {
    serde_json::json!({
        "id": rule.id,
        "category": rule.category.label(),
        "severity": rule.severity,
        "since": rule.since,
        "also": rule.also,
        "summary": rule.summary,
        "documentation": rule.docs,
    })
}
