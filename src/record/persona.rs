//! Roles become personas: users of the smallest, the median and the biggest tenant.

use super::choose::{Recorded, is_guarded};

use super::draft::Draft;

use super::yaml::Noted;
use crate::model::{Catalog, Name, PersonaSpec, Table};
use crate::sql::quote;
use crate::sql::ties::{CLAIMS, Claim, Place, Ties, scan};
use serde_json::Value;
use std::collections::BTreeSet;

/// The personas of one role.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Peopled {
    pub role: String,
    /// By name.
    pub personas: Vec<(String, Noted<PersonaSpec>)>,
}

/// Personas for a role and what it ran.
pub fn people(role: &str, statements: &[&Recorded], catalog: &Catalog) -> Peopled {
    let tables: BTreeSet<&Name> = statements
        .iter()
        .flat_map(|s| &s.tables)
        .filter(|t| is_guarded(t, role, catalog))
        .collect();
    let ties = scan(policies(&tables, role, catalog), catalog);
    let claims = needed(&ties);
    let Some(sized) = Sized::best(&ties, &tables, catalog) else {
        let personas = vec![(name(role, ""), alone(role, &claims, &ties))];
        return Peopled {
            role: role.to_owned(),
            personas,
        };
    };
    let personas = SIZES
        .iter()
        .map(|size| {
            let spec = of_size(role, &claims, &ties, &sized, size, catalog);
            (name(role, size.word), spec)
        })
        .collect();
    Peopled {
        role: role.to_owned(),
        personas,
    }
}

struct Size {
    word: &'static str,
    about: &'static str,
    pick: &'static str,
}

const SIZES: [Size; 3] = [
    Size {
        word: "small",
        about: "with the fewest rows",
        pick: "order by n, who limit 1",
    },
    Size {
        word: "median",
        about: "with a median number of rows",
        pick: "order by n, who offset (select count(*) / 2 from sized) limit 1",
    },
    Size {
        word: "biggest",
        about: "with the most rows, to whom p95 belongs",
        pick: "order by n desc, who limit 1",
    },
];

fn name(role: &str, size: &str) -> String {
    let role: String = role
        .chars()
        .map(|c| if c == '@' { '_' } else { c })
        .collect();
    if size.is_empty() {
        role
    } else {
        format!("{role}_{size}")
    }
}

/// USING and WITH CHECK of every policy that applies.
fn policies<'a>(
    tables: &BTreeSet<&'a Name>,
    role: &str,
    catalog: &'a Catalog,
) -> Vec<(&'a Name, &'a str)> {
    let mut found = Vec::new();
    for (name, table) in &catalog.tables {
        if !tables.contains(name) {
            continue;
        }
        for policy in table
            .policies
            .iter()
            .filter(|p| catalog.applies_to(p, role))
        {
            let texts = [&policy.using, &policy.check];
            found.extend(texts.into_iter().flatten().map(|t| (name, t.as_str())));
        }
    }
    found
}

fn needed(ties: &Ties) -> BTreeSet<Claim> {
    let all = ties.equal.keys().chain(ties.literals.keys());
    let all: BTreeSet<Claim> = all.chain(&ties.read).cloned().collect();
    // A document of which a field is read is not read as a whole.
    all.iter()
        .filter(|c| {
            !all.iter().any(|o| {
                o.setting == c.setting && o.path.len() > c.path.len() && o.path.starts_with(&c.path)
            })
        })
        .cloned()
        .collect()
}

/// How users are told apart by how many rows they see.
struct Sized {
    claim: Claim,
    /// The column that holds whom the claim names.
    who: Place,
    /// The table whose rows count, and how its rows belong to somebody: by its own column, or by way of the table of `who`.
    guarded: Name,
    through: Option<(String, String)>,
}

impl Sized {
    /// By the largest table.
    fn best(ties: &Ties, tables: &BTreeSet<&Name>, catalog: &Catalog) -> Option<Self> {
        let rows = |name: &Name| catalog.table(name).map_or(0.0, Table::row_estimate);
        let mut found: Vec<Self> = Vec::new();
        for (claim, places) in &ties.equal {
            for who in places {
                if tables.contains(&who.0) {
                    found.push(Self {
                        claim: claim.clone(),
                        who: who.clone(),
                        guarded: who.0.clone(),
                        through: None,
                    });
                }
                for ((member, tenant), (guarded, column)) in &ties.joined {
                    if *member == who.0 && tables.contains(guarded) && *tenant != who.1 {
                        found.push(Self {
                            claim: claim.clone(),
                            who: who.clone(),
                            guarded: guarded.clone(),
                            through: Some((tenant.clone(), column.clone())),
                        });
                    }
                }
            }
        }
        found.into_iter().reduce(|best, other| {
            let better = rows(&other.guarded) > rows(&best.guarded);
            if better { other } else { best }
        })
    }

    /// `who` and `n`, one row for each that sees something.
    fn counted(&self) -> String {
        let who = quote::ident(&self.who.1);
        let guarded = quote::name(&self.guarded);
        match &self.through {
            None => format!(
                "select {who} as who, count(*) as n from {guarded} where {who} is not null group by 1"
            ),
            Some((tenant, column)) => {
                let (tenant, column) = (quote::ident(tenant), quote::ident(column));
                format!(
                    "select m.{who} as who, sum(t.n) as n from {} m\n  join (select {column} as tenant, count(*) as n from {guarded} group by 1) t on t.tenant = m.{tenant}\n  group by 1",
                    quote::name(&self.who.0)
                )
            }
        }
    }
}

fn with_role(draft: &mut Draft, role: &str, claims: &BTreeSet<Claim>) {
    if claims.iter().any(|c| c.setting == CLAIMS) {
        draft
            .claims
            .insert("role".to_owned(), Value::String(role.to_owned()));
    }
}

/// A role whose users cannot be told apart by what the policies say.
fn alone(role: &str, claims: &BTreeSet<Claim>, ties: &Ties) -> Noted<PersonaSpec> {
    let mut draft = Draft::default();
    with_role(&mut draft, role, claims);
    for claim in claims.iter().filter(|c| !is_role(c)) {
        draft.put_other(claim, ties);
    }
    if !claims.is_empty() {
        draft.notes.push(
            "No policy compares a claim with a column: whose rows these are is not known. Write a `sample:` that draws \
             users of a small and of the biggest tenant."
                .to_owned(),
        );
    }
    draft.spec(role, format!("Anybody with the role {role}."), None)
}

/// The claim that names the database role itself.
fn is_role(claim: &Claim) -> bool {
    claim.setting == CLAIMS && claim.path == ["role"]
}

fn of_size(
    role: &str,
    claims: &BTreeSet<Claim>,
    ties: &Ties,
    sized: &Sized,
    size: &Size,
    catalog: &Catalog,
) -> Noted<PersonaSpec> {
    let mut draft = Draft::default();
    with_role(&mut draft, role, claims);
    let own = sized.claim.label();
    draft.put(&sized.claim, &format!("${{{own}}}"));
    for claim in claims.iter().filter(|c| **c != sized.claim && !is_role(c)) {
        match beside(claim, ties, sized, catalog) {
            Some(column) => {
                let label = claim.label();
                draft.put(claim, &format!("${{{label}}}"));
                draft
                    .columns
                    .push(format!("{column} as {}", quote::ident(&label)));
            }
            None => draft.put_other(claim, ties),
        }
    }
    let mut columns = vec![format!("who::text as {}", quote::ident(&own))];
    columns.append(&mut draft.columns);
    let sample = format!(
        "with sized as (\n  {}\n)\nselect {} from sized\n{}",
        sized.counted(),
        columns.join(", "),
        size.pick
    );
    let about = format!(
        "Somebody {}, as {} has them.",
        size.about,
        quote::name(&sized.guarded)
    );
    draft.spec(role, about, Some(sample))
}

/// Another column of the row that names the user, for a second claim.
fn beside(claim: &Claim, ties: &Ties, sized: &Sized, catalog: &Catalog) -> Option<String> {
    let places = ties.equal.get(claim)?;
    let (table, column) = places.iter().find(|(table, _)| *table == sized.who.0)?;
    catalog.table(table)?.column(column)?;
    Some(format!(
        "(select min(o.{}::text) from {} o where o.{} = who)",
        quote::ident(column),
        quote::name(table),
        quote::ident(&sized.who.1)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, Command, Policy};

    fn catalog(using: &str) -> Catalog {
        let mut catalog = crate::sql::ties::tests::catalog();
        for (name, columns) in [
            ("doc", ["id", "org"].as_slice()),
            ("member", &["user_id", "org_id"]),
        ] {
            let columns = columns.iter().map(|c| Column {
                name: (*c).to_owned(),
                ..Column::default()
            });
            let policy = Policy {
                name: "p".to_owned(),
                permissive: true,
                roles: vec!["app".to_owned()],
                command: Command::All,
                using: Some(using.to_owned()),
                check: None,
            };
            let guarded = name == "doc";
            catalog.tables.insert(
                Name::new("public", name),
                Table {
                    columns: columns.collect(),
                    rls_enabled: guarded,
                    policies: if guarded { vec![policy] } else { Vec::new() },
                    rows: Some(100.0),
                    ..Table::default()
                },
            );
        }
        catalog
    }

    fn peopled(using: &str) -> Peopled {
        let statement = Recorded {
            tables: BTreeSet::from([Name::new("public", "doc")]),
            ..Recorded::default()
        };
        people("app", &[&statement], &catalog(using))
    }

    #[test]
    fn tenants_of_three_sizes_through_a_membership_table() {
        let found = peopled(
            "exists (select 1 from public.member m where m.org_id = doc.org and m.user_id = auth.uid())",
        );
        let names: Vec<_> = found.personas.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, ["app_small", "app_median", "app_biggest"]);
        let biggest = &found.personas[2].1.value;
        let sample = biggest.sample.as_deref().unwrap();
        assert!(
            sample.contains("m.user_id as who") && sample.contains("order by n desc"),
            "{sample}"
        );
        assert!(crate::sql::single(sample).is_ok(), "{sample}");
        assert_eq!(biggest.claims["sub"], "${sub}");
        assert_eq!(biggest.claims["role"], "app");
    }

    #[test]
    fn what_is_not_known_is_said() {
        let found = peopled("auth.jwt() ->> 'kind' = 'nurse' and auth.jwt() ->> 'x' like 'y'");
        let [(name, persona)] = found.personas.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!(name, "app");
        assert_eq!(persona.value.claims["kind"], "nurse");
        assert!(
            persona.notes.iter().any(|n| n.starts_with("Claim x:")),
            "{persona:?}"
        );
        let open = peopled("true");
        assert!(open.personas[0].1.notes.is_empty() && open.personas[0].1.value.claims.is_empty());
    }
}
