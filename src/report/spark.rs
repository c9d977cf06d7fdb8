//! A distribution in a few characters.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Two samples as `▁▃▇▂▁→▇▂▁▁▁`: how many of the values fall into each of `bins` equal steps of one logarithmic axis from
/// the smallest to the largest value of both. Empty where a side has no values.
pub fn sparkline(before: &[f64], after: &[f64], bins: usize) -> String {
    let logs = |values: &[f64]| -> Vec<f64> {
        values
            .iter()
            .filter(|v| v.is_finite())
            .map(|v| v.max(1e-3).ln())
            .collect()
    };
    let (before, after) = (logs(before), logs(after));
    if before.is_empty() || after.is_empty() || bins == 0 {
        return String::new();
    }
    let all = || before.iter().chain(&after).copied();
    let low = all().fold(f64::INFINITY, f64::min);
    let high = all().fold(f64::NEG_INFINITY, f64::max);
    let bars = |values: &[f64]| bars(&counts(values, low, high, bins));
    format!("{}→{}", bars(&before), bars(&after))
}

fn counts(values: &[f64], low: f64, high: f64, bins: usize) -> Vec<usize> {
    let mut counts = vec![0; bins];
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a small number"
    )]
    for value in values {
        let share = (value - low) / (high - low).max(1e-9);
        let bin = ((share * bins as f64) as usize).min(bins - 1);
        if let Some(count) = counts.get_mut(bin) {
            *count += 1;
        }
    }
    counts
}

/// The highest bar is the fullest step; a step with anything in it is told from an empty one.
fn bars(counts: &[usize]) -> String {
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    counts
        .iter()
        .map(|n| {
            let height = (n * 7).div_ceil(most);
            BARS.get(height).copied().unwrap_or(' ')
        })
        .collect()
}

/// The same in characters that every terminal has, one for one, so that columns stay where they are.
pub(super) fn ascii(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '▁' => '_',
            '▂' | '·' => '.',
            '▃' => ':',
            '▄' | '–' | '─' | '−' => '-',
            '▅' | '═' | '╌' => '=',
            '▆' | '┌' | '┐' | '└' | '┘' | '├' | '┤' | '┬' | '┴' | '┼' | '╞' | '╡' | '╪' => {
                '+'
            }
            '▇' => '*',
            '█' => '#',
            '×' => 'x',
            '→' => '>',
            '│' | '┆' => '|',
            '…' => '~',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_share_an_axis() {
        assert_eq!(sparkline(&[100.0, 90.0], &[1.0, 1.1], 5), "▁▁▁▁█→█▁▁▁▁");
        assert_eq!(sparkline(&[1.0], &[1.0], 3), "█▁▁→█▁▁");
        assert_eq!(sparkline(&[], &[1.0], 3), "");
        assert_eq!(ascii("▁▁█→█ 1.20×"), "__#># 1.20x");
    }
}
