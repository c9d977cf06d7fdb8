//! A [`Report`] becomes bytes. One file a format; every format shows every finding and every gap.

use crate::model::Report;
use std::io::{self, Write};

mod axis;
mod chart;
mod clean;
mod curves;
mod github;
mod group;
mod heat;
mod html;
mod html_findings;
mod json;
mod junit;
mod markdown;
mod sarif;
mod sides;
mod spark;
mod table;
mod wrap;

pub use clean::clean;
pub use spark::sparkline;

/// Every format, the default first.
pub static ALL: &[&Format] = &[
    &table::FORMAT,
    &json::FORMAT,
    &markdown::FORMAT,
    &html::FORMAT,
    &sarif::FORMAT,
    &junit::FORMAT,
    &github::FORMAT,
];

pub struct Format {
    pub name: &'static str,
    pub about: &'static str,
    /// The commands whose results it can show; empty for all.
    pub commands: &'static [&'static str],
    pub render: fn(&Report, Style, &mut dyn Write) -> io::Result<()>,
}

impl Format {
    pub fn shows(&self, command: &str) -> bool {
        self.commands.is_empty() || self.commands.contains(&command)
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub color: bool,
    /// Columns of the terminal.
    pub width: u16,
    /// Only characters that every terminal has, as far as dbtune chooses them.
    pub ascii: bool,
}

pub fn format(name: &str) -> Option<&'static Format> {
    ALL.iter().copied().find(|f| f.name == name)
}

/// The format that a file's name asks for, if it does.
pub fn format_of_file(path: &std::path::Path) -> Option<&'static Format> {
    match path.extension()?.to_str()? {
        "html" | "htm" => format("html"),
        "json" => format("json"),
        "md" => format("markdown"),
        "sarif" => format("sarif"),
        "xml" => format("junit"),
        _ => None,
    }
}
