//! Mutations of an expression or of a function's body, by its tokens.
//!
//! `pg_get_expr` writes every operand in brackets, so that taking one away or putting another operator in its place leaves an
//! expression. In a hand-written body a mutation may not parse; whoever applies it drops it then.

use super::catalog::{Catalog, Column};

/// What a token is, as far as mutations tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Word,
    Text,
    Number,
    Operator,
    Open,
    Close,
    Other,
}

#[derive(Clone, Debug)]
struct Token {
    start: usize,
    end: usize,
    kind: Kind,
    /// How many brackets are open around it; both brackets of a pair stand outside.
    depth: usize,
}

/// A mutated text and the kind of the mutation.
pub(super) type Mutant = (&'static str, String);

pub(super) struct Expression<'a> {
    text: &'a str,
    tokens: Vec<Token>,
}

const SWAPPED: [(&str, &[&str]); 12] = [
    ("=", &["<>", "is not distinct from"]),
    ("<>", &["=", "is distinct from"]),
    ("<", &["<=", ">"]),
    ("<=", &["<", ">="]),
    (">", &[">=", "<"]),
    (">=", &[">", "<="]),
    ("&&", &["@>", "<@"]),
    ("~~", &["!~~"]),
    ("~~*", &["!~~"]),
    ("->>", &[]),
    ("||", &[]),
    ("->", &[]),
];
const COMPARING: [&str; 8] = ["=", "<>", "<", "<=", ">", ">=", "&&", "~~"];
/// Where an operand of AND or OR ends.
const BOUNDS: [&str; 15] = [
    "and", "or", "where", "on", "having", "when", "then", "else", "select", "return", "if",
    "order", "limit", "group", "end",
];

impl<'a> Expression<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            tokens: tokens(text),
            text,
        }
    }

    fn at(&self, token: &Token) -> &'a str {
        self.text.get(token.start..token.end).unwrap()
    }

    fn is(&self, index: usize, word: &str) -> bool {
        self.tokens
            .get(index)
            .is_some_and(|t| self.at(t).eq_ignore_ascii_case(word))
    }

    /// The text with the tokens `from..to` replaced.
    fn with(&self, from: usize, to: usize, new: &str) -> String {
        let start = self.tokens[from].start;
        let end = self.tokens[to - 1].end;
        let (before, after) = (
            self.text.get(..start).unwrap(),
            self.text.get(end..).unwrap(),
        );
        format!("{before}{new}{after}")
    }

    fn piece(&self, from: usize, to: usize) -> &'a str {
        self.text
            .get(self.tokens[from].start..self.tokens[to - 1].end)
            .unwrap()
    }

    /// The operands around the connective at `index`: where the left one begins and the right one ends.
    fn operands(&self, index: usize) -> (usize, usize) {
        let depth = self.tokens[index].depth;
        let ends = |i: usize| {
            let token = &self.tokens[i];
            let text = self.at(token);
            token.depth < depth
                || (token.depth == depth
                    && (text == ";"
                        || text == ","
                        || BOUNDS.iter().any(|b| text.eq_ignore_ascii_case(b))))
        };
        let left = (0..index).rev().find(|i| ends(*i)).map_or(0, |i| i + 1);
        let right = (index + 1..self.tokens.len())
            .find(|i| ends(*i))
            .unwrap_or(self.tokens.len());
        (left, right)
    }

    /// Bracketed comparisons: the first token, the operator, and the one after the last.
    fn comparisons(&self) -> Vec<(usize, usize, usize)> {
        let mut found = Vec::new();
        for (index, token) in self.tokens.iter().enumerate() {
            if token.kind != Kind::Operator
                || !COMPARING.contains(&self.at(token))
                || token.depth == 0
            {
                continue;
            }
            let open = (0..index)
                .rev()
                .find(|i| self.tokens[*i].depth < token.depth);
            let close = (index..self.tokens.len()).find(|i| self.tokens[*i].depth < token.depth);
            let (Some(open), Some(close)) = (open, close) else {
                continue;
            };
            let alone = (open + 1..close).all(|i| {
                i == index
                    || self.tokens[i].depth > token.depth
                    || !(BOUNDS
                        .iter()
                        .chain(&["any", "all", "from"])
                        .any(|b| self.is(i, b))
                        || COMPARING.contains(&self.at(&self.tokens[i])))
            });
            // An argument list or a sub-select is no operand.
            let called = open > 0
                && self.tokens[open - 1].kind == Kind::Word
                && !BOUNDS.iter().chain(&["not"]).any(|b| self.is(open - 1, b));
            if alone && !called {
                found.push((open, index, close + 1));
            }
        }
        found
    }

    /// The whole expression and each comparison of it, each written in another way that means the same to a policy.
    pub(super) fn equivalents(&self) -> Vec<Mutant> {
        let e = self.text;
        let mut found = vec![
            ("equal: and true", format!("({e}) and true")),
            ("equal: or false", format!("({e}) or false")),
            ("equal: twice negated", format!("not (not ({e}))")),
            ("equal: null is false", format!("coalesce(({e}), false)")),
            (
                "equal: case",
                format!("case when ({e}) then true else false end"),
            ),
            ("equal: twice", format!("({e}) and ({e})")),
            ("equal: absorbed", format!("({e}) or (({e}) and 1 = 1)")),
        ];
        for (open, operator, close) in self.comparisons() {
            let sign = self.at(&self.tokens[operator]);
            if matches!(sign, "=" | "<>" | "&&") {
                let (left, right) = (
                    self.piece(open + 1, operator),
                    self.piece(operator + 1, close - 1),
                );
                if !right.trim_start().to_lowercase().starts_with("any") {
                    found.push((
                        "equal: commuted",
                        self.with(open, close, &format!("({right} {sign} {left})")),
                    ));
                }
            }
        }
        for index in 0..self.tokens.len() {
            // schema.function() with no argument, not yet in a sub-select of its own.
            if self.is(index + 1, ".")
                && self.is(index + 3, "(")
                && self.is(index + 4, ")")
                && !(index > 0 && self.is(index - 1, "select"))
            {
                found.push((
                    "equal: wrapped",
                    self.with(
                        index,
                        index + 5,
                        &format!("( select {})", self.piece(index, index + 5)),
                    ),
                ));
            }
        }
        found
    }

    /// Operators, connectives, operands, constants and NULL: what needs no catalog.
    pub(super) fn mutants(&self, constants: &[String]) -> Vec<Mutant> {
        let mut found = Vec::new();
        for (index, token) in self.tokens.iter().enumerate() {
            let text = self.at(token);
            match token.kind {
                Kind::Operator => {
                    let swapped = SWAPPED.iter().find(|(sign, _)| *sign == text);
                    for new in swapped.map_or(&[][..], |(_, new)| *new) {
                        found.push(("operator", self.with(index, index + 1, &format!(" {new} "))));
                    }
                }
                Kind::Word => self.connective(index, text, &mut found),
                Kind::Text => {
                    for constant in constants
                        .iter()
                        .filter(|c| format!("'{c}'") != text)
                        .take(3)
                    {
                        found.push((
                            "constant",
                            self.with(index, index + 1, &format!("'{constant}'")),
                        ));
                    }
                }
                Kind::Number => {
                    if let Ok(number) = text.parse::<i64>() {
                        found.push((
                            "constant",
                            self.with(index, index + 1, &(number + 1).to_string()),
                        ));
                        found.push((
                            "constant",
                            self.with(index, index + 1, &(number * 10).to_string()),
                        ));
                    }
                }
                Kind::Open | Kind::Close | Kind::Other => {}
            }
        }
        for (open, operator, close) in self.comparisons() {
            let whole = self.piece(open, close);
            let left = self.piece(open + 1, operator);
            found.push((
                "null handling",
                self.with(open, close, &format!("coalesce({whole}, true)")),
            ));
            found.push((
                "null handling",
                self.with(open, close, &format!("({whole} or {left} is null)")),
            ));
            found.push(("negated", self.with(open, close, &format!("(not {whole})"))));
            found.push((
                "null handling",
                self.with(open, close, &format!("({whole} is not false)")),
            ));
        }
        found
    }

    fn connective(&self, index: usize, text: &str, found: &mut Vec<Mutant>) {
        let both = |kind: &'static str, other: &str, found: &mut Vec<Mutant>| {
            let (left, right) = self.operands(index);
            if left < index && index + 1 < right {
                found.push((kind, self.with(left, index + 1, "")));
                found.push((kind, self.with(index, right, "")));
                found.push(("connective", self.with(index, index + 1, other)));
            }
        };
        match text.to_ascii_lowercase().as_str() {
            "and" => both("conjunct dropped", "or", found),
            "or" => both("disjunct dropped", "and", found),
            "true" => found.push(("constant", self.with(index, index + 1, "false"))),
            "false" => found.push(("constant", self.with(index, index + 1, "true"))),
            "not" if self.is(index + 1, "null") => {}
            "not"
                if self
                    .tokens
                    .get(index + 1)
                    .is_some_and(|t| t.depth == self.tokens[index].depth) =>
            {
                found.push(("negated", self.with(index, index + 1, "")));
            }
            "null" if index > 0 && self.is(index - 1, "is") => {
                found.push(("null handling", self.with(index, index + 1, "not null")));
            }
            "null" if index > 1 && self.is(index - 1, "not") && self.is(index - 2, "is") => {
                found.push(("null handling", self.with(index - 1, index + 1, "null")));
            }
            "any" => found.push(("operator", self.with(index, index + 1, "all"))),
            _ => {}
        }
    }

    /// Another column of the same type, and another table in a sub-select that has the columns asked of it.
    pub(super) fn renamed(&self, catalog: &Catalog, table: &str) -> Vec<Mutant> {
        let mut found = Vec::new();
        for index in 0..self.tokens.len() {
            if self.tokens[index].kind != Kind::Word
                || self.is(index + 1, "(")
                || self.is(index + 1, ".")
            {
                continue;
            }
            let word = self.at(&self.tokens[index]);
            let qualifier =
                (index > 1 && self.is(index - 1, ".")).then(|| self.at(&self.tokens[index - 2]));
            let of = match qualifier {
                Some(alias) => self.table_of(catalog, alias).unwrap_or(table.to_owned()),
                None => table.to_owned(),
            };
            let columns = catalog.columns(&of);
            if let Some(this) = columns.iter().find(|c| c.name == word) {
                for other in columns.iter().filter(|c| alike(c, this)).take(2) {
                    found.push(("column", self.with(index, index + 1, &other.name)));
                }
            }
            if index > 0 && self.is(index - 1, "from")
                || index > 2 && self.is(index - 3, "from") && self.is(index - 1, ".")
            {
                for other in catalog.tables_like(word) {
                    let from = if self.is(index - 1, ".") {
                        index - 2
                    } else {
                        index
                    };
                    found.push(("table in a sub-select", self.with(from, index + 1, &other)));
                }
            }
        }
        found
    }

    /// The table that `alias` stands for here.
    fn table_of(&self, catalog: &Catalog, alias: &str) -> Option<String> {
        (1..self.tokens.len()).find_map(|i| {
            let named = self.at(&self.tokens[i - 1]);
            (self.is(i, alias) && !self.is(i - 1, ".") && !catalog.columns(named).is_empty())
                .then(|| named.to_owned())
        })
    }
}

fn alike(other: &Column, this: &Column) -> bool {
    other.name != this.name && other.type_name == this.type_name
}

fn tokens(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut found) = (0, 0_usize, Vec::new());
    let run = |from: usize, more: &dyn Fn(u8) -> bool| {
        (from..bytes.len())
            .find(|i| !more(bytes[*i]))
            .unwrap_or(bytes.len())
    };
    while at < bytes.len() {
        let byte = bytes[at];
        let (end, kind) = match byte {
            b if b.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            b'\'' => {
                let mut end = at + 1;
                while end < bytes.len()
                    && (bytes[end] != b'\'' || bytes.get(end + 1) == Some(&b'\''))
                {
                    end += if bytes[end] == b'\'' { 2 } else { 1 };
                }
                (end + 1, Kind::Text)
            }
            b'(' => (at + 1, Kind::Open),
            b')' => (at + 1, Kind::Close),
            b if b.is_ascii_digit() => {
                (run(at, &|b| b.is_ascii_digit() || b == b'.'), Kind::Number)
            }
            b if b.is_ascii_alphabetic() || b == b'_' => (
                run(at, &|b| b.is_ascii_alphanumeric() || b == b'_'),
                Kind::Word,
            ),
            b if b"=<>&@~!|+-*/".contains(&b) => {
                (run(at, &|b| b"=<>&@~!|+-*/".contains(&b)), Kind::Operator)
            }
            b':' => (run(at, &|b| b == b':'), Kind::Other),
            _ => (at + 1, Kind::Other),
        };
        if kind == Kind::Close {
            depth = depth.saturating_sub(1);
        }
        found.push(Token {
            start: at,
            end,
            kind,
            depth,
        });
        if kind == Kind::Open {
            depth += 1;
        }
        at = end;
    }
    found
}
