//! The pages under `docs/` that are written by the code, and whether they still say what the code does.

use clap::{Command, CommandFactory};
use dbtune::cli::Cli;
use dbtune::rules::{self, Category, Rule};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::{fs, path::Path};

const WIDTH: usize = 100;

#[test]
fn commands_are_documented() {
    let mut page = String::from(
        "# Commands\n\nWritten by `make docs` from what `dbtune --help` and `dbtune COMMAND --help` print. \
         The options of `dbtune` itself are taken by every command.\n",
    );
    let mut command = Cli::command();
    command.build();
    describe(&command, "dbtune", &mut page);
    compare("cli.md", &page);
}

/// A run over the demo platform as it was before anything was tuned, from what `dbtune demo` left of it.
#[test]
fn the_demo_platform_is_audited_as_recorded() {
    let snapshot = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/clinic.snapshot.json");
    let elsewhere = tempfile::tempdir().unwrap();
    let snapshot = snapshot.to_str().unwrap();
    let arguments = ["audit", "--snapshot", snapshot, "--format", "markdown"];
    let ran = crate::audit_run::dbtune(elsewhere.path(), &arguments);
    assert_eq!(ran.code, 1, "{}", ran.err);
    let page = format!(
        "# The demo platform, audited\n\nWritten by `make docs`: what `dbtune audit --snapshot fixtures/clinic.snapshot.json --format \
         markdown` prints. The snapshot is what `dbtune demo` leaves of its platform as it was before anything was tuned.\n\n{}",
        ran.out
    );
    compare("audit-of-the-demo.md", &page);
}

/// One command and those below it.
fn describe(command: &Command, path: &str, page: &mut String) {
    let top = !path.contains(' ');
    let mut shown = command
        .clone()
        .term_width(WIDTH)
        // Said once, at the top.
        .mut_args(|arg| {
            let hidden = arg.is_hide_set() || (!top && arg.is_global_set());
            arg.hide(hidden).hide_env_values(true)
        });
    let help = shown.render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    writeln!(
        page,
        "\n## {path}\n\n```text\n{}\n```",
        help.join("\n").trim()
    )
    .unwrap();
    for below in command.get_subcommands() {
        if below.get_name() != "help" && !below.is_hide_set() {
            describe(below, &format!("{path} {}", below.get_name()), page);
        }
    }
}

#[test]
fn rules_are_documented() {
    let mut page = String::from(
        "# Rules\n\nWritten by `make docs` from the rules themselves; `dbtune rules show RULE` prints the same. \
         The examples are run by the tests.\n",
    );
    for (title, category) in [
        ("What makes row-level security slow", Category::Speed),
        ("What makes it unsafe or broken", Category::Safety),
        ("Indexes", Category::Index),
        ("Workload", Category::Workload),
    ] {
        write!(page, "\n**{title}**\n\n").unwrap();
        for rule in in_category(category) {
            writeln!(page, "- [`{0}`](#{0}): {1}", rule.id, rule.summary).unwrap();
        }
    }
    for rule in rules::ALL {
        assert!(
            page.contains(&format!("(#{})", rule.id)),
            "no list has {}",
            rule.id
        );
        write!(
            page,
            "\n## {}\n\n{}.\n\n_{}_\n\n",
            rule.id,
            capital(rule.summary),
            rule.facts()
        )
        .unwrap();
        for line in rule.docs.lines() {
            let line = line.strip_prefix(' ').unwrap_or(line).trim_end();
            let line = match line.split_once("```sql,") {
                Some((_, kind)) => {
                    let kind = kind.strip_suffix(" shown").unwrap_or(kind);
                    format!("\n{}:\n\n```sql", capital(kind))
                }
                None if line.starts_with("## ") => format!("#{line}\n"),
                None => line.to_owned(),
            };
            writeln!(page, "{line}").unwrap();
        }
    }
    compare("rules.md", &page);
}

/// The other linters whose rules ours name, and how to address one of their rules.
const LINTERS: [(&str, &str); 2] = [
    (
        "splinter",
        "Supabase's [splinter](https://github.com/supabase/splinter)",
    ),
    ("pgrls", "[pgrls](https://pypi.org/project/pgrls/) 0.57"),
];

#[test]
fn names_of_other_linters_are_mapped() {
    let mut page = String::from(
        "# Rules of other linters\n\nWritten by `make docs` from what each rule names; \
         [other-linters.md](other-linters.md) compares the tools.\n",
    );
    let mut named = 0;
    for (linter, about) in LINTERS {
        let mut map: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for rule in rules::ALL {
            let theirs = rule
                .also
                .iter()
                .filter_map(|also| also.strip_prefix(linter));
            for name in theirs.map(str::trim_start) {
                map.entry(name).or_default().push(rule.id);
                named += 1;
            }
        }
        write!(page, "\n## {linter}\n\nRules of {about}.\n\n").unwrap();
        page.push_str("| theirs | dbtune's |\n| --- | --- |\n");
        for (theirs, ours) in map {
            let ours: Vec<String> = ours
                .iter()
                .map(|id| format!("[`{id}`](rules.md#{id})"))
                .collect();
            writeln!(page, "| {theirs} | {} |", ours.join(", ")).unwrap();
        }
    }
    let also: usize = rules::ALL.iter().map(|rule| rule.also.len()).sum();
    assert_eq!(named, also, "a rule names a linter that is not in LINTERS");
    compare("linter-map.md", &page);
}

fn in_category(category: Category) -> impl Iterator<Item = &'static &'static Rule> {
    rules::ALL
        .iter()
        .filter(move |rule| rule.category == category)
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

/// Compares with the page in `docs/`, or writes it where `DBTUNE_UPDATE_DOCS` is set.
fn compare(name: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(name);
    if std::env::var_os("DBTUNE_UPDATE_DOCS").is_some() {
        fs::write(&path, page).unwrap();
        return;
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    if written == page {
        return;
    }
    let differs = page
        .lines()
        .zip(written.lines().chain(std::iter::repeat("")))
        .position(|(new, old)| new != old)
        .unwrap_or_else(|| page.lines().count());
    panic!(
        "docs/{name} is stale from line {} on; write it anew with `make docs`",
        differs + 1
    );
}
