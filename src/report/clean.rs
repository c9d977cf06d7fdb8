use std::borrow::Cow;

/// Text from a database made safe for a terminal: control characters, escapes among them, and the
/// marks that turn the direction of text around are shown as `\u{…}`. Newline and tab stay.
pub fn clean(text: &str) -> Cow<'_, str> {
    escaped(text, is_unsafe)
}

/// [`clean`] on one line: for names, which may hold newlines as well.
pub(super) fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_unsafe(c) || c == '\n' || c == '\t')
}

fn escaped(text: &str, unsafe_here: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&unsafe_here) {
        return Cow::Borrowed(text);
    }
    text.chars()
        .fold(String::new(), |mut out, c| {
            if unsafe_here(c) {
                out.extend(c.escape_unicode());
            } else {
                out.push(c);
            }
            out
        })
        .into()
}

/// Whether a terminal might act on the character, or show what follows it the other way round.
pub(super) fn is_unsafe(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    #[test]
    fn escapes_do_not_reach_the_terminal() {
        assert_eq!(
            super::clean("a\u{1b}[31mb\u{202e}\u{9b}"),
            "a\\u{1b}[31mb\\u{202e}\\u{9b}"
        );
        assert_eq!(super::clean("tab\tline\n"), "tab\tline\n");
        assert_eq!(super::one_line("tab\tline\n"), "tab\\u{9}line\\u{a}");
    }
}
