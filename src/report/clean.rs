use std::borrow::Cow;

/// Text from a database made safe for a terminal: control characters, escapes among them, and the
/// marks that turn the direction of text around are shown as `\u{…}`. Newline and tab stay.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    text.chars()
        .fold(String::new(), |mut out, c| {
            if is_unsafe(c) {
                out.extend(c.escape_unicode());
            } else {
                out.push(c);
            }
            out
        })
        .into()
}

fn is_unsafe(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    #[test]
    fn escapes_do_not_reach_the_terminal() {
        assert_eq!(
            super::clean("a\u{1b}[31mb\u{202e}"),
            "a\\u{1b}[31mb\\u{202e}"
        );
        assert_eq!(super::clean("tab\tline\n"), "tab\tline\n");
    }
}
