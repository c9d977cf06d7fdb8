//! What an expression comes to when nothing is known of the row, by SQL's three-valued logic.
//!
//! A policy shows a row where its expression is true; false and NULL both hide it. Whatever is not understood is
//! [`Value::Unknown`], so that "always true" and "never true" are only said where they hold.

mod call;
mod compare;
mod eval;
mod session;
mod value;

pub use session::Session;
pub use value::Value;

use super::expr::{Body, Expr};
use crate::model::{Function, Table};

/// What the names in an expression mean.
pub trait Meaning {
    /// The one function that a call of so many arguments means, and its body where that is understood.
    fn function(
        &self,
        schema: &str,
        name: &str,
        arguments: usize,
    ) -> Option<(&Function, Option<&Body>)>;
}

/// What `expr` comes to for every row of `table`, in any session like `session`.
pub fn fold(expr: &Expr, table: Option<&Table>, session: &Session, meaning: &dyn Meaning) -> Value {
    eval::Fold {
        table,
        session,
        meaning,
        parameters: &[],
        names: &[],
        depth: 0,
    }
    .value(expr)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, Name};
    use crate::sql::tree::parse_expression;

    struct Known(Vec<(Function, Option<Body>)>);

    impl Meaning for Known {
        fn function(
            &self,
            schema: &str,
            name: &str,
            arguments: usize,
        ) -> Option<(&Function, Option<&Body>)> {
            let mut all = self.0.iter();
            let (f, body) = all.find(|(f, _)| {
                f.name == Name::new(schema, name) && f.argument_types.len() == arguments
            })?;
            Some((f, body.as_ref()))
        }
    }

    fn known() -> Known {
        let function = |schema: &str, name: &str, arguments: &[&str], body: &str| {
            let function = Function {
                name: Name::new(schema, name),
                argument_types: arguments.iter().map(|_| "text".to_owned()).collect(),
                argument_names: arguments.iter().map(|a| (*a).to_owned()).collect(),
                language: "sql".to_owned(),
                body: body.to_owned(),
                ..Function::default()
            };
            let body = Body::of(&function);
            (function, body)
        };
        Known(vec![
            function(
                "auth",
                "uid",
                &[],
                "select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid",
            ),
            function(
                "public",
                "claim",
                &["wanted"],
                "select auth.jwt() ->> wanted",
            ),
            function("public", "same", &["a", "b"], "select $1 = b"),
        ])
    }

    fn table() -> Table {
        let column = |name: &str, not_null| Column {
            name: name.to_owned(),
            not_null,
            ..Column::default()
        };
        Table {
            columns: vec![column("id", true), column("owner", false)],
            ..Table::default()
        }
    }

    fn value(text: &str, session: Session) -> Value {
        let expr = Expr::of(&parse_expression(text).unwrap()).unwrap();
        fold(&expr, Some(&table()), &session, &known())
    }

    #[test]
    fn constants_are_seen_through() {
        for always in [
            "true",
            "1 = 1",
            "'a'::text = 'a'::text",
            "owner = 'x' or true",
            "not false",
            "coalesce(null, true)",
            "id is not null",
            "id = id",
            "case when 1 = 1 then true else owner = 'x' end",
            "(select true)",
            "exists (select 1)",
            "2 in (1, 2)",
            "null is null",
            "(owner = 'x') is not true or (1 < 2)",
        ] {
            assert_eq!(value(always, Session::Any), Value::Bool(true), "{always}");
        }
        for never in [
            "false",
            "1 = 0",
            "owner = null",
            "owner = 'x' and false",
            "id is null",
            "null::boolean",
            "'a' = 'b' or owner = null",
            "exists (select 1 from m where false)",
            "owner = any (null::text[])",
        ] {
            assert!(
                value(never, Session::Any).is_never_true(),
                "{never}: {:?}",
                value(never, Session::Any)
            );
        }
        for open in [
            "owner = 'x'",
            "owner is null",
            "owner = owner",
            "auth.uid() = owner",
            "auth.uid() is null or owner = auth.uid()",
            "current_setting('app.x', true) = owner",
            "owner in (select m.a from m)",
            "random() < 0.5",
        ] {
            let found = value(open, Session::Any);
            assert!(
                !found.is_true() && !found.is_never_true(),
                "{open}: {found:?}"
            );
        }
    }

    #[test]
    fn a_session_without_a_login_is_folded_in() {
        for leak in [
            "auth.uid() is null or owner = auth.uid()::text",
            "not (auth.uid() is not null) or owner = 'x'",
            "(select current_setting('app.user', true)) is null",
            "coalesce(owner = auth.uid()::text, true)",
            "public.claim('sub') is null",
            "auth.email() is null",
            "coalesce(auth.uid(), id) = id",
            "id = coalesce((select auth.uid()), id)",
            "id::text = coalesce(nullif(current_setting('app.user', true), ''), id::text)",
            "id = case when auth.uid() is null then id else auth.uid() end",
            "coalesce(auth.uid(), owner) is not distinct from owner",
        ] {
            assert_eq!(value(leak, Session::Unset), Value::Bool(true), "{leak}");
        }
        assert!(value("current_setting('app.user', true) = ''", Session::Empty).is_true());
        assert!(
            value(
                "nullif(current_setting('app.user', true), '') is null",
                Session::Empty
            )
            .is_true()
        );
        assert!(value("auth.role() = 'anon'", Session::AnonKey).is_true());
        assert!(value("auth.jwt() ->> 'role' = 'anon'", Session::AnonKey).is_true());
        assert!(value("public.claim('role') = 'anon'", Session::AnonKey).is_true());
        for closed in [
            "owner = auth.uid()::text",
            "auth.uid() is not null",
            "auth.role() = 'authenticated'",
            "current_setting('app.user') is null",
            "owner = current_setting('app.user', true)",
            "auth.uid() is null and owner is not null and false",
            "auth.uid() in (select m.a from m)",
        ] {
            let found = value(closed, Session::Unset);
            assert!(found.is_never_true(), "{closed}: {found:?}");
        }
        for open in [
            "coalesce(auth.uid(), owner) = owner",
            "coalesce(auth.uid(), owner, id) = id",
            "coalesce(auth.uid(), id) = owner",
            "coalesce(current_user, id) = id",
        ] {
            let found = value(open, Session::Unset);
            assert!(
                !found.is_true() && !found.is_never_true(),
                "{open}: {found:?}"
            );
        }
        let open = value("current_user is null or owner = 'x'", Session::Unset);
        assert!(!open.is_true(), "{open:?}");
    }

    #[test]
    fn bodies_are_folded_with_their_arguments() {
        assert!(value("public.same('a', 'a')", Session::Any).is_true());
        assert!(value("public.same('a', null)", Session::Any).is_never_true());
        assert_eq!(
            value("public.same(owner, 'a')", Session::Any),
            Value::Unknown
        );
    }
}
