//! One small error type for the core ring: `Copy`, no heap, every variant names what was wrong.

mod message;

/// What a core function refuses.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The level's name is none of `portable`, `avx2`, `avx512`, `neon`, `fpu`.
    UnknownLevel,
    /// This CPU (or, without `std`, this build) does not have the level's instructions.
    LevelUnavailable {
        /// The level asked for.
        level: &'static str,
    },
    /// A slice is too short or too long for the shape.
    Length {
        /// Which argument.
        what: &'static str,
        /// The length that the shape asks for, in values.
        expected: usize,
        /// The length given.
        found: usize,
    },
    /// A layer without inputs or outputs, or with too many.
    Shape {
        /// Input features.
        inputs: usize,
        /// Output features.
        outputs: usize,
    },
    /// A network without inputs or layers, or with too many of them.
    Widths {
        /// Input features.
        inputs: usize,
        /// Number of layers.
        layers: usize,
    },
    /// A layer has a parameter outside its range.
    Layer {
        /// Its index, from 0.
        layer: usize,
        /// Its kind.
        name: &'static str,
    },
    /// An image has operations whose code is not there, see [`Single`](crate::infer::Single).
    Operations {
        /// Their bits, of [`image::uses`](crate::image::uses).
        missing: u32,
    },
    /// The initialiser's name is none of those listed at [`Init`](crate::init::Init).
    UnknownInit,
    /// A dropout rate is a probability.
    DropoutRate {
        /// The rate asked for.
        rate: f32,
    },
    /// Batch norm in training needs at least two rows: the variance of one says nothing.
    BatchOfOne,
    /// A batch without rows, or with more than planned.
    BatchRows {
        /// Rows of the batch.
        rows: usize,
        /// Rows planned.
        planned: usize,
    },
    /// No layer of what should be trained has parameters.
    Scope {
        /// First layer to train.
        first: usize,
        /// Layers of the network.
        layers: usize,
    },
    /// A batch norm with frozen statistics that no batch has ever updated: they are still the initial 0 and 1.
    NeverUpdated {
        /// The batch norm's index.
        layer: usize,
    },
    /// A batch norm needs all rows of a batch for its statistics, but they come one part after the other.
    BatchStatistics {
        /// The batch norm's index.
        layer: usize,
    },
    /// A batch of more than 256 rows in parts that are not multiples of 256: its sums would have to be cut inside a chain.
    Parts {
        /// Rows of the batch.
        rows: usize,
        /// Rows of a part.
        part: usize,
    },
    /// A ghost batch norm divides a batch itself: it cannot come in parts too.
    GhostParts {
        /// The batch norm's index.
        layer: usize,
    },
    /// A batch that comes in parts is not complete, or would get more rows than it was begun with.
    PartRows {
        /// Rows that the batch has, with those given.
        rows: usize,
        /// Rows that it was begun with.
        total: usize,
    },
    /// An image has fewer operations.
    Ops {
        /// Operations asked for.
        ops: usize,
        /// Operations of the image.
        found: usize,
    },
    /// An operation of an image is no layer that could be trained.
    Tail {
        /// Its index.
        op: usize,
    },
    /// The targets are of the wrong kind for the loss.
    TargetKind {
        /// The loss.
        loss: &'static str,
    },
    /// A class index beyond the network's outputs.
    Label {
        /// Row of the batch or data set, from 0.
        row: usize,
        /// The label found.
        label: u32,
        /// Outputs of the network.
        classes: usize,
    },
    /// A target of binary cross-entropy that is no probability.
    Probability {
        /// Row of the batch or data set, from 0.
        row: usize,
        /// The target found.
        value: f32,
    },
    /// A value that cannot be a target of the loss.
    Target {
        /// Row of the batch or data set, from 0.
        row: usize,
        /// The target found.
        value: f32,
        /// The loss.
        loss: &'static str,
    },
    /// A weight that is negative or not finite.
    Weight {
        /// Row of the batch or data set, from 0.
        row: usize,
        /// The weight found.
        value: f32,
    },
    /// All weights of a data set are 0: no row counts.
    AllWeightsZero,
    /// The outputs of a layer do not vary over the rows given, or are not finite: no factor makes their variance 1.
    NoVariance {
        /// The layer.
        layer: usize,
    },
    /// A class without a weight.
    ClassWeight {
        /// The class.
        class: u32,
        /// How many weights there are.
        weights: usize,
    },
    /// The share of a mixed row's first class is not in [0, 1].
    Share {
        /// The share found.
        value: f32,
    },
    /// A part of a batch cannot know the sum of the weights of all its rows.
    WeightSum,
    /// The loss's name is none of those listed at [`Loss`](crate::train::Loss).
    UnknownLoss,
    /// A loss has an argument that it does not know, or one outside its range.
    LossParameter {
        /// The loss.
        loss: &'static str,
    },
    /// Rows cannot be mixed under a loss whose targets have nothing between them.
    Mixup {
        /// The loss.
        loss: &'static str,
    },
    /// The last layer does what the loss already contains.
    OutputLayer {
        /// The layer.
        name: &'static str,
        /// The loss.
        loss: &'static str,
    },
    /// Something beyond the basic optimisers, penalties, losses, layers and activations, in a build without the feature `toolbox`.
    Toolbox,
    /// An index beyond the features, see [`IndexLists`](crate::kernels::sparse::IndexLists).
    Index {
        /// Row of the batch or data set, from 0.
        row: usize,
        /// Place in the row's list, from 0.
        position: usize,
        /// The index found.
        index: u32,
        /// Features of a row.
        features: usize,
    },
    /// An index that is not larger than the one before it.
    IndexOrder {
        /// Row of the batch or data set, from 0.
        row: usize,
        /// Place in the row's list, from 0.
        position: usize,
        /// The index found.
        index: u32,
        /// The one before it.
        before: u32,
    },
    /// Offsets of index lists that do not ascend from 0 to the number of indices.
    Offsets {
        /// Which one, from 0.
        at: usize,
        /// The offset found.
        offset: usize,
        /// The one before it.
        before: usize,
        /// Number of indices.
        indices: usize,
    },
    /// Index lists where something else than a dense layer comes first.
    ListsFirst {
        /// What comes first.
        name: &'static str,
    },
    /// Index lists for a network that standardises its inputs.
    ListsStandardized,
    /// Plain rows where the plan has no room for them, or lists and plain rows in one run.
    ListsPlanned,
    /// Rows cannot be divided into so many folds.
    Folds {
        /// Folds, or groups to leave out.
        count: usize,
        /// Rows.
        rows: usize,
    },
    /// A metric of what has none.
    Metric {
        /// What is missing or wrong.
        what: &'static str,
    },
    /// A NaN or an infinity appeared.
    NonFinite {
        /// In what: `input`, `output`, `loss`, `gradient`, `statistics` (of a batch norm's batch), `weight`.
        what: &'static str,
        /// Index of the layer where it began.
        layer: usize,
    },
}

/// Compares a slice's length with what the shape asks for.
pub(crate) const fn check_len(what: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::Length { what, expected, found }) }
}
