//! A table whose cells are coloured: queries down, personas across.

use super::html::{text, tone_class};
use crate::model::Heat;
use std::io::{self, Write};

pub(super) fn render(heat: &Heat, out: &mut dyn Write) -> io::Result<()> {
    if heat.rows.is_empty() {
        return Ok(());
    }
    write!(
        out,
        "<div class=\"scroll\"><table class=\"heat\">\n<caption>{}</caption>\n<thead><tr><th scope=\"col\">{}</th>",
        text(&heat.title),
        text(&heat.corner)
    )?;
    for column in &heat.columns {
        write!(out, "<th scope=\"col\">{}</th>", text(column))?;
    }
    writeln!(out, "</tr></thead>\n<tbody>")?;
    for (label, cells) in &heat.rows {
        write!(out, "<tr><th scope=\"row\">{}</th>", text(label))?;
        for cell in cells {
            match cell {
                None => write!(out, "<td class=\"none\"></td>")?,
                Some(cell) => write!(
                    out,
                    "<td class=\"cell {} s{}\"><b>{}</b> <span>{}</span></td>",
                    tone_class(cell.tone),
                    strength(cell.strength),
                    text(&cell.text),
                    text(&cell.note)
                )?,
            }
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</tbody></table></div>")
}

/// One of four steps of colour.
fn strength(share: f64) -> u8 {
    match share {
        s if s >= 0.75 => 3,
        s if s >= 0.4 => 2,
        s if s >= 0.1 => 1,
        _ => 0,
    }
}
