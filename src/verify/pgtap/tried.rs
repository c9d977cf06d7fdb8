//! Whether an assertion holds on a clone, before it is written.

use super::file::{ALL, Inserted, STATE};
use crate::db::{Limits, Result, Session, Target};
use crate::model::Persona;
use crate::sql::quote::{ident, literal};
use crate::verify::pairing::Subject;

/// One identity in front of one table. Each try is a connection of its own, because a setting is never unset again.
pub(super) struct Trial<'a> {
    pub(super) clone: &'a Target,
    pub(super) subject: &'a Subject,
    pub(super) persona: &'a Persona,
    pub(super) limits: Limits,
}

impl Trial<'_> {
    /// Whether two counts are the same.
    pub(super) async fn holds(&self, actual: &str, expected: &str) -> Result<bool> {
        let said = self
            .ask(&format!("select (({actual}) = ({expected}))::text"))
            .await?;
        Ok(said == "true")
    }

    /// Whether a row like a foreign one is refused by policies; false where there is no such row.
    pub(super) async fn refused(&self, test: &Inserted) -> Result<bool> {
        let said = self
            .ask(&format!(
                "select case when exists ({}) then pg_temp.dbtune_state({}) else '' end",
                test.foreign,
                literal(&test.insert)
            ))
            .await?;
        Ok(said == "42501")
    }

    async fn ask(&self, sql: &str) -> Result<String> {
        let session = Session::connect(self.clone, "verify").await?;
        let doing = format!("try a test of {}", self.subject.name());
        session.begin_trying(self.limits).await?;
        let said = async {
            let prepare = format!(
                "create temporary view dbtune_all as select * from {}; grant select on {ALL} to {}; {STATE}",
                self.subject.before.quoted(),
                ident(&self.persona.role)
            );
            session.execute(&doing, &prepare).await?;
            session.become_persona(self.persona).await?;
            session.texts(&doing, sql).await
        };
        let said = said.await;
        session.end().await?;
        Ok(said?.concat())
    }
}
