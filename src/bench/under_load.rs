//! What a report says about the load that its latencies were measured under.

use super::baseline::Baseline;
use super::open_loop::Pace;
use crate::model::{Block, Demand, Gap, Outcome, Report};

/// Adds how the executions were sent, and where the server did not keep up with them. One pace for each side at a fixed rate.
///
/// A comparison that would pass tells nothing about the queries where the side that is judged did not keep up.
pub fn tell_load(report: &mut Report, demand: Demand, paces: &[Pace]) {
    if demand == Demand::default() {
        return;
    }
    if let Some(data) = report.data.as_object_mut() {
        data.insert("demand".to_owned(), serde_json::json!(demand));
        data.insert("paces".to_owned(), serde_json::json!(paces));
    }
    let mut text = sentence(demand);
    for (name, pace) in names(paces).iter().zip(paces) {
        text.push_str(&format_pace(name, pace));
    }
    report.blocks.push(Block::Text(text));
    let clients = demand.clients;
    let behind = names(paces)
        .into_iter()
        .zip(paces)
        .filter(|(_, p)| !p.kept_up());
    report.gaps.extend(behind.map(|(name, pace)| Gap {
        what: format!("the latency of the queries alone{name}"),
        why: format!(
            "the server did not keep up: {:.1} of {:.1} executions a second were sent{}; the times are mostly those of \
             waiting for one of {clients} clients",
            pace.sent,
            pace.asked,
            match pace.given_up {
                0 => String::new(),
                n => format!(" and {n} were given up"),
            }
        ),
        remedy: Some(format!(
            "a lower --rate (under {:.1}), or more --clients if the server has processors to spare",
            pace.sent
        )),
    }));
    let judged = paces.last().is_none_or(Pace::kept_up);
    if !judged && report.outcome == Outcome::Pass {
        report.outcome = Outcome::Inconclusive;
    }
}

fn names(paces: &[Pace]) -> Vec<&'static str> {
    match paces {
        [_] => vec![""],
        _ => vec![" before", " after"],
    }
}

fn sentence(demand: Demand) -> String {
    if demand.cold {
        return "Cold: before each execution the server's cache of the database was emptied and a new connection made, which had \
                parsed the statement and nothing else. What the operating system has cached of the files stays: a disk may be \
                slower than this. Few executions."
            .to_owned();
    }
    let clients = demand.clients;
    match demand.rate {
        Some(rate) => format!(
            "Open loop: {rate} executions a second by weight, at random but equal moments on both sides, by at most {clients} \
             clients. Latencies count from the intended start, set-up included."
        ),
        None => format!(
            "Closed loop: {clients} clients a side run each query at the same time. What they make each other wait is in the \
             latencies."
        ),
    }
}

fn format_pace(name: &str, pace: &Pace) -> String {
    format!(
        "\nSent{name}: {:.1} of {:.1} a second; a free client got its execution {:.2} ms late (median).",
        pace.sent, pace.asked, pace.lag_ms
    )
}

/// Why what was recorded cannot be compared with a run under this load, if it cannot.
pub fn other_load(baseline: &Baseline, demand: Demand) -> Option<String> {
    let mut recorded = baseline.queries.values().map(|r| r.samples.demand);
    let other = recorded.find(|d| *d != demand)?;
    Some(format!(
        "the baseline was recorded {}, this run is {}",
        short(other),
        short(demand)
    ))
}

fn short(demand: Demand) -> String {
    let clients = match demand.clients {
        1 => "with 1 client".to_owned(),
        n => format!("with {n} clients"),
    };
    let rate = demand.rate.map_or_else(String::new, |rate| {
        format!(" at {rate} executions a second")
    });
    let cold = if demand.cold { " and cold caches" } else { "" };
    format!("{clients}{rate}{cold}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(demand: Demand, sent: [f64; 2]) -> Report {
        let paces = sent.map(|sent| Pace {
            asked: 100.0,
            sent,
            ..Pace::default()
        });
        let mut report = Report::new("bench", "");
        report.data = serde_json::json!({});
        tell_load(&mut report, demand, &paces);
        report
    }

    #[test]
    fn a_side_that_does_not_keep_up_is_named_and_never_passes() {
        let demand = Demand {
            clients: 4,
            rate: Some(100.0),
            ..Demand::default()
        };
        let kept = told(demand, [99.0, 97.0]);
        assert_eq!((kept.outcome, kept.gaps.len()), (Outcome::Pass, 0));
        // What is behind after the change is what is judged.
        assert_eq!(told(demand, [50.0, 99.0]).outcome, Outcome::Pass);
        let behind = told(demand, [99.0, 50.0]);
        assert_eq!(behind.outcome, Outcome::Inconclusive);
        assert!(
            behind.gaps[0].what.ends_with(" after") && behind.gaps[0].why.contains("4 clients")
        );
    }

    #[test]
    fn one_client_without_a_rate_needs_no_words() {
        let mut report = Report::new("bench", "");
        tell_load(&mut report, Demand::default(), &[]);
        assert!(report.blocks.is_empty());
    }
}
