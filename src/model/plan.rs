use super::Name;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

/// What `EXPLAIN (FORMAT JSON)` said of one statement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub startup_cost: f64,
    pub total_cost: f64,
    /// The planner's estimate.
    pub rows: f64,
    /// Milliseconds spent in planning and executing; `None` where the statement was not run.
    pub planning_ms: Option<f64>,
    pub execution_ms: Option<f64>,
    pub root: Node,
}

/// One node with its children, init-plans and sub-plans among them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// `Index Scan`, `Hash Join` …
    pub kind: String,
    /// What tells nodes of one kind apart in a plan's shape: join type, strategy, direction, operation.
    pub manner: Option<String>,
    /// `Outer`, `Inner`, `Member`, `InitPlan`, `SubPlan`, `Subquery`; `None` for the root.
    pub relationship: Option<String>,
    pub relation: Option<Name>,
    pub alias: Option<String>,
    /// Without schema, as EXPLAIN prints it.
    pub index: Option<String>,
    pub startup_cost: f64,
    pub total_cost: f64,
    /// Estimated rows of one loop.
    pub rows: f64,
    pub actual: Option<Actual>,
    /// Conditions as EXPLAIN prints them. They quote values, so they are kept out of every file.
    #[serde(skip)]
    pub conditions: Conditions,
    pub children: Vec<Node>,
}

/// What one node did, over all its loops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Actual {
    pub rows: f64,
    pub loops: f64,
    /// Milliseconds, children included.
    pub ms: f64,
    /// Rows read and thrown away by filters, over all loops.
    pub rows_removed: f64,
    /// Shared buffers hit and read, children included; zero where EXPLAIN was not asked for them.
    pub buffers: u64,
}

#[derive(Clone, Default, PartialEq)]
pub struct Conditions {
    pub index: Option<String>,
    pub filter: Option<String>,
    /// Recheck, hash, merge and join conditions.
    pub others: Vec<String>,
}

impl std::fmt::Debug for Conditions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conditions")
            .field("index", &self.index.is_some())
            .field("filter", &self.filter.is_some())
            .finish_non_exhaustive()
    }
}

impl Plan {
    /// Reads the one-element array that `EXPLAIN (FORMAT JSON)` returns; the error says what is missing.
    pub fn from_json(explained: &Value) -> Result<Self, String> {
        let top = match explained {
            Value::Array(items) => items.first().unwrap_or(&Value::Null),
            other => other,
        };
        let root = top
            .get("Plan")
            .ok_or("EXPLAIN returned no \"Plan\": the statement has none")?;
        let root = Node::from_json(root);
        Ok(Self {
            startup_cost: root.startup_cost,
            total_cost: root.total_cost,
            rows: root.rows,
            planning_ms: top.get("Planning Time").and_then(Value::as_f64),
            execution_ms: top.get("Execution Time").and_then(Value::as_f64),
            root,
        })
    }

    /// Node types with their relations and indexes, indented, one a line, no values: equal shapes are equal plans.
    pub fn shape(&self) -> String {
        let mut out = String::new();
        self.root.draw(0, &mut out);
        out
    }

    /// Names of the indexes that the plan reads.
    pub fn indexes_used(&self) -> BTreeSet<String> {
        self.nodes().filter_map(|n| n.index.clone()).collect()
    }

    /// Every node, parents before children.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        let mut open = vec![&self.root];
        std::iter::from_fn(move || {
            let node = open.pop()?;
            open.extend(node.children.iter().rev());
            Some(node)
        })
    }

    /// Shared buffers hit and read by the whole statement; `None` where it was not run.
    pub fn buffers(&self) -> Option<u64> {
        self.root.actual.map(|a| a.buffers)
    }

    /// Rows that all nodes handled together, those thrown away among them; `None` where it was not run.
    pub fn rows_handled(&self) -> Option<f64> {
        self.root.actual?;
        // The nodes below a bitmap heap scan hand it places, not rows.
        let is_bitmap = |n: &&Node| n.kind.starts_with("Bitmap") && n.kind != "Bitmap Heap Scan";
        let actual = self
            .nodes()
            .filter(|n| !is_bitmap(n))
            .filter_map(|n| n.actual);
        Some(actual.map(|a| a.rows + a.rows_removed).sum())
    }

    /// Rows that the planner expects of all nodes together.
    pub fn rows_expected(&self) -> f64 {
        self.nodes().map(|n| n.rows).sum()
    }

    /// Rows read and thrown away by filters anywhere in the plan; `None` where it was not run.
    pub fn rows_removed(&self) -> Option<f64> {
        self.root.actual?;
        Some(
            self.nodes()
                .filter_map(|n| n.actual)
                .map(|a| a.rows_removed)
                .sum(),
        )
    }
}

impl Node {
    fn from_json(node: &Value) -> Self {
        let text = |key: &str| node.get(key).and_then(Value::as_str).map(str::to_owned);
        let number = |key: &str| node.get(key).and_then(Value::as_f64);
        let relation = text("Relation Name")
            .or_else(|| text("Function Name"))
            .or_else(|| text("CTE Name"))
            .map(|name| Name::new(text("Schema").unwrap_or_default(), name));
        let manner: Vec<String> = [
            text("Operation"),
            text("Strategy").filter(|s| s != "Plain"),
            text("Join Type").filter(|t| t != "Inner"),
            text("Scan Direction").filter(|d| d == "Backward"),
            text("Command"),
        ]
        .into_iter()
        .flatten()
        .collect();
        let others = ["Recheck Cond", "Hash Cond", "Merge Cond", "Join Filter"];
        Self {
            kind: text("Node Type").unwrap_or_default(),
            manner: (!manner.is_empty()).then(|| manner.join(" ")),
            relationship: text("Parent Relationship"),
            relation,
            alias: text("Alias"),
            index: text("Index Name"),
            startup_cost: number("Startup Cost").unwrap_or_default(),
            total_cost: number("Total Cost").unwrap_or_default(),
            rows: number("Plan Rows").unwrap_or_default(),
            actual: number("Actual Loops").map(|loops| Actual::from_json(node, loops)),
            conditions: Conditions {
                index: text("Index Cond"),
                filter: text("Filter"),
                others: others.into_iter().filter_map(text).collect(),
            },
            children: node
                .get("Plans")
                .and_then(Value::as_array)
                .map(|plans| plans.iter().map(Self::from_json).collect())
                .unwrap_or_default(),
        }
    }

    fn draw(&self, depth: usize, out: &mut String) {
        for _ in 0..depth {
            out.push_str("  ");
        }
        let mut words: Vec<&str> = Vec::new();
        if let Some(relationship @ ("InitPlan" | "SubPlan")) = self.relationship.as_deref() {
            words.push(relationship);
        }
        words.push(&self.kind);
        words.extend(self.manner.as_deref());
        out.push_str(&words.join(" "));
        if let Some(index) = &self.index {
            out.push_str(" using ");
            out.push_str(index);
        }
        if let Some(relation) = &self.relation {
            out.push_str(" on ");
            out.push_str(&relation.to_string());
        }
        out.push('\n');
        for child in &self.children {
            child.draw(depth + 1, out);
        }
    }
}

impl Actual {
    /// EXPLAIN gives averages of a loop; here are totals, buffers excepted, which are totals already.
    fn from_json(node: &Value, loops: f64) -> Self {
        let number = |key: &str| node.get(key).and_then(Value::as_f64).unwrap_or_default();
        let count = |key: &str| node.get(key).and_then(Value::as_u64).unwrap_or_default();
        let removed = [
            "Rows Removed by Filter",
            "Rows Removed by Index Recheck",
            "Rows Removed by Join Filter",
        ];
        Self {
            rows: number("Actual Rows") * loops,
            loops,
            ms: number("Actual Total Time") * loops,
            rows_removed: removed.into_iter().map(number).sum::<f64>() * loops,
            buffers: count("Shared Hit Blocks") + count("Shared Read Blocks"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan::from_json(&serde_json::json!([{
            "Plan": {
                "Node Type": "Aggregate", "Strategy": "Plain", "Startup Cost": 1.0, "Total Cost": 9.5,
                "Plan Rows": 1, "Actual Rows": 1, "Actual Loops": 1, "Actual Total Time": 2.0,
                "Shared Hit Blocks": 5, "Shared Read Blocks": 2,
                "Plans": [
                    { "Node Type": "Result", "Parent Relationship": "InitPlan", "Actual Loops": 1, "Actual Rows": 1 },
                    { "Node Type": "Index Scan", "Parent Relationship": "Outer", "Schema": "public",
                      "Relation Name": "t", "Index Name": "t_i", "Index Cond": "(id = 'secret')",
                      "Scan Direction": "Backward", "Actual Loops": 3, "Actual Rows": 2, "Rows Removed by Filter": 4,
                      "Plans": [ { "Node Type": "Bitmap Index Scan", "Index Name": "u_i", "Parent Relationship": "SubPlan",
                                   "Actual Loops": 1, "Rows Removed by Index Recheck": 1 } ] }
                ] },
            "Planning Time": 0.5, "Execution Time": 2.5
        }]))
        .unwrap()
    }

    #[test]
    fn shape_holds_names_and_no_values() {
        assert_eq!(
            plan().shape(),
            "Aggregate\n  InitPlan Result\n  Index Scan Backward using t_i on public.t\n    SubPlan Bitmap Index Scan using u_i\n"
        );
        assert!(!format!("{:?}", plan()).contains("secret"));
        assert!(!serde_json::to_string(&plan()).unwrap().contains("secret"));
    }

    #[test]
    fn totals_are_over_all_loops_and_nodes() {
        let plan = plan();
        assert_eq!(plan.buffers(), Some(7));
        assert_eq!(plan.rows_removed(), Some(13.0));
        assert_eq!(plan.rows_handled(), Some(1.0 + 1.0 + 6.0 + 12.0));
        assert_eq!(
            plan.indexes_used().into_iter().collect::<Vec<_>>(),
            ["t_i", "u_i"]
        );
        assert_eq!(plan.execution_ms, Some(2.5));
        assert!(Plan::from_json(&serde_json::json!(["Utility Statement"])).is_err());
    }
}
