//! Progress of many runs: a bar of runs on a terminal, a line for each in a log, or nothing.

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};

/// The progress of many runs.
pub struct Runs {
    bar: Option<ProgressBar>,
    lines: bool,
    of: usize,
    done: usize,
}

impl Runs {
    /// So many runs, `done` of them by an earlier call.
    #[must_use]
    pub fn new(of: usize, quiet: bool) -> Self {
        let stderr = std::io::stderr();
        let moves = stderr.is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let bar = (moves && !quiet).then(|| {
            let bar = ProgressBar::new(of as u64);
            const TEMPLATE: &str = "{prefix:.bold} {bar:24.cyan/blue.dim} {pos}/{len}  {msg}  {elapsed} < {eta}";
            let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.set_style(style.progress_chars("━╸─"));
            bar.set_prefix("runs");
            bar.tick();
            bar
        });
        Self { lines: !quiet && bar.is_none(), bar, of, done: 0 }
    }

    /// A run is over; `text` says what it came to.
    pub fn done(&mut self, text: &str) {
        self.done += 1;
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
            bar.inc(1);
        }
        if self.lines {
            let width = self.of.max(1).ilog10() as usize + 1;
            let _ = writeln!(std::io::stderr().lock(), "run {:>width$}/{}  {text}", self.done, self.of);
        }
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
