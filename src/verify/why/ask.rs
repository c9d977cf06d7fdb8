//! Expressions asked of the values of one row, as the identity.

use super::found::{Part, Says};
use super::row::{Condition, Row, clause, columns};
use crate::db::{Error, Limits, Result, Session};
use crate::model::Persona;
use crate::sql::quote;
use crate::sql::tree::{conjuncts, disjuncts, parse_expression, print_expression};
use crate::verify::decide::raised_by_expression;
use crate::verify::pairing::Subject;

/// How deep AND inside OR inside AND is taken apart.
const DEPTH: usize = 5;

/// The connection is the identity's own: a setting that was once set in a session is never unset again.
pub(super) struct Asker<'a> {
    pub(super) session: &'a Session,
    pub(super) persona: &'a Persona,
    pub(super) subject: &'a Subject,
    pub(super) row: &'a Row,
    pub(super) limits: Limits,
}

impl Asker<'_> {
    /// A policy's expression and its parts.
    pub(super) async fn policy(&self, text: &str) -> Result<Part> {
        self.part(text.to_owned(), DEPTH).await
    }

    async fn part(&self, text: String, depth: usize) -> Result<Part> {
        let says = self.says(&text).await?;
        let mut part = Part {
            says,
            all: false,
            parts: Vec::new(),
            text,
        };
        let Ok(node) = parse_expression(&part.text) else {
            return Ok(part);
        };
        let all = conjuncts(&node);
        part.all = all.len() > 1;
        let inner = if part.all { all } else { disjuncts(&node) };
        if inner.len() > 1 && depth > 0 {
            for node in inner {
                let Ok(text) = print_expression(&node) else {
                    part.parts.clear();
                    return Ok(part);
                };
                part.parts.push(Box::pin(self.part(text, depth - 1)).await?);
            }
            // What is printed anew may be another operator: then the whole alone is to be trusted.
            if part.sum().is_some_and(|sum| sum != part.says) {
                part.parts.clear();
            }
        }
        Ok(part)
    }

    async fn says(&self, text: &str) -> Result<Says> {
        let alias = self.subject.before.alias();
        let values: Vec<String> = columns(self.subject)
            .enumerate()
            .map(|(at, c)| {
                let (kind, name) = (&c.type_name, quote::ident(&c.name));
                format!("(($1::text[])[{}])::{kind} as {name}", at + 1)
            })
            .collect();
        let from = if values.is_empty() {
            "(select pg_catalog.cardinality($1::text[]))".to_owned()
        } else {
            format!("(select {})", values.join(", "))
        };
        let sql = format!(
            "select case when d then 'true' when not d then 'false' else 'null' end
             from (select ({text}) as d from {from} as {alias} offset 0) x"
        );
        let answer = self.query(&sql, &self.row.values).await;
        match answer {
            Ok(Some(said)) => Ok(match said.as_str() {
                "true" => Says::True,
                "false" => Says::False,
                _ => Says::Null,
            }),
            Ok(None) => Ok(Says::Unknown("the server gave no answer".to_owned())),
            Err(error) => match &error.sqlstate {
                Some(state) if raised_by_expression(state) => Ok(Says::Raises(state.clone())),
                _ => Err(error),
            },
        }
    }

    /// What a SELECT finds; `None` where the identity may not name the columns of the key, or a policy raises.
    pub(super) async fn seen(&self, conditions: &[Condition<'_>]) -> Result<Option<bool>> {
        let sql = format!(
            "select (exists (select from {} t where {}))::text",
            self.subject.before.quoted(),
            clause(conditions)
        );
        let values: Vec<Option<String>> = conditions.iter().map(|(_, v)| Some(v.clone())).collect();
        match self.query(&sql, &values).await {
            Ok(said) => Ok(said.map(|s| s == "true")),
            Err(error) if error.sqlstate.as_deref().is_some_and(raised_by_expression) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn query(&self, sql: &str, values: &[Option<String>]) -> Result<Option<String>> {
        let doing = format!("ask as {} on {}", self.persona.name, self.subject.name());
        self.session
            .begin_as(self.persona, true, self.limits)
            .await?;
        let rows = self.session.client().query(sql, &[&values]).await;
        self.session.end().await?;
        let rows = rows.map_err(|e| Error::pg(&doing, &e))?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        row.try_get(0).map_err(|e| Error::pg(&doing, &e))
    }
}
