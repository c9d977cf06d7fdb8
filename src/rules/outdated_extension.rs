use super::sink::Found;
use super::{Category, Facts, Sink, rule};
use crate::model::{Name, ObjectKind, Severity};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// An extension that is older than the version that the server's files would install.
    ///
    /// ## Why it matters
    /// Upgrading the server or a package replaces the library and leaves the objects in the database as they were: fixes
    /// of functions, operators and their privileges are missing.
    ///
    /// ## What to do
    /// Update it, after reading what changed.
    /// ```sql,bad
    /// create extension pg_trgm version '1.3';
    /// ```
    /// ```sql,good
    /// create extension pg_trgm;
    /// ```
    "outdated-extension" {
        summary: "an extension is older than what the server has ready",
        category: Category::Safety,
        severity: Severity::Note,
        also: &["splinter 0022_extension_versions_outdated"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for (extension, is) in &facts.catalog.server.extensions {
        let Some(available) = is.available.as_ref().filter(|a| **a != is.version) else {
            continue;
        };
        sink.report(
            Found::new(
                Severity::Note,
                ObjectKind::Database,
                &Name::new(&is.schema, extension),
                None,
                format!(
                    "the extension {extension} is at {}, and {available} is ready",
                    is.version
                ),
            )
            .evidence("installed", is.version.clone())
            .evidence("available", available.clone())
            .fix(format!(
                "alter extension {} update;",
                quote::ident(extension)
            )),
        );
    }
}
