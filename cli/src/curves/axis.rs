//! Ranges, ticks and numbers of an axis.

/// Beyond this a number is drawn at the edge: sums and differences stay finite.
const HUGE: f64 = 1e100;

/// The values an axis spans and where its ticks are.
pub(super) struct Axis {
    pub(super) low: f64,
    pub(super) high: f64,
    step: f64,
}

impl Axis {
    /// An axis for these values: a little room above and below, down to zero where that costs little height.
    pub(super) fn over(values: impl Iterator<Item = f64>, share: bool) -> Self {
        let (low, high) = values
            .filter(|v| v.is_finite())
            .map(|v| v.clamp(-HUGE, HUGE))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        if low > high {
            return Self::new(0.0, 1.0);
        }
        // Equal values, or nearly: an axis that tells them apart would be all digits.
        let size = high.abs().max(low.abs());
        let least = match () {
            () if share => 0.02,
            () if size == 0.0 => 1.0,
            () if high - low > size * 1e-3 => 0.0,
            () => size * 0.1,
        };
        let span = (high - low).max(least);
        let middle = low + (high - low) / 2.0;
        let (mut low, mut high) = (middle - span * 0.56, middle + span * 0.56);
        if low < 0.3 * high && middle - span / 2.0 >= -span * 0.01 && !share {
            low = 0.0;
        }
        if share {
            (low, high) = (low.max(0.0), high.min(1.0));
            // Room for the line at 100 %.
            if high == 1.0 {
                high += (1.0 - low) * 0.03;
            }
        }
        Self::new(low, high)
    }

    fn new(low: f64, high: f64) -> Self {
        Self { low, high, step: nice((high - low) / 5.5) }
    }

    /// The ticks: value and text.
    pub(super) fn ticks(&self, share: bool) -> Vec<(f64, String)> {
        let start = (self.low / self.step).ceil();
        let room = self.high + self.step * 1e-9;
        (0..12)
            .map(|i| (start + f64::from(i)) * self.step)
            .take_while(|v| *v <= room && (!share || *v <= 1.0 + 1e-9))
            .map(|v| (v, if share { percent(v, self.step) } else { plain(v, self.step) }))
            .collect()
    }

    /// Where a value lies, from 0 (low) to 1 (high).
    pub(super) fn place(&self, value: f64) -> f64 {
        ((value.clamp(-HUGE, HUGE) - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

/// The ticks of an axis of epochs: whole numbers, at most about ten.
pub(super) fn epoch_ticks(first: u32, last: u32) -> Vec<u32> {
    let (first, last) = (i64::from(first), i64::from(last));
    // Longer numbers need more room.
    let most = 45.0 / f64::from(last.max(1).ilog10().max(4) + 1);
    let step = nice(((last - first) as f64 / most).max(1.0)).round() as i64;
    let mut ticks: Vec<i64> = (first / step..=last / step).map(|i| i * step).filter(|t| *t >= first).collect();
    // A run starts at epoch 1, which no round step hits.
    if ticks.first().is_none_or(|t| (t - first) * 2 > step) {
        ticks.insert(0, first);
    }
    ticks.into_iter().filter_map(|t| u32::try_from(t).ok()).collect()
}

/// The next larger of 1, 2 and 5 times a power of ten.
fn nice(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    match step / power {
        s if s <= 1.0 => power,
        s if s <= 2.0 => 2.0 * power,
        s if s <= 5.0 => 5.0 * power,
        _ => 10.0 * power,
    }
}

fn decimals(step: f64) -> usize {
    (-(step * 1.0001).log10().floor()).clamp(0.0, 12.0) as usize
}

fn plain(value: f64, step: f64) -> String {
    let value = if value.abs() < step * 1e-6 { 0.0 } else { value };
    if value == 0.0 && !(1e-4..1e6).contains(&step) {
        return "0".to_owned();
    }
    if value != 0.0 && (value.abs() >= 1e6 || step < 1e-5) {
        // As many digits as tell one tick from the next.
        let digits = (value.abs().log10().floor() - (step * 1.0001).log10().floor()).clamp(0.0, 12.0) as usize;
        return minus(format!("{value:.digits$e}"));
    }
    minus(format!("{value:.prec$}", prec = decimals(step)))
}

fn percent(value: f64, step: f64) -> String {
    format!("{:.prec$} %", value * 100.0, prec = decimals(step * 100.0))
}

/// A number for running text: four significant digits.
pub(super) fn short(value: f64) -> String {
    let size = value.abs();
    minus(match size {
        _ if value.is_nan() => "not a number".to_owned(),
        _ if !value.is_finite() => (if value > 0.0 { "∞" } else { "-∞" }).to_owned(),
        s if s != 0.0 && !(1e-3..1e6).contains(&s) => format!("{value:.2e}"),
        s if s < 10.0 => format!("{value:.4}"),
        s if s < 1000.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    })
}

/// As [`short`], in percent for shares.
pub(super) fn shown(value: f64, share: bool) -> String {
    if share && value.is_finite() { minus(format!("{:.2} %", value * 100.0)) } else { short(value) }
}

/// A minus as wide as the digits.
fn minus(text: String) -> String {
    text.replace('-', "−")
}
