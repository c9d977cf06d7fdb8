use super::sink::Found;
use super::{Category, Facts, Sink, rule};
use crate::model::{Name, ObjectKind, Severity};
use crate::sql::quote;

/// Extensions whose functions reach other machines or the server's files.
const FAR: [&str; 8] = [
    "adminpack",
    "dblink",
    "file_fdw",
    "http",
    "pageinspect",
    "pg_net",
    "plpython3u",
    "postgres_fdw",
];

rule! {
    /// ## What it finds
    /// An extension in a schema that an API serves: one on the list of `PostgREST` or, where the database does not hold the
    /// list, one whose USAGE was granted to a role of the API by name.
    ///
    /// ## Why it matters
    /// EXECUTE on an extension's functions is everybody's, so the API offers each of them as an endpoint; and the names
    /// in the schema are the extension's and the application's at once.
    ///
    /// ## What to do
    /// Give extensions a schema of their own and put it into the search path of those who need it. What is bound to the
    /// extension's objects follows; text that names its functions without a schema, such as function bodies, does not.
    /// ```sql,bad
    /// create schema api;
    /// grant usage on schema api to anon;
    /// create extension pg_trgm schema api;
    /// ```
    /// ```sql,good
    /// create schema api;
    /// grant usage on schema api to anon;
    /// create schema extensions;
    /// create extension pg_trgm schema extensions;
    /// ```
    "extension-in-api-schema" {
        summary: "an API serves the functions of an extension",
        category: Category::Safety,
        severity: Severity::Note,
        also: &["splinter 0014_extension_in_public"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for (extension, is) in &facts.catalog.server.extensions {
        if extension == "plpgsql" || !facts.exposure.serves(&is.schema) {
            continue;
        }
        let far = FAR.contains(&extension.as_str());
        let also = if far {
            ", and its functions reach beyond the database"
        } else {
            ""
        };
        sink.report(
            Found::new(
                if far { Severity::Warning } else { Severity::Note },
                ObjectKind::Database,
                &Name::new(&is.schema, extension),
                None,
                format!("the extension {extension} is in {}, which an API serves{also}", is.schema),
            )
            .evidence("extension", extension.clone())
            .evidence("schema", is.schema.clone())
            .advice(format!(
                "create schema if not exists extensions; alter extension {} set schema extensions; after giving that \
                 schema to the search path of functions and roles that name its functions bare.",
                quote::ident(extension)
            )),
        );
    }
}
