//! Rewrites that were not proposed, and why.

use super::policies::Rewritable;
use crate::model::{Block, Name};
use std::collections::BTreeMap;

/// A policy whose rewrite, or whose deepest one, is not proposed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Left {
    pub table: Name,
    pub policy: String,
    pub why: String,
    /// A lesser rewrite is proposed in its place.
    pub shallower: bool,
}

impl Left {
    pub(super) fn alone(policy: &Rewritable, why: impl Into<String>) -> Self {
        Self {
            table: policy.table.clone(),
            policy: policy.policy.clone(),
            why: why.into(),
            shallower: false,
        }
    }

    pub(super) fn shallower(policy: &Rewritable, why: impl Into<String>) -> Self {
        Self {
            shallower: true,
            ..Self::alone(policy, why)
        }
    }
}

/// A heading and a line for each reason; nothing where nothing was left out.
pub fn left_alone(left: &[Left]) -> Vec<Block> {
    let mut by_reason: BTreeMap<(bool, &str), Vec<String>> = BTreeMap::new();
    for one in left {
        by_reason
            .entry((one.shallower, &one.why))
            .or_default()
            .push(format!("{} on {}", one.policy, one.table));
    }
    let lines: Vec<String> = by_reason
        .into_iter()
        .map(|((shallower, why), policies)| {
            let what = if shallower {
                "the deepest rewrite of "
            } else {
                ""
            };
            format!("{what}{}: {why}", policies.join(", "))
        })
        .collect();
    if lines.is_empty() {
        return Vec::new();
    }
    vec![
        Block::Heading("Left alone".to_owned()),
        Block::Text(lines.join("\n")),
    ]
}
