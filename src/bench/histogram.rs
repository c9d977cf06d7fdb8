//! The distribution of latencies in a form that other tools read.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};

/// Of each value; three are within 0.1 % of it.
const DIGITS: u8 = 3;

/// The distribution of latencies in nanoseconds as an `HdrHistogram` of three digits, in base64 of its compressed second
/// form, which `HdrHistogram`'s own tools and those built on it read. `None` for no latencies.
pub fn hdr_histogram(latencies_ns: &[u64]) -> Option<String> {
    let mut histogram = Histogram::<u64>::new(DIGITS).ok()?;
    for ns in latencies_ns {
        histogram.record(*ns).ok()?;
    }
    let mut bytes = Vec::new();
    let written = V2DeflateSerializer::new().serialize(&histogram, &mut bytes);
    (written.is_ok() && !latencies_ns.is_empty()).then(|| BASE64_STANDARD.encode(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::Deserializer;

    #[test]
    fn other_tools_read_the_distribution_back() {
        let latencies: Vec<u64> = (1..=1000).map(|n| n * 10_000).collect();
        let text = hdr_histogram(&latencies).unwrap();
        // So begin those that plotters and log readers take.
        assert!(text.starts_with("HISTFAAAA"), "{text}");
        let bytes = BASE64_STANDARD.decode(text).unwrap();
        let read: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
        assert_eq!(read.len(), 1000);
        let p95 = read.value_at_quantile(0.95);
        assert!(p95.abs_diff(9_500_000) < 10_000, "{p95}");
        assert_eq!(hdr_histogram(&[]), None);
    }
}
