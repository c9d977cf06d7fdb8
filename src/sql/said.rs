//! What a text says, whatever its grammar: bodies of procedural languages are read token by token, so that nothing in them is
//! overlooked. Says too much rather than too little.

use pg_query::protobuf::Token;
use std::collections::{BTreeMap, BTreeSet};

/// The names and constants of a piece of SQL or of a procedural language.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Identifiers and key words, as the server folds them.
    pub words: BTreeSet<String>,
    /// Those with a parenthesis behind them.
    pub called: BTreeSet<String>,
    /// Every string constant, without its quotes.
    pub strings: BTreeSet<String>,
    /// Every number, with its sign where one stands before it.
    pub numbers: BTreeSet<String>,
    /// Constants by the word, key or setting that stands shortly before them.
    pub compared: BTreeMap<String, BTreeSet<String>>,
    /// Settings read by `current_setting('name'…)`.
    pub settings: BTreeMap<String, Reading>,
    /// Settings written by `set_config('name'…)`.
    pub written: BTreeSet<String>,
    /// Fields of JSON documents that are taken out, wherever the document comes from.
    pub fields: BTreeMap<Vec<String>, Reading>,
}

/// What becomes of a setting, or of a field of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// It is taken for a JSON document, or for a part of one.
    pub document: bool,
    /// The type that it is cast to, other than text.
    pub cast: Option<String>,
}

impl Reading {
    /// The union of two.
    pub fn merge(&mut self, other: &Self) {
        self.document |= other.document;
        if self.cast.is_none() {
            self.cast.clone_from(&other.cast);
        }
    }
}

impl Said {
    /// The union of two.
    pub fn merge(&mut self, other: &Self) {
        self.words.extend(other.words.iter().cloned());
        self.called.extend(other.called.iter().cloned());
        self.strings.extend(other.strings.iter().cloned());
        self.numbers.extend(other.numbers.iter().cloned());
        self.written.extend(other.written.iter().cloned());
        for (subject, constants) in &other.compared {
            let known = self.compared.entry(subject.clone()).or_default();
            known.extend(constants.iter().cloned());
        }
        for (name, reading) in &other.settings {
            self.settings
                .entry(name.clone())
                .or_default()
                .merge(reading);
        }
        for (path, reading) in &other.fields {
            self.fields.entry(path.clone()).or_default().merge(reading);
        }
    }
}

/// What `text` says; `None` where its quotes do not match.
pub fn said(text: &str) -> Option<Said> {
    let tokens = tokens(text)?;
    let mut said = Said::default();
    let mut subjects: Vec<(usize, String)> = Vec::new();
    let mut fields_until = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Lexeme::Word(word) => {
                said.words.insert(word.clone());
                if tokens.get(at + 1).is_some_and(|t| t.is("(")) {
                    said.called.insert(word.clone());
                }
                subjects.push((at, word.clone()));
                let argument = argument(&tokens, at);
                if let (Some(name), "current_setting") = (argument, word.as_str()) {
                    let (reading, path, end) = fate(&tokens, at + 1);
                    fields_until = end;
                    said.field(path, &reading);
                    let known = said.settings.entry(name.to_owned()).or_default();
                    known.merge(&reading);
                } else if let (Some(name), "set_config") = (argument, word.as_str()) {
                    said.written.insert(name.to_owned());
                }
            }
            Lexeme::Constant { text, number } => {
                let constants = if *number {
                    &mut said.numbers
                } else {
                    &mut said.strings
                };
                constants.insert(text.clone());
                let near = subjects.iter().rev().take_while(|(s, _)| at - s <= NEAR);
                for (_, subject) in near {
                    let known = said.compared.entry(subject.clone()).or_default();
                    known.insert(text.clone());
                }
                if !number {
                    subjects.push((at, text.clone()));
                }
            }
            Lexeme::Mark(mark) if is_arrow(mark) && at >= fields_until => {
                let (reading, path, end) = fate(&tokens, at);
                fields_until = end;
                said.field(path, &reading);
            }
            Lexeme::Mark(_) => {}
        }
    }
    Some(said)
}

/// How many tokens away a constant still belongs to a word.
const NEAR: usize = 9;

impl Said {
    fn field(&mut self, path: Vec<String>, reading: &Reading) {
        if !path.is_empty() {
            let reading = Reading {
                document: false,
                cast: reading.cast.clone(),
            };
            self.fields.entry(path).or_default().merge(&reading);
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Lexeme {
    Word(String),
    Constant { text: String, number: bool },
    Mark(String),
}

impl Lexeme {
    fn is(&self, mark: &str) -> bool {
        matches!(self, Self::Mark(m) if m == mark)
    }
}

fn tokens(text: &str) -> Option<Vec<Lexeme>> {
    let scanned = pg_query::scan(text).ok()?;
    let mut found: Vec<Lexeme> = Vec::new();
    for token in &scanned.tokens {
        let start = usize::try_from(token.start).ok()?;
        let spelled = text.get(start..usize::try_from(token.end).ok()?)?;
        let lexeme = match token.token() {
            Token::SqlComment | Token::CComment => continue,
            Token::Sconst | Token::Usconst => Lexeme::Constant {
                text: unquoted(spelled)?,
                number: false,
            },
            Token::Iconst | Token::Fconst => {
                let negative = found.last().is_some_and(|l| l.is("-"));
                Lexeme::Constant {
                    text: format!("{}{spelled}", if negative { "-" } else { "" }),
                    number: true,
                }
            }
            _ if spelled.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '"') => {
                let inner = spelled.strip_prefix('"').and_then(|w| w.strip_suffix('"'));
                Lexeme::Word(
                    inner.map_or_else(|| spelled.to_lowercase(), |w| w.replace("\"\"", "\"")),
                )
            }
            _ => Lexeme::Mark(spelled.to_owned()),
        };
        found.push(lexeme);
    }
    Some(found)
}

/// A string constant without its quotes. Escapes are left as they are: such a text is a constant all the same.
fn unquoted(spelled: &str) -> Option<String> {
    if let Some(rest) = spelled.strip_prefix('$') {
        let (tag, rest) = rest.split_once('$')?;
        return rest.strip_suffix(&format!("${tag}$")).map(str::to_owned);
    }
    let (_, rest) = spelled.split_once('\'')?;
    Some(rest.strip_suffix('\'')?.replace("''", "'"))
}

/// The string that is the first argument of the call of the word at `at`.
fn argument(tokens: &[Lexeme], at: usize) -> Option<&str> {
    match (tokens.get(at + 1)?, tokens.get(at + 2)?) {
        (
            Lexeme::Mark(open),
            Lexeme::Constant {
                text,
                number: false,
            },
        ) if open == "(" => Some(text),
        _ => None,
    }
}

fn is_arrow(mark: &str) -> bool {
    matches!(mark, "->" | "->>" | "#>" | "#>>")
}

/// What becomes of the value that ends before `from`, or of the call whose parenthesis is there: fields taken out of it one
/// after the other, and the cast. The third is where what was read ends.
fn fate(tokens: &[Lexeme], from: usize) -> (Reading, Vec<String>, usize) {
    let (mut reading, mut path) = (Reading::default(), Vec::new());
    let mut depth = 0_u32;
    let mut at = from;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            Lexeme::Mark(mark) if mark == "(" => depth += 1,
            Lexeme::Mark(mark) if mark == ")" => depth = depth.saturating_sub(1),
            // Further arguments, as of `nullif`: until the parenthesis that closes them.
            Lexeme::Mark(mark) if mark == "," && depth == 0 => depth = 1,
            _ if depth > 0 => {}
            Lexeme::Mark(mark) if mark == "::" => {
                if cast(tokens, &mut at, &mut reading) {
                    break;
                }
            }
            Lexeme::Word(word) if word == "as" => {
                if cast(tokens, &mut at, &mut reading) {
                    break;
                }
            }
            Lexeme::Mark(mark) if is_arrow(mark) => {
                let Some(Lexeme::Constant { text, .. }) = tokens.get(at) else {
                    break;
                };
                at += 1;
                reading.document = true;
                if mark.starts_with('#') {
                    let steps = text.trim_matches(['{', '}']).split(',');
                    path.extend(steps.map(|s| s.trim().to_owned()));
                } else {
                    path.push(text.clone());
                }
            }
            _ => break,
        }
    }
    (reading, path, at)
}

/// Reads a type; whether it is the last word on the value. Text is not: it is usually cast once more.
fn cast(tokens: &[Lexeme], at: &mut usize, reading: &mut Reading) -> bool {
    let mut name = String::new();
    while let Some(Lexeme::Word(word)) = tokens.get(*at) {
        name.clone_from(word);
        *at += 1;
        if !tokens.get(*at).is_some_and(|l| l.is(".")) {
            break;
        }
        *at += 1;
    }
    match name.as_str() {
        "text" | "varchar" | "character" | "name" | "citext" | "" => false,
        "json" | "jsonb" => {
            reading.document = true;
            false
        }
        _ => {
            reading.cast = Some(name);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_constants_of_any_body() {
        let found = said(
            "declare n int; begin -- a comment's 'string'
             if m.level > 3 and \"Role\" in ('admin', $q$own'er$q$) then return -1; end if; end",
        )
        .unwrap();
        assert!(found.words.contains("Role") && found.words.contains("level"));
        assert!(!found.words.contains("comment"));
        let strings: Vec<_> = found.strings.iter().map(String::as_str).collect();
        assert_eq!(strings, ["admin", "own'er"]);
        assert!(found.numbers.contains("3") && found.numbers.contains("-1"));
        assert!(found.compared["level"].contains("3"));
        assert!(found.compared["Role"].contains("admin"));
        assert_eq!(said("select 'open"), None);
    }

    #[test]
    fn settings_with_what_becomes_of_them() {
        let found = said(
            "(NULLIF(current_setting('app.uid'::text, true), ''::text))::integer = a
             and coalesce(nullif(current_setting('jwt.sub', true), ''),
               (nullif(current_setting('jwt', true), '')::jsonb ->> 'sub'))::uuid = b
             and current_setting('app.role', true) = 'x'
             and set_config('app.seen', '1', true) is null
             and ((auth.jwt() -> 'app'::text) ->> 'org'::text)::bigint = c",
        )
        .unwrap();
        let cast = |name: &str| found.settings[name].cast.clone();
        assert_eq!(cast("app.uid").as_deref(), Some("integer"));
        assert_eq!(cast("jwt.sub").as_deref(), Some("uuid"));
        assert!(found.settings["jwt"].document);
        assert_eq!(cast("app.role"), None);
        assert!(found.written.contains("app.seen"));
        let field = |path: &[&str]| {
            let path: Vec<String> = path.iter().map(|s| (*s).to_owned()).collect();
            found.fields.get(&path).cloned().unwrap().cast
        };
        assert_eq!(field(&["sub"]).as_deref(), Some("uuid"));
        assert_eq!(field(&["app", "org"]).as_deref(), Some("bigint"));
    }
}
