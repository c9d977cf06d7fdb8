//! Rewrites of policy expressions that keep every row's visibility.
//!
//! A rewrite is made only where its conditions are proven from the parse tree and the catalog; what is
//! not understood stays as it is. See PostgreSQL documentation, "Row Security Policies" and
//! "Function Volatility Categories".

mod domain;
mod exists;
mod function;
mod membership;
mod quiet;
mod wrap;

pub use function::Companion;

use super::tree::{Unreadable, parse_expression, print_expression};
use crate::model::{Catalog, Name, Policy};
use pg_query::Node;

/// An expression after rewriting.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rewritten {
    pub expression: String,
    /// Functions the new expression calls and the database does not have yet.
    pub companions: Vec<Companion>,
    /// What was done, in words, once each.
    pub steps: Vec<&'static str>,
}

/// How far a rewrite goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Row-independent stable calls are evaluated once: `(select f())`.
    Wrap,
    /// Membership tests become `column = any(array(select …))` as well.
    Sets,
    /// Tests that give an index no column become sets of keys that a foreign key points to.
    Domain,
}

/// Rewrites an expression of a policy of `table`, as far as it may be done without knowing the policy; `None` where
/// there is nothing to do.
pub fn rewrite(
    expression: &str,
    table: &Name,
    catalog: &Catalog,
    depth: Depth,
) -> Result<Option<Rewritten>, Unreadable> {
    let node = parse_expression(expression)?;
    let catalog = quiet::proven(&node, table, catalog);
    finish(sets(node, table, &catalog, depth), &catalog)
}

/// Rewrites the USING clause of a policy of `table`; `None` where there is nothing to do.
pub fn rewrite_using(
    policy: &Policy,
    table: &Name,
    catalog: &Catalog,
    depth: Depth,
) -> Result<Option<Rewritten>, Unreadable> {
    let Some(using) = &policy.using else {
        return Ok(None);
    };
    let node = parse_expression(using)?;
    let catalog = quiet::proven(&node, table, catalog);
    let (mut node, mut made) = sets(node, table, &catalog, depth);
    if depth == Depth::Domain {
        domain::rewrite(&mut node, policy, table, &catalog, &mut made);
    }
    finish((node, made), &catalog)
}

fn sets(mut node: Node, table: &Name, catalog: &Catalog, depth: Depth) -> (Node, Rewritten) {
    let mut made = Rewritten::default();
    if depth >= Depth::Sets {
        membership::rewrite(&mut node, table, catalog, &mut made);
    }
    (node, made)
}

fn finish(
    (mut node, mut made): (Node, Rewritten),
    catalog: &Catalog,
) -> Result<Option<Rewritten>, Unreadable> {
    if wrap::rewrite(&mut node, catalog) {
        made.steps
            .push("calls that do not depend on the row are evaluated once a statement");
    }
    if made.steps.is_empty() {
        return Ok(None);
    }
    made.expression = print_expression(&node)?;
    // What dbtune printed must be readable by the same grammar.
    parse_expression(&made.expression)?;
    Ok(Some(made))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, Function, Table, Volatility};

    fn table(columns: &[(&str, &str)]) -> Table {
        Table {
            columns: columns
                .iter()
                .map(|(name, kind)| Column {
                    name: (*name).to_owned(),
                    type_name: (*kind).to_owned(),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }
    }

    fn function(schema: &str, name: &str, volatility: Volatility) -> Function {
        Function {
            name: Name::new(schema, name),
            volatility,
            language: "sql".to_owned(),
            returns: "boolean".to_owned(),
            ..Default::default()
        }
    }

    fn catalog() -> Catalog {
        let mut catalog = Catalog::default();
        catalog.server.user = "owner".to_owned();
        catalog.server.search_path = vec!["public".to_owned()];
        let mut put = |name: &str, columns: &[(&str, &str)]| {
            catalog
                .tables
                .insert(Name::new("public", name), table(columns));
        };
        put(
            "docs",
            &[
                ("id", "integer"),
                ("owner_id", "uuid"),
                ("org_id", "integer"),
                ("status", "text"),
            ],
        );
        put(
            "members",
            &[("user_id", "uuid"), ("org_id", "integer"), ("role", "text")],
        );
        catalog
            .builtins
            .insert("current_setting".into(), Volatility::Stable);
        catalog
            .builtins
            .insert("random".into(), Volatility::Volatile);
        catalog.functions = vec![
            function("auth", "uid", Volatility::Stable),
            function("auth", "jwt", Volatility::Stable),
            function("public", "is_admin", Volatility::Stable),
            function("public", "audited", Volatility::Volatile),
            Function {
                returns: "integer[]".into(),
                ..function("public", "my_orgs", Volatility::Stable)
            },
            Function {
                argument_types: vec!["integer".into(), "text".into()],
                argument_names: vec!["o".into(), "r".into()],
                security_definer: true,
                config: vec!["search_path=\"\"".into()],
                owner: "owner".into(),
                executors: vec!["authenticated".into()],
                body: "select exists (select 1 from public.members m where m.org_id = o and m.user_id = auth.uid() and m.role = r)".into(),
                ..function("public", "is_member", Volatility::Stable)
            },
            Function {
                argument_types: vec!["integer".into()],
                argument_names: vec!["o".into()],
                language: "plpgsql".into(),
                body: "begin return exists(select 1 from public.members where org_id = o and user_id = auth.uid()); end".into(),
                ..function("public", "can_see", Volatility::Stable)
            },
        ];
        catalog
    }

    fn rewritten(expression: &str) -> Option<Rewritten> {
        let table = Name::new("public", "docs");
        rewrite(expression, &table, &catalog(), Depth::Sets).unwrap()
    }

    #[track_caller]
    fn becomes(from: &str, to: &str) {
        let tidy = |t: &str| print_expression(&parse_expression(t).unwrap()).unwrap();
        assert_eq!(rewritten(from).unwrap().expression, tidy(to));
        assert_eq!(rewritten(to), None, "a second run finds nothing more");
    }

    #[track_caller]
    fn stays(expression: &str) {
        assert_eq!(rewritten(expression), None);
    }

    #[test]
    fn wraps_the_largest_row_independent_part() {
        becomes("owner_id = auth.uid()", "owner_id = (select auth.uid())");
        becomes(
            "org_id = ((current_setting('c', true)::jsonb ->> 'org')::int)",
            "org_id = (select (current_setting('c', true)::jsonb ->> 'org')::int)",
        );
        becomes(
            "is_admin() or owner_id = auth.uid()",
            "(select is_admin()) or owner_id = (select auth.uid())",
        );
        becomes(
            "(auth.jwt() ->> 'aal') = 'aal2'",
            "(select (auth.jwt() ->> 'aal') = 'aal2')",
        );
        becomes(
            "not (owner_id = auth.uid())",
            "not (owner_id = (select auth.uid()))",
        );
        becomes(
            "org_id = any (array(select m.org_id from public.members m where m.user_id = auth.uid()))",
            "org_id = any (array(select m.org_id from public.members m where m.user_id = (select auth.uid())))",
        );
        becomes(
            "org_id = any (my_orgs())",
            "org_id = any ((select my_orgs())::integer[])",
        );
    }

    #[test]
    fn mixed_forms_are_not_overlooked() {
        becomes(
            "owner_id = (select auth.uid() as uid) or owner_id = auth.uid()",
            "owner_id = (select auth.uid() as uid) or owner_id = (select auth.uid())",
        );
    }

    #[test]
    fn volatile_calls_stay() {
        stays("random() < 0.5 or id < 0");
        stays("audited()");
        stays("owner_id = (select auth.uid()) and audited()");
        stays(
            "exists (select 1 from public.members m where m.org_id = docs.org_id and public.audited())",
        );
    }

    #[test]
    fn membership_tests_become_sets() {
        let set = "org_id = any (array(select m.org_id from public.members m where m.user_id = (select auth.uid())))";
        becomes(
            "org_id in (select m.org_id from public.members m where m.user_id = auth.uid())",
            set,
        );
        let qualified = set.replacen("org_id", "docs.org_id", 1);
        becomes(
            "exists (select 1 from public.members m where m.org_id = docs.org_id and m.user_id = auth.uid())",
            &qualified,
        );
        becomes(
            "auth.uid() in (select m.user_id from public.members m where m.org_id = docs.org_id)",
            &qualified.replace(
                "m.user_id = (select auth.uid())",
                "m.user_id = (select auth.uid())",
            ),
        );
    }

    #[test]
    fn a_test_of_two_outer_columns_stays() {
        let kept = "exists (select 1 from public.members m where m.org_id = docs.org_id and m.user_id = (select auth.uid()) and (docs.status = 'published' or m.role = 'admin'))";
        stays(kept);
        stays("exists (select count(*) from public.members m where m.org_id = docs.org_id)");
        stays("org_id not in (select m.org_id from public.members m)");
    }

    #[test]
    fn an_access_function_gets_a_set_companion() {
        let made = rewritten("is_member(org_id, 'admin')").unwrap();
        assert_eq!(
            made.expression,
            "org_id = ANY(ARRAY(SELECT public.is_member_set('admin')))"
        );
        let create = made.companions.first().unwrap().create.join(";\n");
        assert!(
            create.contains("is_member_set(text) returns setof integer"),
            "{create}"
        );
        assert!(create.contains("m.role = $1"), "{create}");
        assert!(
            create.contains("security definer\n  set search_path = ''"),
            "{create}"
        );
        assert!(
            create
                .contains("grant execute on function public.is_member_set(text) to authenticated")
        );
        let made = rewritten("can_see(org_id)").unwrap();
        assert_eq!(
            made.expression,
            "org_id = ANY(ARRAY(SELECT public.can_see_set()))"
        );
    }

    #[test]
    fn what_is_not_understood_is_left_alone() {
        stays("is_member(id + 1, 'x')");
        stays("(status::xml) is document and owner_id = (select auth.uid())");
        assert!(rewrite("a = ", &Name::default(), &catalog(), Depth::Sets).is_err());
    }
}
