//! What keeps a migration from being run at all.

use std::fmt;

/// One reason, found before anything was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file or version it is about.
    pub about: String,
    pub line: Option<usize>,
    /// Why, and what to do.
    pub message: String,
}

impl Problem {
    pub fn new(about: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            about: about.into(),
            line: None,
            message: message.into(),
        }
    }

    #[must_use]
    pub fn at(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.about, self.message),
            None => write!(f, "{}: {}", self.about, self.message),
        }
    }
}
