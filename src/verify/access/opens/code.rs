//! Views and functions: what shows or takes rows with other rights than the caller's.

use super::{Change, Changed, Class, Key, Kind, Object, Search, access};
use crate::model::Name;
use crate::verify::access::differ::is_view;
use crate::verify::access::functions::{is_callable, tables_of};
use std::collections::BTreeSet;

impl Search<'_> {
    pub(super) fn view(&mut self, one: &Changed) {
        let [before, after] = self.sides(one);
        let shown = |o: Option<&Object>| o.is_some_and(|o| o.granted("").next().is_some());
        let invoker = after.is_some_and(|o| o.fact("option security_invoker") == "true");
        // As the caller it opens nothing that the caller does not see anyway.
        let opens = match one.change {
            Change::Added => shown(after) && !invoker,
            Change::Removed => shown(before),
            Change::Altered => shown(before) || shown(after),
            Change::Renamed => !one.differences.is_empty() && (shown(before) || shown(after)),
        };
        let side = if after.is_some() {
            self.after
        } else {
            self.before
        };
        let all = tables_of(side, &one.key);
        let new_only = all.as_ref().is_some_and(|tables| {
            let table = |n: &&Name| self.before.relation(n).is_some();
            !tables.iter().any(|n| table(&n))
        });
        if opens && !(one.change == Change::Added && new_only) {
            self.note(one, Class::View, all.unwrap_or_default());
        }
    }

    pub(super) fn function(&mut self, one: &Changed) {
        self.runners(one);
        let [before, after] = self.sides(one);
        let (was, is) = (
            before.is_some_and(is_callable),
            after.is_some_and(is_callable),
        );
        if !(was || is) {
            return;
        }
        let [old, new] = &self.policy_functions;
        let in_policy =
            old.contains(one.was.as_ref().unwrap_or(&one.key)) || new.contains(&one.key);
        // What it answers by itself is a value that the policies' outcome shows; rows are not.
        let scalar = [before, after]
            .iter()
            .flatten()
            .all(|o| o.fact("set") == "scalar");
        let side = if after.is_some() {
            self.after
        } else {
            self.before
        };
        let tables = tables_of(side, &one.key);
        let reads = tables.as_ref().is_none_or(|tables| {
            tables
                .iter()
                .any(|n| one.change != Change::Added || self.before.relation(n).is_some())
        });
        let class = match one.change {
            Change::Added if in_policy => Class::Companion,
            Change::Altered | Change::Renamed if in_policy && scalar && was && is => return,
            _ => Class::Callable,
        };
        let matters = one.change != Change::Renamed || !one.differences.is_empty();
        if reads && matters {
            self.note(one, class, tables.unwrap_or_default());
        }
    }

    /// What runs something that changed: policies, triggers, views, callable functions.
    pub(super) fn runners(&mut self, one: &Changed) {
        let mut runs: BTreeSet<Key> = BTreeSet::new();
        for graph in self.graphs {
            for key in [Some(&one.key), one.was.as_ref()].into_iter().flatten() {
                if graph.side.objects.contains_key(key) {
                    runs.extend(graph.runs(key));
                }
            }
        }
        // What is new, or changed itself, speaks for itself.
        runs.retain(|key| !self.own.contains(key) && self.before.objects.contains_key(key));
        let tables = |kind: Kind| -> BTreeSet<Name> {
            runs.iter()
                .filter(|k| k.kind == kind)
                .map(|k| k.name.clone())
                .collect()
        };
        for (kind, class, doing) in [
            (Kind::Policy, Class::Policy, "which policies reach on"),
            (Kind::Trigger, Class::Trigger, "which triggers run on"),
            (Kind::Rule, Class::Rule, "which rules reach on"),
            (Kind::Columns, Class::Default, "which defaults reach on"),
        ] {
            let on = tables(kind);
            if !on.is_empty() {
                let names: Vec<String> = on.iter().map(ToString::to_string).collect();
                let what = format!("{}, {doing} {}", one.what, names.join(", "));
                self.found.push(access(&one.key, class, what, on));
            }
        }
        for key in runs
            .iter()
            .filter(|k| is_view(k.kind) || k.kind == Kind::Function)
        {
            self.runner(one, key);
        }
    }

    fn runner(&mut self, one: &Changed, key: &Key) {
        let Some(object) = self.before.objects.get(key) else {
            return;
        };
        let class = if is_view(key.kind) {
            Class::View
        } else if is_callable(object) && object.fact("set") != "scalar" {
            Class::Callable
        } else {
            return;
        };
        let shown = object.granted("").next().is_some();
        if shown {
            let what = format!("{key} depends on what changed: {}", one.what);
            let tables = tables_of(self.before, key).unwrap_or_default();
            self.found.push(access(key, class, what, tables));
        }
    }
}
