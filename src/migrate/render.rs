//! From proposals to migration files.

use super::plan::GROUP;
use super::proof;
use crate::model::{
    Catalog, Change, IndexSpec, Migration, Name, Proposal, Script, TableKind, Tried,
};
use crate::propose::evidence;
use crate::sql::ddl::{self, Build};

/// Migrations for `proposals`, with versions counted up from `first_version`.
///
/// Each concurrent index statement stands in a file of its own, outside a transaction; the other changes of a proposal
/// share one transaction. `catalog` tells which tables are partitioned: their index is made `ON ONLY` the parent,
/// concurrently on each partition, and then attached.
pub fn render(catalog: &Catalog, proposals: &[Proposal], first_version: i64) -> Vec<Migration> {
    let mut files = Files {
        next: first_version,
        migrations: Vec::new(),
        children: 0,
    };
    for proposal in proposals {
        files.proposal(catalog, proposal);
    }
    files.migrations
}

struct Files {
    next: i64,
    migrations: Vec<Migration>,
    /// Partition indexes named so far under one parent, at any depth.
    children: usize,
}

impl Files {
    fn proposal(&mut self, catalog: &Catalog, proposal: &Proposal) {
        let why = comment(proposal);
        // In the order they are to be made; neighbours that may share a transaction do.
        let mut together: Vec<&Change> = Vec::new();
        for change in &proposal.changes {
            match change {
                Change::CreateIndex(index) => {
                    self.transaction(&proposal.slug, &why, &mut together);
                    self.create(catalog, index, &why);
                }
                Change::DropIndex(index) => {
                    self.transaction(&proposal.slug, &why, &mut together);
                    self.drop(catalog, index, &why);
                }
                _ => together.push(change),
            }
        }
        self.transaction(&proposal.slug, &why, &mut together);
    }

    fn transaction(&mut self, slug: &str, why: &str, changes: &mut Vec<&Change>) {
        if changes.is_empty() {
            return;
        }
        let up: Vec<String> = changes.iter().flat_map(|c| ddl::statements(c)).collect();
        let inverse = changes.iter().rev().map(|c| c.inverse());
        let down: Vec<String> = inverse.flat_map(|c| ddl::statements(&c)).collect();
        let rewrites = changes
            .iter()
            .any(|c| matches!(c, Change::ReplacePolicy { .. }));
        let mark = if rewrites { proof::MARK } else { "" };
        self.push(
            slug,
            script(&format!("{mark}{why}"), &up),
            script("", &down),
        );
        changes.clear();
    }

    fn create(&mut self, catalog: &Catalog, index: &IndexSpec, why: &str) {
        if is_partitioned(catalog, &index.table) {
            return self.create_partitioned(catalog, index, why);
        }
        self.push(
            &index.name,
            concurrently(why, &ddl::create_index(index, Build::Concurrently)),
            concurrently(
                "",
                &ddl::drop_index(&index.qualified(), Build::Concurrently),
            ),
        );
    }

    fn drop(&mut self, catalog: &Catalog, index: &IndexSpec, why: &str) {
        let slug = format!("drop_{}", index.name);
        if is_partitioned(catalog, &index.table) {
            // The server drops a partitioned index in no other way.
            let up = ddl::drop_index(&index.qualified(), Build::Plain);
            let down = ddl::create_index(index, Build::Plain);
            return self.push(&slug, script(why, &[up]), script("", &[down]));
        }
        self.push(
            &slug,
            concurrently(
                why,
                &ddl::drop_index(&index.qualified(), Build::Concurrently),
            ),
            concurrently("", &ddl::create_index(index, Build::Concurrently)),
        );
    }

    fn create_partitioned(&mut self, catalog: &Catalog, index: &IndexSpec, why: &str) {
        let why = format!("{GROUP}{}\n{why}", self.next);
        let mut attach = Vec::new();
        self.children = 0;
        self.parent(index, &why);
        self.partitions(
            catalog,
            index,
            (&index.name, &index.qualified()),
            &why,
            &mut attach,
        );
        // An attached index cannot be detached: what takes it back is dropping the parent, which drops all of them.
        let down = ddl::drop_index(&index.qualified(), Build::Plain);
        self.push(
            &format!("{}_attach", index.name),
            script(&why, &attach),
            script("", &[down]),
        );
    }

    fn parent(&mut self, index: &IndexSpec, why: &str) {
        self.push(
            &index.name,
            script(why, &[ddl::create_index(index, Build::OnlyParent)]),
            script("", &[ddl::drop_index(&index.qualified(), Build::Plain)]),
        );
    }

    /// `root` names the topmost index. The indexes below `parent`, leaves first among the attachments of each level.
    fn partitions(
        &mut self,
        catalog: &Catalog,
        index: &IndexSpec,
        (root, parent): (&str, &Name),
        why: &str,
        attach: &mut Vec<String>,
    ) {
        let partitions = catalog
            .tables
            .iter()
            .filter(|(_, t)| t.partition_of.as_ref() == Some(&index.table));
        for (name, table) in partitions {
            self.children += 1;
            let child = IndexSpec {
                table: name.clone(),
                name: child_name(root, self.children),
                ..index.clone()
            };
            if table.kind == TableKind::Partitioned {
                self.parent(&child, why);
                self.partitions(catalog, &child, (root, &child.qualified()), why, attach);
            } else {
                self.push(
                    &child.name,
                    concurrently(why, &ddl::create_index(&child, Build::Concurrently)),
                    concurrently(
                        "",
                        &ddl::drop_index(&child.qualified(), Build::Concurrently),
                    ),
                );
            }
            attach.push(ddl::attach_index(parent, &child.qualified()));
        }
    }

    fn push(&mut self, slug: &str, up: String, down: String) {
        self.migrations.push(Migration {
            version: self.next,
            slug: file_slug(slug),
            up: Script::new(up),
            down: Some(Script::new(down)),
        });
        self.next += 1;
    }
}

fn is_partitioned(catalog: &Catalog, table: &Name) -> bool {
    catalog
        .table(table)
        .is_some_and(|t| t.kind == TableKind::Partitioned)
}

/// Within the server's 63 bytes, whatever the parent's name.
fn child_name(parent: &str, number: usize) -> String {
    let suffix = format!("_p{number}");
    let mut name = parent.to_owned();
    while name.len() + suffix.len() > 63 {
        name.pop();
    }
    name + &suffix
}

/// What may stand in a file name on every system.
fn file_slug(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .take(100)
        .collect();
    if clean.is_empty() {
        "change".to_owned()
    } else {
        clean
    }
}

fn script(comment: &str, statements: &[String]) -> String {
    let body: Vec<String> = statements.iter().map(|s| format!("{s};\n")).collect();
    format!("{comment}{}", body.join("\n"))
}

fn concurrently(comment: &str, statement: &str) -> String {
    format!("-- no-transaction\n{comment}{statement};\n")
}

/// The reason and the estimates, as comment lines.
fn comment(proposal: &Proposal) -> String {
    let mut lines: Vec<String> = proposal.reason.lines().map(str::to_owned).collect();
    if !proposal.rules.is_empty() {
        lines.push(format!("Rules: {}", proposal.rules.join(", ")));
    }
    if proposal.tried != Tried::default() {
        lines.push(format!("Evidence: {}", evidence(proposal)));
    }
    for estimate in &proposal.estimates {
        let mut line = format!(
            "{}: planner cost {:.0} -> {:.0}",
            estimate.query, estimate.cost_before, estimate.cost_after
        );
        if let (Some(before), Some(after)) = (estimate.ms_before, estimate.ms_after) {
            line = format!("{line}, {before:.1} ms -> {after:.1} ms");
        }
        lines.push(line);
    }
    if let Some(bytes) = proposal.bytes {
        lines.push(format!("Estimated size: {} kB", bytes / 1024));
    }
    let mark = if proposal.unseen { proof::UNSEEN } else { "" };
    std::iter::once(mark)
        .chain(lines.iter().flat_map(|line| ["-- ", line.as_str(), "\n"]))
        .collect()
}
