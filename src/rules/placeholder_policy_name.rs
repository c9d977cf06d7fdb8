use super::{Category, Facts, Sink, rule};
use crate::model::Severity;

rule! {
    /// ## What it finds
    /// A policy with a word such as `todo`, `tmp`, `debug` or `fixme` in its name.
    ///
    /// ## Why it matters
    /// It was made to be replaced, and still decides who sees what.
    ///
    /// ## What to do
    /// Look at what it allows, then give it a name that says so, or drop it.
    /// ```sql,bad
    /// create table doc (id int primary key, org int);
    /// alter table doc enable row level security;
    /// create policy "tmpOpenOrg" on doc for select to app using (org = 1);
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, org int);
    /// alter table doc enable row level security;
    /// create policy temperature_of_org on doc for select to app using (org = 1);
    /// ```
    "placeholder-policy-name" {
        summary: "a policy is named like something unfinished",
        category: Category::Safety,
        severity: Severity::Note,
        also: &["pgrls HYG002"],
        check: check,
    }
}

const PLACEHOLDERS: &[&str] = &[
    "todo",
    "fixme",
    "tmp",
    "hack",
    "xxx",
    "debug",
    "placeholder",
];

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for policy in facts
        .policies
        .iter()
        .filter(|p| p.table.extension.is_none())
    {
        let words = words(&policy.policy.name);
        let Some(word) = words.iter().find(|w| PLACEHOLDERS.contains(&w.as_str())) else {
            continue;
        };
        sink.report(
            policy
                .found(Severity::Note, format!("is named {word}, as if it was to be replaced"))
                .evidence("word", word.clone())
                .advice("Look at what it allows, then rename it with ALTER POLICY … RENAME TO, or drop it."),
        );
    }
}

/// The words of `snake_case`, `camelCase` and `TWO WORDS`, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower = false;
    for letter in name.chars() {
        let starts = !letter.is_alphabetic() || letter.is_uppercase() && lower;
        if starts {
            words.push(String::new());
        }
        lower = letter.is_lowercase();
        if letter.is_alphabetic()
            && let Some(word) = words.last_mut()
        {
            word.extend(letter.to_lowercase());
        }
    }
    words.retain(|w| !w.is_empty());
    words
}

#[cfg(test)]
mod tests {
    #[test]
    fn words_of_every_style() {
        assert_eq!(super::words("TmpReadAll"), ["tmp", "read", "all"]);
        assert_eq!(super::words("TODO_owner2"), ["todo", "owner"]);
        assert_eq!(super::words("read all"), ["read", "all"]);
        assert_eq!(super::words("temperature"), ["temperature"]);
    }
}
