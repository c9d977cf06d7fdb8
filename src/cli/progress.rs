//! What is going on, on standard error: bars at a terminal, plain lines elsewhere, nothing with `--quiet`.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Progress {
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Silent,
    Lines,
    Bars,
}

/// One piece of work under way. Ends when dropped.
pub struct Task {
    bar: Option<ProgressBar>,
    mode: Mode,
    said: String,
}

impl Progress {
    pub fn new(quiet: bool) -> Self {
        let mode = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Mode::Silent,
            (false, true) => Mode::Bars,
            (false, false) => Mode::Lines,
        };
        Self { mode }
    }

    /// A line that stays.
    pub fn say(&self, text: &str) {
        if self.mode != Mode::Silent {
            line(text);
        }
    }

    /// `total` steps of something; 0 where the number is not known.
    pub fn start(&self, title: &str, total: u64) -> Task {
        let bar = (self.mode == Mode::Bars).then(|| {
            let bar = ProgressBar::with_draw_target(
                (total > 0).then_some(total),
                ProgressDrawTarget::stderr(),
            );
            let template = if total > 0 {
                "{prefix:<10} {bar:30} {pos}/{len} {wide_msg}"
            } else {
                "{prefix:<10} {spinner} {wide_msg}"
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("━━─"));
            }
            bar.set_prefix(title.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if self.mode == Mode::Lines {
            line(&format!("{title} …"));
        }
        Task {
            bar,
            mode: self.mode,
            said: String::new(),
        }
    }
}

impl Task {
    pub fn advance(&mut self, position: u64, total: u64, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(position);
            bar.set_message(text.to_owned());
        }
    }

    /// What is being done now: replaces the last text at a terminal, a line of its own elsewhere.
    pub fn note(&mut self, text: &str) {
        if self.said == text {
            return;
        }
        text.clone_into(&mut self.said);
        match &self.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None if self.mode == Mode::Lines => line(&format!("  {text}")),
            None => {}
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A closed standard error changes nothing about the work.
fn line(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
