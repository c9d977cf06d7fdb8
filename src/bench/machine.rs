//! The machine that dbtune runs on, as far as it decides how fast things are. Nothing in it is secret.

use crate::db::checksum;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What of it is known; on other systems than Linux that is the number of processors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The processor's model.
    pub processor: Option<String>,
    /// Processors that this process may use.
    pub processors: Option<usize>,
    pub memory_mib: Option<u64>,
    /// Its release.
    pub kernel: Option<String>,
    /// A digest of the machine's identity, which tells it from others of its kind and says nothing else.
    pub identity: Option<String>,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).ok();
        let of = |text: Option<String>, key: &str| {
            text.as_deref()
                .and_then(|t| field(t, key))
                .map(str::to_owned)
        };
        let memory = of(read("/proc/meminfo"), "MemTotal");
        let kib = memory.and_then(|m| m.split(' ').next().and_then(|n| n.parse::<u64>().ok()));
        Self {
            processor: of(read("/proc/cpuinfo"), "model name"),
            processors: std::thread::available_parallelism().ok().map(usize::from),
            memory_mib: kib.map(|kib| kib / 1024),
            kernel: read("/proc/sys/kernel/osrelease").map(|t| t.trim().to_owned()),
            identity: read("/etc/machine-id")
                .map(|id| id.trim().to_owned())
                .filter(|id| !id.is_empty())
                .map(|id| digest(&["machine", &id])),
        }
    }

    /// Where it is another one, or another kind, than `other`: how, in words.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let nameless = |machine: &Self| Self {
            identity: None,
            ..machine.clone()
        };
        if nameless(self) != nameless(other) {
            return Some(format!("{self} before, {other} after"));
        }
        let both = self.identity.as_ref().zip(other.identity.as_ref());
        both.filter(|(a, b)| a != b)
            .map(|_| format!("two machines of one kind ({self})"))
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = "an unknown processor";
        f.write_str(self.processor.as_deref().unwrap_or(unknown))?;
        if let Some(n) = self.processors {
            write!(f, " × {n}")?;
        }
        if let Some(mib) = self.memory_mib {
            write!(f, ", {mib} MiB")?;
        }
        if let Some(kernel) = &self.kernel {
            write!(f, ", Linux {kernel}")?;
        }
        Ok(())
    }
}

/// Sixteen hexadecimal digits that stand for `parts`.
pub(super) fn digest(parts: &[&str]) -> String {
    let sum = checksum(&parts.join("\0"));
    let digits: Vec<String> = sum.iter().take(8).map(|b| format!("{b:02x}")).collect();
    digits.concat()
}

/// The value of the first `key : value` line.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs
        .map(|(k, v)| (k.trim(), v.trim()))
        .find(|(k, _)| *k == key)
        .map(|(_, v)| v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_told_apart() {
        let one = Machine {
            processor: Some("A 1".to_owned()),
            processors: Some(2),
            memory_mib: Some(2048),
            kernel: Some("6.1".to_owned()),
            identity: Some(digest(&["machine", "x"])),
        };
        assert_eq!(one.difference(&one), None);
        let twin = Machine {
            identity: Some(digest(&["machine", "y"])),
            ..one.clone()
        };
        assert!(one.difference(&twin).unwrap().contains("of one kind"));
        let larger = Machine {
            processors: Some(8),
            ..one.clone()
        };
        let text = one.difference(&larger).unwrap();
        assert!(
            text.contains("A 1 × 2, 2048 MiB, Linux 6.1 before"),
            "{text}"
        );
        assert_eq!(field("a\t: b c\nd: e", "d"), Some("e"));
    }
}
