//! What each error says: what was found, and what would be right.

use core::fmt;

use super::Error;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::UnknownLevel => {
                f.write_str("unknown SIMD level: choose portable, avx2, avx512, neon or fpu (EVENKEEL_LEVEL)")
            }
            Error::LevelUnavailable { level } => write!(
                f,
                "this CPU does not have the instructions of level {level}: choose another one or leave EVENKEEL_LEVEL unset"
            ),
            Error::Length { what, expected, found } => {
                write!(f, "{what} has {found} values where the shape asks for {expected}")
            }
            Error::Shape { inputs, outputs } => write!(
                f,
                "a layer needs 1 to {} inputs and outputs, not {inputs} and {outputs}",
                crate::layer::MAX_WIDTH
            ),
            Error::Widths { inputs, layers } => write!(
                f,
                "a network needs 1 to {} inputs and 1 to {} layers, not {inputs} and {layers}",
                crate::layer::MAX_WIDTH,
                crate::layer::MAX_LAYERS
            ),
            Error::BatchOfOne => f.write_str(
                "batch norm cannot train on a batch of one row: choose another batch size, or drop or merge the last batch",
            ),
            Error::BatchRows { rows, planned } => {
                write!(f, "a batch of {rows} rows where 1 to {planned} were planned")
            }
            Error::Scope { first, layers } => write!(
                f,
                "nothing to train: the network has {layers} layers, none from layer {first} on has parameters; begin at an earlier layer"
            ),
            Error::NeverUpdated { layer } => write!(
                f,
                "layer {layer} (bn) should keep its running statistics, but they were never updated: train it with those of its batches, or load them"
            ),
            Error::BatchStatistics { layer } => write!(
                f,
                "layer {layer} (bn) needs the statistics of the whole batch: hand all rows in at once (step_in_parts), or use the running statistics"
            ),
            Error::Parts { rows, part } => write!(
                f,
                "a batch of {rows} rows in parts of {part}: up to 256 rows parts may have any size, beyond that a multiple of 256"
            ),
            Error::GhostParts { layer } => write!(
                f,
                "layer {layer} (bn) normalises ghost batches, which a batch in parts would cut: plan whole batches, or use batches as small as the parts"
            ),
            Error::PartRows { rows, total } => {
                write!(f, "{rows} rows of a batch that was begun with {total}")
            }
            Error::Ops { ops, found } => write!(f, "the image has {found} operations, not {ops}"),
            Error::Tail { op } => write!(
                f,
                "operation {op} of the image is a scale and shift or a PReLU, which an image does not let train: train only what lies behind it"
            ),
            Error::TargetKind { loss } => {
                let classes = loss.parse::<crate::train::Loss>().is_ok_and(|loss| loss.takes_classes());
                let wanted = if classes { "class indices" } else { "target values" };
                write!(f, "the loss {loss} needs {wanted}")
            }
            Error::Label { row, label, classes } => {
                write!(f, "row {row} has label {label}, but the network has only {classes} outputs (labels count from 0)")
            }
            Error::Probability { row, value } => {
                write!(f, "row {row} has target {value}: binary cross-entropy wants 0 to 1")
            }
            Error::Target { row, value, loss } => {
                let wanted = match loss {
                    "hinge" | "squared_hinge" | "soft_margin" => "-1 or 0, and 1",
                    "msle" | "poisson" | "poisson_full" | "poisson_rate" | "poisson_rate_full" => "0 or more",
                    _ => "0 to 1",
                };
                write!(f, "row {row} has target {value}: the loss {loss} wants {wanted}")
            }
            Error::Weight { row, value } => {
                write!(f, "row {row} has weight {value}: weights are 0 or positive, and finite")
            }
            Error::AllWeightsZero => f.write_str("all weights are 0: no row counts"),
            Error::NoVariance { layer } => write!(
                f,
                "the outputs of layer {layer} do not vary, or are not finite: lsuv needs rows that differ"
            ),
            Error::ClassWeight { class, weights } => {
                write!(f, "class {class} has no weight: there are {weights}, one for each class counted from 0")
            }
            Error::Share { value } => write!(f, "the first classes' share of mixed rows is {value}, not from 0 to 1"),
            Error::WeightSum => f.write_str(
                "a part of a batch cannot know the sum of all weights: divide by the rows (Mean::Rows), or give the factor (Mean::Scaled)",
            ),
            Error::UnknownLoss => {
                f.write_str("unknown loss: choose ")?;
                for (index, (name, _)) in crate::train::loss::NAMES.iter().enumerate() {
                    write!(f, "{}{name}", if index == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            Error::LossParameter { loss } => {
                write!(f, "the loss {loss} has an argument it does not know, or one outside its range")
            }
            Error::Mixup { loss } => {
                write!(f, "the loss {loss} has no targets between its two: leave mixup out, or choose bce")
            }
            Error::OutputLayer { name, loss } => write!(
                f,
                "the loss {loss} contains {name} already: remove the last layer of the network, outputs are turned into probabilities after training"
            ),
            Error::Toolbox => f.write_str(
                "the optimiser, penalty, loss, layer or activation is not compiled in: switch on the feature toolbox (infer::Single has the activations that it is asked for)",
            ),
            Error::Index { row, position, index, features } => write!(
                f,
                "row {row}: index {index} at position {position} is beyond the {features} features (indices count from 0)"
            ),
            Error::IndexOrder { row, position, index, before } if index == before => write!(
                f,
                "row {row}: index {index} at position {position} stands there twice: a feature is 0 or 1, list it once"
            ),
            Error::IndexOrder { row, position, index, before } => write!(
                f,
                "row {row}: index {index} at position {position} comes after {before}: sort each row's list in ascending order"
            ),
            Error::Offsets { at, offset, before, indices } => write!(
                f,
                "offset {at} of the index lists is {offset} after {before}: offsets begin with 0, ascend, and end with the number of indices, {indices}"
            ),
            Error::ListsFirst { name } => write!(
                f,
                "index lists need a dense layer first, here it is {name}: put it behind the first dense layer, or hand in plain rows"
            ),
            Error::ListsStandardized => f.write_str(
                "index lists cannot be standardised: their zeros would become other numbers and all of them count; train without standardisation",
            ),
            Error::ListsPlanned => f.write_str(
                "plain rows where index lists were planned: all data of a run is of one kind, and `Scope::lists` says which",
            ),
            Error::Read { row, why } => write!(f, "row {row} (counted from 0) of the stored rows cannot be read: {why}"),
            Error::Folds { count, rows } => {
                write!(f, "{count} folds or groups of {rows} rows: there must be at least two, and no more than rows")
            }
            Error::Metric { what } => write!(f, "no metric: {what}"),
            Error::NonFinite { what, layer } => write!(f, "NaN or infinity in the {what} of layer {layer}"),
            Error::Layer { layer, name: "dropconnect" } => {
                write!(f, "layer {layer} (dropconnect) wants a rate in [0, 1] and a dense layer right behind it")
            }
            Error::Layer { layer, name } => {
                write!(f, "layer {layer} ({name}) has a parameter outside its range")
            }
            Error::DropoutRate { rate } => write!(f, "dropout rate {rate} is not in [0, 1]"),
            Error::Operations { missing } => write!(
                f,
                "the image has operations that are not compiled in: add the bits {missing:#x} of image::uses to the network's"
            ),
            Error::UnknownInit => f.write_str(
                "unknown initialiser: choose zeros, ones, constant(c), torch_linear, orthogonal, orthogonal(gain), \
                 glorot, he or lecun followed by _uniform or _normal, uniform(low, high), normal(mean, std), \
                 truncated_normal(mean, std), trunc_normal(mean, std, low, high), variance_scaling(scale, mode, distribution), \
                 xavier_uniform(gain), xavier_normal(gain), kaiming_uniform(mode, nonlinearity, a), \
                 kaiming_normal(mode, nonlinearity, a), identity(gain), or sparse(sparsity, std)",
            ),
        }
    }
}

impl core::error::Error for Error {}
