//! A [`Report`] becomes bytes. One file a format; every format shows every finding and every gap.

use crate::model::Report;
use std::io::{self, Write};

mod chart;
mod clean;
mod html;
mod json;
mod markdown;
mod table;

pub use clean::clean;

/// Every format, the default first.
pub static ALL: &[&Format] = &[
    &table::FORMAT,
    &json::FORMAT,
    &markdown::FORMAT,
    &html::FORMAT,
];

pub struct Format {
    pub name: &'static str,
    pub about: &'static str,
    pub render: fn(&Report, Style, &mut dyn Write) -> io::Result<()>,
}

#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub color: bool,
    /// Columns of the terminal.
    pub width: u16,
}

pub fn format(name: &str) -> Option<&'static Format> {
    ALL.iter().copied().find(|f| f.name == name)
}
