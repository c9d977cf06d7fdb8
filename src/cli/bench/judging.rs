//! What was measured, judged by the configuration, and both sides named.

use super::Plan;
use super::sides::Found;
use crate::bench::{Asked, Gate, Measured, judge, report, taken};
use crate::cli::audit::plural;
use crate::cli::paired::Copied;
use crate::model::{Block, Gap, Report};

impl Plan<'_> {
    /// Judged by what the configuration asks of each query and lets pass today.
    pub(super) fn judged(&self, mut measured: Vec<Measured>, gate: Gate) -> Report {
        let configured = &self.settings.gate;
        let today = chrono::Utc::now().date_naive();
        for one in &mut measured {
            one.thresholds = Some(configured.thresholds(&one.query, gate.thresholds));
            let allowance = configured.allowance(&one.query, today);
            one.allowed = allowance.map(|a| format!("{} (until {})", a.reason, a.expires));
        }
        let mut report = report(&judge(&measured, &gate, !self.args.no_gate), &gate);
        report.blocks.push(Block::Text(match taken(&measured) {
            Some(share) => format!(
                "Other processes of the machine took {:.0} % of the waiting; that is taken off these times.",
                share * 100.0
            ),
            None => "What other processes of the server's machine took is not known: it is in these times.".to_owned(),
        }));
        report.gaps.extend(configured.expired(today).map(|a| Gap {
            what: format!("the allowance of {}", a.query),
            why: format!("it expired on {} and lets nothing pass", a.expires),
            remedy: Some("remove it from gate.allow, or give it another day".to_owned()),
        }));
        let ids: Vec<String> = measured.iter().map(|m| m.query.clone()).collect();
        if self.args.only.is_empty() {
            report.gaps.extend(configured.unknown(&ids).map(|name| Gap {
                what: format!("gate settings of {name}"),
                why: "the workload has no such query".to_owned(),
                remedy: None,
            }));
        }
        report
    }

    /// What the workload file says of its queries, where no database is there to draw from.
    pub(super) fn asked(&self) -> Vec<Asked> {
        let mut asked = Vec::new();
        for query in &self.file.queries {
            for persona in &query.personas {
                let id = format!("{}@{persona}", query.name);
                asked.push(Asked {
                    weight: query.weight,
                    slo_ms: self.settings.target_ms(&id, query.slo_ms),
                    is_limited: crate::sql::is_limited(&query.sql),
                    id,
                });
            }
        }
        asked
    }

    pub(super) fn how(&self, (queries, personas): (usize, usize)) -> String {
        let percent = self.percent();
        let gate = if self.args.no_gate {
            "No gate".to_owned()
        } else {
            format!("Gate: p95 under the target, and no more than {percent} % longer")
        };
        format!(
            "{} as {}, each in a transaction of its own, rolled back.\n{gate}.",
            plural(queries, "query", "queries"),
            plural(personas, "persona", "personas")
        )
    }
}

/// Puts what the sides are, and what differs about them, before everything else.
pub(super) fn name_sides(
    report: &mut Report,
    found: &[Found; 2],
    copied: [Option<&Copied>; 2],
    warnings: &[String],
) {
    let mut head = Vec::new();
    let mut sides = serde_json::Map::new();
    for ((part, found), copied) in ["before", "after"].into_iter().zip(found).zip(copied) {
        let words = description(found, copied);
        head.push(Block::Text(format!("{part}: {words}")));
        let reached = copied.map(|c| &c.reached);
        let side = serde_json::json!({
            "kind": found.kind,
            "what": found.what,
            "newest": reached.and_then(|r| r.newest.as_ref()),
            "applied": reached.map(|r| &r.applied),
            "taken_back": reached.map(|r| &r.taken_back),
        });
        sides.insert(part.to_owned(), side);
    }
    let warned = warnings
        .iter()
        .map(|w| Block::Warning(format!("The sides differ in more than the change. {w}")));
    head.extend(warned);
    report.blocks.splice(0..0, head);
    if let Some(data) = report.data.as_object_mut() {
        data.insert("sides".to_owned(), sides.into());
        data.insert("warnings".to_owned(), serde_json::json!(warnings));
    }
}

/// What a side is and, of a clone, where its migrations ended up.
pub(super) fn description(found: &Found, copied: Option<&Copied>) -> String {
    let Some(Copied { reached, .. }) = copied else {
        return found.what.clone();
    };
    let newest = match &reached.newest {
        Some(label) => format!("up to {label}"),
        None => "with no migration".to_owned(),
    };
    let mut did = Vec::new();
    if !reached.taken_back.is_empty() {
        did.push(format!("{} taken back", reached.taken_back.len()));
    }
    if !reached.applied.is_empty() {
        did.push(format!("{} applied", reached.applied.len()));
    }
    let did = if did.is_empty() {
        String::new()
    } else {
        format!(" ({})", did.join(", "))
    };
    format!("{}, on a clone {newest}{did}", found.what)
}
