//! Two texts side by side, with the lines that differ marked.

use super::html::text;
use crate::model::Sides;
use std::io::{self, Write};

pub(super) fn render(sides: &Sides, out: &mut dyn Write) -> io::Result<()> {
    let before: Vec<&str> = sides.before.lines().collect();
    let after: Vec<&str> = sides.after.lines().collect();
    writeln!(
        out,
        "<details class=\"sides\">\n<summary>{}</summary>\n<div class=\"pair\">",
        text(&sides.title)
    )?;
    let common = common(&before, &after);
    column("before", "−", &before, &common.0, out)?;
    column("after", "+", &after, &common.1, out)?;
    writeln!(out, "</div>\n</details>")
}

/// The marks are text, so that they are seen without colour and in print.
fn column(
    title: &str,
    mark: &str,
    lines: &[&str],
    common: &[bool],
    out: &mut dyn Write,
) -> io::Result<()> {
    write!(out, "<div><h4>{title}</h4><pre><code>")?;
    for (line, same) in lines.iter().zip(common) {
        if *same {
            writeln!(out, "  {}", text(line))?;
        } else {
            writeln!(out, "<span class=\"changed\">{mark} {}</span>", text(line))?;
        }
    }
    writeln!(out, "</code></pre></div>")
}

/// Which lines of each side belong to a longest common subsequence.
pub(super) fn common(before: &[&str], after: &[&str]) -> (Vec<bool>, Vec<bool>) {
    let width = after.len() + 1;
    let mut lengths = vec![0usize; (before.len() + 1) * width];
    let get = |lengths: &[usize], b: usize, a: usize| {
        lengths.get(b * width + a).copied().unwrap_or_default()
    };
    for (b, line) in before.iter().enumerate().rev() {
        for (a, other) in after.iter().enumerate().rev() {
            let length = if line == other {
                get(&lengths, b + 1, a + 1) + 1
            } else {
                get(&lengths, b + 1, a).max(get(&lengths, b, a + 1))
            };
            if let Some(cell) = lengths.get_mut(b * width + a) {
                *cell = length;
            }
        }
    }
    let (mut kept_before, mut kept_after) = (vec![false; before.len()], vec![false; after.len()]);
    let (mut b, mut a) = (0, 0);
    while let (Some(line), Some(other)) = (before.get(b), after.get(a)) {
        if line == other {
            kept_before
                .iter_mut()
                .skip(b)
                .take(1)
                .for_each(|k| *k = true);
            kept_after
                .iter_mut()
                .skip(a)
                .take(1)
                .for_each(|k| *k = true);
            b += 1;
            a += 1;
        } else if get(&lengths, b + 1, a) >= get(&lengths, b, a + 1) {
            b += 1;
        } else {
            a += 1;
        }
    }
    (kept_before, kept_after)
}

#[cfg(test)]
mod tests {
    use super::common;

    #[test]
    fn the_longest_common_part_stays() {
        let (before, after) = common(&["Limit", "Sort", "Seq Scan"], &["Limit", "Index Scan"]);
        assert_eq!(before, [true, false, false]);
        assert_eq!(after, [true, false]);
        assert_eq!(common(&[], &["x"]), (vec![], vec![false]));
    }
}
