//! Words in lines of a given width.

/// Breaks `text` at blank space so that no line is wider than `width` columns; a word that is wider is cut. Line
/// breaks of the text stay.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        let mut columns = 0;
        for word in paragraph.split_whitespace() {
            let mut length = word.chars().count();
            if columns > 0 && columns + 1 + length > width {
                lines.push(std::mem::take(&mut line));
                columns = 0;
            }
            if columns > 0 {
                line.push(' ');
                columns += 1;
            }
            let mut word = word;
            while columns + length > width {
                let cut = word.char_indices().nth(width - columns);
                let (start, rest) = word.split_at(cut.map_or(word.len(), |(at, _)| at));
                lines.push(format!("{line}{start}"));
                line.clear();
                columns = 0;
                word = rest;
                length = word.chars().count();
            }
            line.push_str(word);
            columns += length;
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn no_line_is_too_wide() {
        assert_eq!(wrap("aa bb cc\n\nd", 5), ["aa bb", "cc", "", "d"]);
        assert_eq!(wrap("a bbbbbbbb c", 3), ["a", "bbb", "bbb", "bb", "c"]);
        assert_eq!(wrap("äöü äöü", 3), ["äöü", "äöü"]);
    }
}
