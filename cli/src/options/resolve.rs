//! From options to the library's own description of a training run: what is not given is filled in, what does not fit
//! together is refused.

use evenkeel::fit::{Monitor, Trainer};
use evenkeel::train::{Averaging, Clip, Rules};
use evenkeel::{EarlyStopping, Init, Level, Loss};
use serde::Serializer;

use super::{MonitorName, TrainOptions};
use crate::error::{Failure, Kind};

/// Share of the rows that validate, unless the options say otherwise.
pub const VALIDATION_SHARE: f64 = 0.1;
/// Share of the built-in digits that test.
pub const DIGITS_TEST_SHARE: f64 = 0.2;

const PATIENCE: u32 = 20;

impl TrainOptions {
    /// These options where they are given, `base`'s elsewhere.
    ///
    /// Options that stand for the same choice go together: another optimiser brings its own rate and constants, another
    /// data file its own labels, another way to validate or to test replaces that of `base`.
    ///
    /// # Errors
    /// If the merged table cannot be read back, which would be a mistake in this program.
    pub fn over(&self, base: &Self) -> Result<Self, Failure> {
        let mut base = base.clone();
        if self.data.is_some() {
            base.labels = None;
        }
        if self.validation.is_some() || self.validation_where.is_some() || self.validation_split.is_some() {
            (base.validation, base.validation_labels) = (None, None);
            (base.validation_where, base.validation_split) = (None, None);
        }
        if self.tests_elsewhere() || self.test_split.is_some() {
            (base.test, base.test_labels, base.test_where, base.test_split) = (None, None, None, None);
            (base.test_fold, base.test_group) = (None, None);
        }
        if self.optimizer.is_some() && !self.same_optimizer(&base) {
            (base.lr, base.momentum, base.nesterov, base.weight_decay) = (None, None, None, None);
        }
        if self.loss.is_some() {
            base.label_smoothing = None;
        }
        if self.swa.is_some() || self.ema.is_some() {
            (base.swa, base.ema) = (None, None);
        }
        if self.max_norm.is_some() || self.constraint.is_some() {
            (base.max_norm, base.constraint) = (None, None);
        }
        if self.clip_norm.is_some() || self.clip_value.is_some() {
            (base.clip_norm, base.clip_value) = (None, None);
        }
        if self.from.is_some() {
            base.init = None;
        }
        if self.stream == Some(false) {
            base.spool = None;
        }
        let table = |options: &Self| toml::Table::try_from(options).map_err(|error| Failure::new(Kind::Usage, error));
        let mut merged = table(&base)?;
        merged.extend(table(self)?);
        merged.try_into().map_err(|error| Failure::new(Kind::Usage, error))
    }

    /// The options with every default filled in, so that they mean the same wherever and whenever they are read.
    #[must_use]
    pub fn resolved(&self, loss: Loss, net: String, standardize: bool) -> Self {
        let recipe = self.recipe_texts();
        let share = |elsewhere: bool, share: f64| (!elsewhere).then_some(share);
        Self {
            validation_split: share(
                self.validation.is_some() || self.validation_where.is_some(),
                self.validation_share(),
            ),
            test_split: share(self.tests_elsewhere(), self.test_share()),
            standardize: Some(standardize),
            net: Some(net),
            // The network's text says it all.
            dialect: None,
            init: self.from.is_none().then(|| self.init_name().to_owned()),
            loss: Some(loss.into()),
            mixup: Some(self.mixup.unwrap_or(0.0)),
            jitter: Some(self.jitter.unwrap_or(0.0)),
            optimizer: recipe.optimizer,
            lr: Some(self.lr()),
            schedule: Some(recipe.schedule),
            warmup: Some(self.warmup.unwrap_or(0.0)),
            momentum: recipe.momentum,
            nesterov: recipe.nesterov,
            weight_decay: Some(recipe.weight_decay),
            l2: Some(self.l2.unwrap_or(0.0)),
            l1: Some(self.l1.unwrap_or(0.0)),
            max_norm: None,
            constraint: Some(recipe.constraint),
            decay_all: Some(self.decay_all.unwrap_or(false)),
            epochs: Some(self.epochs()),
            batch: Some(self.batch()),
            shuffle: Some(self.shuffle.unwrap_or(true)),
            seed: Some(self.seed()),
            patience: Some(self.patience.unwrap_or(PATIENCE)),
            min_delta: Some(self.min_delta.unwrap_or(0.0)),
            monitor: Some(self.monitor.unwrap_or(MonitorName::ValLoss)),
            start_from_epoch: Some(self.start_from_epoch.unwrap_or(0)),
            restore_best: Some(self.restore_best.unwrap_or(true)),
            weights: Some(self.weights.unwrap_or_default()),
            ..self.clone()
        }
    }

    /// Whether the test rows are named, so that no share is held out.
    fn tests_elsewhere(&self) -> bool {
        self.test.is_some() || self.test_where.is_some() || self.test_fold.is_some() || self.test_group.is_some()
    }

    /// The seed, 1 unless given.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or(1)
    }

    /// Share of the training rows held out for validation.
    #[must_use]
    pub fn validation_share(&self) -> f64 {
        self.validation_split.unwrap_or(VALIDATION_SHARE)
    }

    /// Share of the rows held out for the test.
    #[must_use]
    pub fn test_share(&self) -> f64 {
        self.test_split.unwrap_or(if self.data.is_none() { DIGITS_TEST_SHARE } else { 0.0 })
    }

    fn epochs(&self) -> u32 {
        self.epochs.unwrap_or(200)
    }

    /// Rows of a batch.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch.unwrap_or(64)
    }

    fn init_name(&self) -> &str {
        self.init.as_deref().unwrap_or("he_normal")
    }

    /// Refuses options that contradict each other or do nothing: all of a run, after they were merged.
    ///
    /// # Errors
    /// [`Kind::Usage`] names the options.
    pub fn check(&self) -> Result<(), Failure> {
        let data = self.data.is_some();
        let both = |a: bool, b: bool| a && b;
        let outside = |value: Option<f64>, sound: fn(f64) -> bool| value.is_some_and(|value| !sound(value));
        let share = |share: Option<f64>| outside(share, |share| (0.0..1.0).contains(&share));
        let validates_elsewhere = self.validation.is_some() || self.validation_where.is_some();
        let tests_elsewhere = self.tests_elsewhere();
        let weighted = self.class_weight.is_some() || self.weight_column.is_some();
        let mistakes: [(bool, &str); 22] = [
            (
                self.weight_mean.is_some() && !weighted,
                "--weight-mean says what weighted losses are divided by: it needs --class-weight or --weight-column",
            ),
            (self.labels.is_some() && !data, "--labels needs --data, the file whose labels they are"),
            (
                self.validation_labels.is_some() && self.validation.is_none(),
                "--validation-labels needs --validation, the file whose labels they are",
            ),
            (
                self.test_labels.is_some() && self.test.is_none(),
                "--test-labels needs --test, the file whose labels they are",
            ),
            (
                both(validates_elsewhere, self.validation_split.is_some()),
                "choose one of --validation-split and --validation or --validation-where",
            ),
            (both(tests_elsewhere, self.test_split.is_some()), "choose one of --test-split and --test or --test-where"),
            (
                [self.test.is_some() || self.test_where.is_some(), self.test_fold.is_some(), self.test_group.is_some()]
                    .into_iter()
                    .filter(|given| *given)
                    .count()
                    > 1,
                "choose one of --test-fold, --test-group, and --test or --test-where",
            ),
            (share(self.validation_split), "--validation-split is a share: from 0 to below 1"),
            (share(self.test_split), "--test-split is a share: from 0 to below 1"),
            (both(self.max_norm.is_some(), self.constraint.is_some()), "choose one of --max-norm and --constraint"),
            (both(self.clip_norm.is_some(), self.clip_value.is_some()), "choose one of --clip-norm and --clip-value"),
            (self.epochs() == 0, "--epochs must be at least 1; to fold a checkpoint as it is, use evenkeel export"),
            (!(1..=u32::MAX as usize).contains(&self.batch()), "--batch must be from 1 to 4294967295 rows"),
            (self.seed() >= 1 << 63, "--seed must be below 9223372036854775808"),
            (outside(self.min_delta, f64::is_finite), "--min-delta must be a finite number"),
            (outside(self.baseline, f64::is_finite), "--baseline must be a finite number"),
            (
                outside(self.checkpoint_seconds, |seconds| (0.0..=1e9).contains(&seconds)),
                "--checkpoint-seconds must be 0 or a positive number",
            ),
            (
                self.spool.is_some() && self.stream != Some(true),
                "--spool is the folder that --stream writes to: add --stream",
            ),
            (self.micro_batch == Some(0), "--micro-batch must be at least 1 row"),
            (outside(self.ema, |decay| (0.0..1.0).contains(&decay)), "--ema is a share: from 0 to below 1"),
            (both(self.swa.is_some(), self.ema.is_some()), "choose one of --swa and --ema"),
            (self.init.is_some() && self.from.is_some(), "--init makes new weights, --from brings them: choose one"),
        ];
        match mistakes.iter().find(|(mistaken, _)| *mistaken) {
            Some((_, message)) => Err(Failure::new(Kind::Usage, message)),
            None => self.check_recipe(),
        }
    }

    /// The library's description of the same training.
    ///
    /// # Errors
    /// For a schedule that cannot be read, a figure that the loss does not have, and what [`check`](Self::check) refuses.
    pub fn trainer(&self, loss: Loss, level: Level) -> Result<Trainer, Failure> {
        self.check()?;
        if self.swa.is_some_and(|from| from >= self.epochs()) {
            let message =
                "--swa begins after the last of the --epochs (it counts them from 0): nothing would be averaged";
            return Err(Failure::new(Kind::Usage, message));
        }
        let (optimizer, weight_decay) = self.optimizer()?;
        let clip = match (self.clip_norm, self.clip_value) {
            (Some(norm), _) => Clip::Norm(norm),
            (None, Some(value)) => Clip::Value(value),
            (None, None) => Clip::None,
        };
        let monitor = self.monitor.unwrap_or(MonitorName::ValLoss).into();
        if matches!(monitor, Monitor::Accuracy | Monitor::ValAccuracy) && !loss.has_accuracy() {
            let message = format!("--monitor: the loss {} has no accuracy; choose loss or val-loss", loss.name());
            return Err(Failure::new(Kind::Usage, message));
        }
        let patience = self.patience.unwrap_or(PATIENCE);
        Ok(Trainer {
            rules: Rules {
                loss,
                optimizer,
                l2: self.l2.unwrap_or(0.0),
                l1: self.l1.unwrap_or(0.0),
                weight_decay,
                decay_all: self.decay_all.unwrap_or(false),
                clip,
                constraint: self.constraint()?,
                layer_rates: self.layer_rates()?,
            },
            lr: self.lr(),
            schedule: self.schedule()?,
            warmup_epochs: self.warmup.unwrap_or(0.0),
            epochs: self.epochs(),
            batch: self.batch(),
            seed: self.seed(),
            shuffle: self.shuffle.unwrap_or(true),
            mixup: self.mixup.unwrap_or(0.0),
            jitter: self.jitter.unwrap_or(0.0),
            early_stopping: (patience > 0).then(|| EarlyStopping {
                mode: Monitor::mode(monitor),
                patience,
                min_delta: self.min_delta.unwrap_or(0.0),
                baseline: self.baseline,
                start_from_epoch: self.start_from_epoch.unwrap_or(0),
            }),
            monitor,
            restore_best: self.restore_best.unwrap_or(true),
            level,
            part: self.micro_batch,
            averaging: match (self.swa, self.ema) {
                (Some(from), _) => Averaging::Swa { from },
                (None, Some(decay)) => Averaging::Ema { decay },
                (None, None) => Averaging::None,
            },
            // The whole network.
            ..Trainer::new(loss)
        })
    }

    /// Whether the weights are made to suit the data.
    #[must_use]
    pub fn init_is_lsuv(&self) -> bool {
        self.init_name() == "lsuv"
    }

    /// The initialiser.
    ///
    /// # Errors
    /// For an unknown name.
    pub fn init(&self) -> Result<Init, Failure> {
        let name = self.init_name();
        name.parse().map_err(|error| Failure::new(Kind::Usage, format_args!("--init {name}: {error}, or lsuv")))
    }
}

/// Writes 0.001 as `0.001`: TOML knows double precision only, in which the nearest single is `0.0010000000474974513`.
pub(super) fn shortest<S: Serializer>(value: &Option<f32>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        None => to.serialize_none(),
        Some(value) => {
            let short = value.to_string().parse().unwrap_or(f64::from(*value));
            to.serialize_f64(if short as f32 == *value { short } else { f64::from(*value) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_precision_survives_the_file() {
        for lr in [0.001, 0.1, 3e-5, f32::MIN_POSITIVE, 1.0 / 3.0, 16_777_217.0, f32::MAX] {
            let text = toml::to_string(&TrainOptions { lr: Some(lr), ..TrainOptions::default() }).unwrap();
            let back: TrainOptions = toml::from_str(&text).unwrap();
            assert_eq!(back.lr.map(f32::to_bits), Some(lr.to_bits()), "{text}");
        }
        let text = toml::to_string(&TrainOptions { lr: Some(0.001), ..TrainOptions::default() }).unwrap();
        assert_eq!(text, "lr = 0.001\n");
    }

    #[test]
    fn resolving_changes_nothing_and_happens_once() {
        let options = TrainOptions { momentum: Some(0.5), optimizer: Some("sgd".into()), ..TrainOptions::default() };
        let resolved = options.resolved(Loss::CrossEntropy, "dense(10)".into(), true);
        let trainer = |options: &TrainOptions| options.trainer(Loss::CrossEntropy, Level::detect()).unwrap();
        assert_eq!(format!("{:?}", trainer(&options)), format!("{:?}", trainer(&resolved)));
        assert_eq!(resolved.resolved(Loss::CrossEntropy, "dense(10)".into(), true), resolved);
        assert!(resolved.over(&options).unwrap() == resolved);
    }

    #[test]
    fn what_is_given_displaces_what_it_stands_for() {
        let base =
            TrainOptions { optimizer: Some("sgd".into()), validation_split: Some(0.3), ..TrainOptions::default() }
                .resolved(Loss::MeanSquaredError, "dense(1)".into(), true);
        let given = TrainOptions {
            optimizer: Some("adamw".into()),
            validation: Some("v.csv".into()),
            clip_norm: Some(1.0),
            ..TrainOptions::default()
        };
        let merged = given.over(&base).unwrap();
        merged.check().unwrap();
        assert_eq!((merged.lr, merged.momentum, merged.validation_split), (None, None, None));
        assert_eq!((merged.batch, merged.clip_norm), (Some(64), Some(1.0)));
    }
}
