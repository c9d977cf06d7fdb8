use std::fmt;

/// What failed, on which object, why, and what to do about it.
///
/// Never carries a row value: the server's DETAIL is left out, and so is the message of data errors
/// (SQLSTATE classes 22 and 23), which quote the offending value.
#[derive(Clone, Debug)]
pub struct Error {
    /// "read the policies", "connect to a server": completes "could not …".
    pub doing: String,
    pub sqlstate: Option<String>,
    pub message: String,
    /// The exact command or setting that helps.
    pub advice: Option<String>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}: {}", self.doing, self.message)?;
        if let Some(state) = &self.sqlstate {
            write!(f, " [SQLSTATE {state}]")?;
        }
        if let Some(advice) = &self.advice {
            write!(f, "\n  {advice}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl Error {
    pub fn new(doing: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            doing: doing.into(),
            sqlstate: None,
            message: message.into(),
            advice: None,
        }
    }

    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    pub fn is(&self, sqlstate: &str) -> bool {
        self.sqlstate.as_deref() == Some(sqlstate)
    }

    /// From tokio-postgres, with the activity that failed.
    pub fn pg(doing: impl Into<String>, error: &tokio_postgres::Error) -> Self {
        let doing = doing.into();
        if let Some(db) = error.as_db_error() {
            return Self::server(
                doing,
                db.code().code(),
                db.message(),
                db.constraint().or(db.column()).or(db.table()),
            );
        }
        let message = match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        Self::new(doing, message)
    }

    /// From sqlx, with the activity that failed.
    pub fn sqlx(doing: impl Into<String>, error: &sqlx::Error) -> Self {
        let doing = doing.into();
        match error.as_database_error() {
            Some(db) => Self::server(
                doing,
                db.code().as_deref().unwrap_or("XX000"),
                db.message(),
                db.constraint().or(db.table()),
            ),
            None => Self::new(doing, error.to_string()),
        }
    }

    fn server(doing: String, sqlstate: &str, message: &str, part: Option<&str>) -> Self {
        let data_error = sqlstate.starts_with("22") || sqlstate.starts_with("23");
        let message = match (data_error, part) {
            (false, _) => message.to_owned(),
            (true, Some(part)) => format!("{} on \"{part}\"", data_condition(sqlstate)),
            (true, None) => data_condition(sqlstate).to_owned(),
        };
        Self {
            doing,
            sqlstate: Some(sqlstate.to_owned()),
            message,
            advice: advice(sqlstate).map(str::to_owned),
        }
    }
}

/// Condition names of PostgreSQL's Appendix A, for errors whose message quotes a value.
fn data_condition(sqlstate: &str) -> &'static str {
    match sqlstate {
        "22P02" => "invalid text representation of a value",
        "22003" => "numeric value out of range",
        "22004" => "null value not allowed",
        "22007" => "invalid datetime format",
        "22012" => "division by zero",
        "2202E" => "array subscript error",
        "23502" => "not-null violation",
        "23503" => "foreign key violation",
        "23505" => "unique violation",
        "23514" => "check violation",
        "23P01" => "exclusion violation",
        state if state.starts_with("23") => "integrity constraint violation",
        _ => "data exception",
    }
}

fn advice(sqlstate: &str) -> Option<&'static str> {
    Some(match sqlstate {
        "28P01" => "Wrong password: check PGPASSWORD, ~/.pgpass or the password in the URL.",
        "28000" => "The server's pg_hba.conf does not let this user in from here.",
        "3D000" => "List the databases with `psql -l` and name one in --db.",
        "53300" => "No connection is free: end idle ones, or raise max_connections.",
        "57014" => "The statement ran into statement_timeout or was cancelled.",
        "55P03" => {
            "Another session holds a conflicting lock; dbtune does not wait for it longer than lock_timeout."
        }
        "53100" => {
            "The server's disk is full: free some of it, or give the index a tablespace with room."
        }
        "25006" => {
            "The statement writes, but this command only reads. Mark the query `write: true` if it is meant to."
        }
        _ => return None,
    })
}
