//! What a migration written by hand may concern.

use super::functions::{in_policies, is_callable};
use super::reach::Graph;
use super::{Definitions, Key, Kind};
use crate::migrate::Known;

/// The relations that are there, the functions that have a say in who sees or writes their rows, and their schemas.
pub fn known(definitions: &Definitions) -> Known {
    let keys = definitions.objects.keys();
    let relations: Vec<&Key> = keys.filter(|k| k.kind.is_relation()).collect();
    let graph = Graph::new(definitions, definitions, definitions);
    let policies = in_policies(definitions);
    let has_a_say = |key: &Key| {
        policies.contains(key)
            || graph
                .runs(key)
                .iter()
                .any(|k| k.kind.is_part() || k.kind.is_relation())
            || definitions.objects.get(key).is_some_and(is_callable)
    };
    let functions = definitions.objects.keys();
    Known {
        schemas: relations.iter().map(|k| k.name.schema.clone()).collect(),
        relations: relations.iter().map(|k| k.name.clone()).collect(),
        functions: functions
            .filter(|key| key.kind == Kind::Function && has_a_say(key))
            .map(|key| key.name.clone())
            .collect(),
    }
}
