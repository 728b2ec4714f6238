//! What the user sees while a network is being trained: a bar on a terminal, plain lines in a log, or nothing.
//!
//! Showing never stops the training: a closed terminal or a full pipe is ignored.

mod figures;
pub mod runs;

use crate::history::Epoch;
use figures::{rate, seconds, short};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// A bar if standard error is a terminal that can move its cursor, lines otherwise.
    #[default]
    Auto,
    /// A bar that is drawn again and again.
    Bar,
    /// One line per epoch, at most two a second.
    Lines,
    /// Nothing.
    Quiet,
}

/// Least time between two lines; the first, the last and a warning always come.
const LINE_PAUSE: Duration = Duration::from_millis(500);
/// Time over which the speed is averaged; shorter ones flicker.
const SPEED_WINDOW: Duration = Duration::from_secs(2);

/// The progress of one training run.
pub struct Progress {
    display: Display,
    epochs: u32,
    batches: u32,
    rows: u64,
    metric: String,
    epoch: u32,
    done: u32,
    last: Option<Epoch>,
    best: Option<Epoch>,
    speed: Speed,
}

enum Display {
    Bar(ProgressBar),
    Lines { out: Box<dyn Write + Send>, printed: Option<Instant>, pause: Duration, skipped: Option<String> },
    Quiet,
}

impl Progress {
    /// A run of so many epochs of so many batches.
    #[must_use]
    pub fn new(mode: Mode, epochs: u32, batches_per_epoch: u32) -> Self {
        let stderr_moves = || io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let display = match mode {
            Mode::Auto if stderr_moves() => bar(ProgressDrawTarget::stderr_with_hz(12)),
            Mode::Bar => bar(ProgressDrawTarget::stderr_with_hz(12)),
            Mode::Auto | Mode::Lines => lines(Box::new(io::stderr()), LINE_PAUSE),
            Mode::Quiet => Display::Quiet,
        };
        Self::with_display(display, epochs, batches_per_epoch)
    }

    fn with_display(display: Display, epochs: u32, batches: u32) -> Self {
        if let Display::Bar(bar) = &display {
            bar.set_length(u64::from(epochs) * u64::from(batches));
        }
        Self {
            display,
            epochs,
            batches,
            rows: 0,
            metric: "metric".to_owned(),
            epoch: 1,
            done: 0,
            last: None,
            best: None,
            speed: Speed { since: Instant::now(), rows: 0.0, shown: None },
        }
    }

    /// Tells how many rows an epoch has, so that the speed can be shown.
    #[must_use]
    pub fn rows_per_epoch(mut self, rows: u64) -> Self {
        self.rows = rows;
        self
    }

    /// Tells what the metric is called, such as `accuracy`.
    #[must_use]
    pub fn metric_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.metric);
        self
    }

    /// Starts counting at a later epoch: a run that is taken up again. `epochs_done` are over.
    #[must_use]
    pub fn resumed_after(mut self, epochs_done: u32) -> Self {
        self.epoch = epochs_done.saturating_add(1);
        if let Display::Bar(bar) = &self.display {
            bar.set_position(u64::from(epochs_done) * u64::from(self.batches));
            bar.reset_eta();
        }
        self
    }

    /// So many batches of the running epoch are done, with this mean loss so far.
    pub fn batch(&mut self, done: u32, loss: f64) {
        let Display::Bar(bar) = &self.display else { return };
        let fresh = done.saturating_sub(self.done);
        self.done = done;
        let rows = f64::from(fresh) * self.rows as f64 / f64::from(self.batches.max(1));
        self.speed.add(rows);
        bar.set_position(self.position());
        bar.set_prefix(format!("epoch {}/{}", self.epoch, self.epochs));
        bar.set_message(self.message(loss));
    }

    /// An epoch is over; `best` if it is the best so far.
    pub fn epoch(&mut self, epoch: &Epoch, best: bool) {
        if best {
            self.best = Some(*epoch);
        }
        self.last = Some(*epoch);
        let line = format!("{}{}", self.epoch_line(epoch), if best { "  best" } else { "" });
        (self.epoch, self.done) = (epoch.epoch.saturating_add(1), 0);
        let (position, message) = (self.position(), self.message(epoch.loss));
        match &mut self.display {
            Display::Bar(bar) => {
                bar.set_position(position);
                bar.set_prefix(format!("epoch {}/{}", epoch.epoch, self.epochs));
                bar.set_message(message);
            }
            Display::Lines { out, printed, pause, skipped } => {
                let due = printed.is_none_or(|at| at.elapsed() >= *pause);
                if due || epoch.epoch == self.epochs {
                    let _ = writeln!(out, "{line}");
                    (*printed, *skipped) = (Some(Instant::now()), None);
                } else {
                    *skipped = Some(line);
                }
            }
            Display::Quiet => {}
        }
    }

    /// Something the user must know at once; it stands above the bar.
    pub fn warn(&mut self, text: &str) {
        match &mut self.display {
            Display::Bar(bar) => bar.println(format!("warning: {text}")),
            Display::Lines { out, .. } => {
                let _ = writeln!(out, "warning: {text}");
            }
            Display::Quiet => {}
        }
    }

    /// The run is over: the bar goes, what it showed last and `message` stay as lines.
    pub fn finish(mut self, message: &str) {
        let last = self.last.map(|epoch| self.epoch_line(&epoch));
        match std::mem::replace(&mut self.display, Display::Quiet) {
            Display::Bar(bar) => {
                last.iter().map(String::as_str).chain([message]).filter(|l| !l.is_empty()).for_each(|l| bar.println(l));
                bar.finish_and_clear();
            }
            Display::Lines { mut out, skipped, .. } => {
                let message = Some(message).filter(|m| !m.is_empty());
                for line in skipped.as_deref().into_iter().chain(message) {
                    let _ = writeln!(out, "{line}");
                }
            }
            Display::Quiet => {}
        }
    }

    fn position(&self) -> u64 {
        let before = u64::from(self.epoch.saturating_sub(1)) * u64::from(self.batches);
        before + u64::from(self.done.min(self.batches))
    }

    fn epoch_line(&self, e: &Epoch) -> String {
        let width = self.epochs.max(1).ilog10() as usize + 1;
        let mut line = format!("epoch {:>width$}/{}  loss {}", e.epoch, self.epochs, short(e.loss));
        let val_metric = format!("val {}", self.metric);
        let parts = [("val", e.val_loss), (self.metric.as_str(), e.metric), (&val_metric, e.val_metric)];
        for (name, value) in parts.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            line.push_str(&format!("  {name} {}", short(value)));
        }
        line.push_str(&format!("  {}", seconds(e.seconds)));
        if self.rows > 0 && e.seconds > 0.0 {
            line.push_str(&format!("  {}", rate(self.rows as f64 / e.seconds)));
        }
        line
    }

    fn message(&self, loss: f64) -> String {
        let mut text = format!("loss {}", short(loss));
        if let Some(val) = self.last.and_then(|e| e.val_loss) {
            text.push_str(&format!("  val {}", short(val)));
        }
        if let Some(best) = self.best {
            text.push_str(&format!("  best {} @{}", short(best.val_loss.unwrap_or(best.loss)), best.epoch));
        }
        if let Some(speed) = self.speed.shown {
            text.push_str(&format!("  {}", rate(speed)));
        }
        text
    }
}

impl Drop for Progress {
    /// A run that ends by an error leaves no half-drawn bar behind.
    fn drop(&mut self) {
        if let Display::Bar(bar) = &self.display {
            bar.abandon();
        }
    }
}

fn bar(target: ProgressDrawTarget) -> Display {
    let bar = ProgressBar::with_draw_target(None, target);
    const TEMPLATE: &str = "{prefix:.bold} {bar:24.cyan/blue.dim} {percent:>3}%  {msg}  {elapsed} < {eta}";
    // The template is fixed, so a mistake in it would show in every run and in the tests: plain style then.
    let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("━╸─"));
    Display::Bar(bar)
}

fn lines(out: Box<dyn Write + Send>, pause: Duration) -> Display {
    Display::Lines { out, printed: None, pause, skipped: None }
}

/// Rows per second over the last moments.
struct Speed {
    since: Instant,
    rows: f64,
    shown: Option<f64>,
}

impl Speed {
    fn add(&mut self, rows: f64) {
        self.rows += rows;
        let window = self.since.elapsed();
        // The first figure comes early, so that the user need not wait for it.
        let enough = if self.shown.is_some() { SPEED_WINDOW } else { SPEED_WINDOW / 8 };
        if window >= enough && self.rows > 0.0 {
            self.shown = Some(self.rows / window.as_secs_f64());
            (self.since, self.rows) = (Instant::now(), 0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::InMemoryTerm;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Shared {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    fn epoch(epoch: u32) -> Epoch {
        let loss = 1.0 / f64::from(epoch);
        let (val_loss, val_metric) = (Some(loss * 1.25), Some(0.875));
        Epoch { epoch, loss, val_loss, metric: None, val_metric, lr: 1e-3, seconds: 0.05 }
    }

    fn run(progress: &mut Progress, epochs: u32) {
        for e in 1..=epochs {
            (1..=4).for_each(|b| progress.batch(b, 0.5));
            progress.epoch(&epoch(e), e == 2);
        }
    }

    #[test]
    fn lines_for_a_log() {
        let out = Shared::default();
        let mut p = Progress::with_display(lines(Box::new(out.clone()), Duration::ZERO), 10, 4)
            .rows_per_epoch(5000)
            .metric_name("accuracy");
        run(&mut p, 2);
        p.warn("slow disk");
        p.finish("stopped early");
        assert_eq!(
            out.text(),
            "epoch  1/10  loss 1.0000  val 1.2500  val accuracy 0.8750  50.0 ms  100.0k rows/s\n\
             epoch  2/10  loss 0.5000  val 0.6250  val accuracy 0.8750  50.0 ms  100.0k rows/s  best\n\
             warning: slow disk\nstopped early\n"
        );
    }

    #[test]
    fn fast_epochs_do_not_flood_a_log() {
        let out = Shared::default();
        let mut p = Progress::with_display(lines(Box::new(out.clone()), Duration::from_secs(3600)), 1000, 4);
        run(&mut p, 999);
        assert_eq!(out.text().lines().count(), 1, "the first");
        p.finish("");
        assert_eq!(out.text().lines().count(), 2, "and the last one skipped");
        let out = Shared::default();
        let mut p = Progress::with_display(lines(Box::new(out.clone()), Duration::from_secs(3600)), 50, 4);
        run(&mut p, 50);
        p.finish("done");
        let text = out.text();
        let starts: Vec<_> = text.lines().map(|l| &l[..l.len().min(11)]).collect();
        assert_eq!(starts, ["epoch  1/50", "epoch 50/50", "done"]);
    }

    #[test]
    fn a_bar_on_a_terminal() {
        let term = InMemoryTerm::new(6, 140);
        let mut p = Progress::with_display(bar(ProgressDrawTarget::term_like(Box::new(term.clone()))), 4, 4);
        run(&mut p, 2);
        p.batch(2, 0.25);
        if let Display::Bar(bar) = &p.display {
            bar.force_draw();
        }
        let shown = term.contents();
        assert!(shown.starts_with("epoch 3/4 ━━━"), "{shown}");
        assert!(shown.contains(" 62%  loss 0.2500  val 0.6250  best 0.6250 @2"), "{shown}");
        p.warn("look here");
        p.finish("done in 1 s");
        let left = term.contents();
        assert!(
            left.starts_with("warning: look here\nepoch 2/4  loss 0.5000") && left.ends_with("done in 1 s"),
            "{left}"
        );
        assert!(!left.contains('━'), "{left}");
    }

    #[test]
    fn nothing_goes_wrong_with_odd_runs() {
        for mode in [Mode::Quiet, Mode::Lines] {
            for (epochs, batches) in [(0, 0), (1, 0), (0, 1), (u32::MAX, u32::MAX)] {
                let mut p = Progress::new(mode, epochs, batches).rows_per_epoch(u64::MAX).resumed_after(u32::MAX);
                if mode == Mode::Quiet {
                    run(&mut p, 3);
                    p.batch(u32::MAX, f64::NAN);
                }
                p.finish("");
            }
        }
        let mut p = Progress::with_display(lines(Box::new(Broken), Duration::ZERO), 3, 1);
        run(&mut p, 3);
        p.finish("never seen");
        let term = InMemoryTerm::new(4, 20);
        let mut p = Progress::with_display(bar(ProgressDrawTarget::term_like(Box::new(term))), u32::MAX, u32::MAX);
        p.batch(u32::MAX, f64::NAN);
        p.epoch(&Epoch { epoch: u32::MAX, seconds: f64::NAN, ..epoch(1) }, true);
        drop(p);
    }
}
