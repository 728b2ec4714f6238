#!/usr/bin/env python3
"""Writes the golden files that come from Keras: early_stopping.json and bn_keras.safetensors.

    pip install keras torch numpy safetensors
    python tests/golden/make_keras.py

Keras runs on its torch back end. The files in the repository were made with Keras 3.15.1, torch 2.15.0 and numpy 2.4.6.
README.md documents them.

Early stopping: every case of KERAS below is run through keras.callbacks.EarlyStopping, and what it did is written down
(`"source": "keras"`). The cases of OURS state evenkeel's own rule where it differs on purpose, derived by hand
(`"source": "evenkeel"`); what Keras does there is stored beside it as `"keras"`. The function `rule` spells our rule
out; it has to agree with every case of both kinds.
"""

import json
import math
import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"
import keras  # noqa: E402
import numpy as np  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402

HERE = Path(__file__).resolve().parent
NAN = math.nan
to_numpy = keras.ops.convert_to_numpy
DEFAULTS = {"mode": "min", "patience": 0, "min_delta": 0.0, "baseline": None, "start_from_epoch": 0}

LOSSES = [1.0, 0.8, 0.9, 0.85, 0.7, 0.71, 0.72, 0.73]
ACCURACY = [0.1, 0.5, 0.4, 0.45, 0.7, 0.69, 0.70, 0.68]

# (name, arguments, monitored value of each epoch)
KERAS = [
    ("patience 0", {}, LOSSES),
    ("patience 1 is the same as 0", {"patience": 1}, LOSSES),
    ("patience 2", {"patience": 2}, LOSSES),
    ("patience 3", {"patience": 3}, LOSSES),
    ("patience 4: the run ends by itself, the best epoch is restored all the same", {"patience": 4}, LOSSES),
    ("min_delta 0.15: the small gains at 2 and 3 do not count", {"patience": 2, "min_delta": 0.15}, LOSSES),
    ("a negative min_delta is taken as positive", {"patience": 2, "min_delta": -0.15}, LOSSES),
    ("min_delta 0.25 exactly reached is no gain", {"patience": 2, "min_delta": 0.25}, [1.0, 0.75, 0.5, 0.5, 0.5]),
    ("min_delta against the best, not the last: slow gains add up", {"patience": 2, "min_delta": 0.25},
     [1.0, 0.875, 0.625, 0.5, 0.25, 0.25, 0.25, 0.25]),
    ("baseline 0.75 not beaten in time: the gain at 1 becomes best but does not reset the wait",
     {"patience": 2, "baseline": 0.75}, LOSSES),
    ("baseline 0.75 beaten at 4", {"patience": 5, "baseline": 0.75}, LOSSES + [0.74, 0.75]),
    ("baseline 0.95", {"patience": 2, "baseline": 0.95}, LOSSES),
    ("baseline with min_delta", {"patience": 3, "baseline": 0.75, "min_delta": 0.0625},
     [1.0, 0.7, 0.6, 0.59, 0.58, 0.57, 0.56]),
    ("start_from_epoch 3: earlier epochs are not even looked at", {"patience": 1, "start_from_epoch": 3}, LOSSES),
    ("start_from_epoch 3, patience 3", {"patience": 3, "start_from_epoch": 3}, LOSSES),
    ("start_from_epoch forgets the best before it", {"patience": 2, "start_from_epoch": 2},
     [0.1, 0.2, 0.9, 0.8, 0.85, 0.86]),
    ("start_from_epoch beyond the run", {"patience": 1, "start_from_epoch": 20}, LOSSES),
    ("mode max, patience 0", {"mode": "max"}, ACCURACY),
    ("mode max, patience 2", {"mode": "max", "patience": 2}, ACCURACY),
    ("mode max, patience 3", {"mode": "max", "patience": 3}, ACCURACY),
    ("mode max, equal to the best is no gain", {"mode": "max", "patience": 2}, [0.5, 0.5, 0.5, 0.9]),
    ("mode max, min_delta", {"mode": "max", "patience": 2, "min_delta": 0.25}, [0.5, 0.625, 0.75, 0.875, 0.875, 0.875]),
    ("mode max, baseline", {"mode": "max", "patience": 2, "baseline": 0.6}, ACCURACY),
    ("equal to the best is no gain", {"patience": 2}, [0.5, 0.5, 0.5, 0.4]),
    ("always better", {"patience": 1}, [5.0, 4.0, 3.0, 2.0, 1.0]),
    ("always worse", {"patience": 3}, [1.0, 2.0, 3.0, 4.0, 5.0]),
    ("one epoch", {"patience": 0}, [1.0]),
    ("no epoch", {"patience": 0}, []),
    ("values below zero", {"patience": 2}, [-1.0, -2.0, -1.5, -3.0, -2.5, -2.9]),
    ("NaN after a best value counts against patience", {"patience": 2}, [1.0, 0.5, NAN, NAN, 0.1]),
    ("NaN between gains", {"patience": 2}, [1.0, NAN, 0.5, NAN, 0.4, NAN, NAN, 0.3]),
    ("infinity after a best value counts against patience", {"patience": 2}, [1.0, math.inf, math.inf, 0.1]),
]

# Derived by hand from the rule: a NaN is never a gain and counts against patience; NaN weights are never the best.
# (name, arguments, values, stop epoch or None, best epoch or None)
OURS = [
    ("NaN from the first epoch on: no best epoch, stops when patience runs out", {"patience": 3}, [NAN] * 6, 2, None),
    ("NaN throughout, patience 0: the first epoch never stops, as in Keras", {}, [NAN] * 4, 1, None),
    ("NaN first, then real values: they are gains", {"patience": 2}, [NAN, 1.0, 0.9, 0.95, 0.96], 4, 2),
    ("NaN first, then worse and worse", {"patience": 2}, [NAN, 1.0, 1.1, 1.2, 1.3], 3, 1),
    ("NaN in the first monitored epoch", {"patience": 2, "start_from_epoch": 2}, [0.1, 0.2, NAN, 0.9, 0.8, 0.85, 0.86], 6, 4),
    ("NaN first, mode max", {"mode": "max", "patience": 2}, [NAN, 0.5, 0.6, 0.55, 0.5], 4, 2),
    ("NaN first, baseline never beaten: the gain at 1 becomes best, the wait goes on", {"patience": 3, "baseline": 0.5},
     [NAN, 0.9, 0.95, 0.96], 2, 1),
    ("one epoch of NaN", {"patience": 0}, [NAN], None, None),
]


def run_keras(args, values):
    """What keras.callbacks.EarlyStopping does with the values; the weight of the model is the epoch's number."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    callback = keras.callbacks.EarlyStopping(monitor="val_loss", restore_best_weights=True, verbose=0, **args)
    callback.set_model(model)
    model.stop_training = False
    callback.on_train_begin()
    stop = None
    for epoch, value in enumerate(values):
        model.set_weights([np.array([[epoch]], dtype=np.float32)])
        callback.on_epoch_end(epoch, {"val_loss": value})
        if model.stop_training:
            stop = epoch
            break
    best = None if callback.best is None else float(callback.best)
    callback.on_train_end()
    restored = int(model.get_weights()[0][0, 0]) if values else None
    monitored = len(values) > args.get("start_from_epoch", 0)
    if monitored:
        assert restored == callback.best_epoch, (args, restored, callback.best_epoch)
    return stop, restored if monitored else None, best


def rule(args, values):
    """evenkeel's rule: (stop epoch, best epoch). Keras' rule but for NaN."""
    a = {**DEFAULTS, **args}
    sign, delta = (1.0 if a["mode"] == "min" else -1.0), abs(a["min_delta"])
    best = best_epoch = None
    wait = 0
    for epoch, value in enumerate(values):
        if epoch < a["start_from_epoch"]:
            continue
        wait += 1
        value *= sign
        if not math.isnan(value) and (best is None or value + delta < best):
            best, best_epoch = value, epoch
            if a["baseline"] is None or value + delta < sign * a["baseline"]:
                wait = 0
        elif wait >= a["patience"] and epoch > 0:
            return epoch, best_epoch
    return None, best_epoch


def number(value):
    """JSON knows no NaN and no infinity: they are written as strings."""
    return value if value is None or math.isfinite(value) else str(value)


def early_stopping():
    cases = []
    for name, args, values in KERAS:
        stop, best_epoch, best = run_keras(args, values)
        assert rule(args, values) == (stop, best_epoch), name
        cases.append({"source": "keras", "name": name, **{**DEFAULTS, **args}, "values": [number(v) for v in values],
                      "stop_epoch": stop, "best_epoch": best_epoch, "best": number(best)})
    for name, args, values, stop, best_epoch in OURS:
        assert rule(args, values) == (stop, best_epoch), name
        keras_stop, keras_best_epoch, keras_best = run_keras(args, values)
        best = None if best_epoch is None else values[best_epoch]
        cases.append({"source": "evenkeel", "name": name, **{**DEFAULTS, **args}, "values": [number(v) for v in values],
                      "stop_epoch": stop, "best_epoch": best_epoch, "best": best,
                      "keras": {"stop_epoch": keras_stop, "best_epoch": keras_best_epoch, "best": number(keras_best)}})
    comment = [
        "Epochs count from 0. values: the monitored value after each epoch, were the run not stopped.",
        "stop_epoch: the last epoch that runs, null if the values end first. best_epoch: whose weights are restored,",
        "also when the run ends by itself; null if no epoch was ever a gain. 'nan' and 'inf' stand for the floats.",
        "source keras: recorded from Keras " + keras.__version__ + ". source evenkeel: derived by hand from our own rule",
        "(a NaN is never a gain and counts against patience), with what Keras does instead under 'keras'.",
    ]
    lines = ",\n".join("  " + json.dumps(case, allow_nan=False) for case in cases)
    text = '{\n "comment": ' + json.dumps(comment) + ',\n "cases": [\n' + lines + "\n ]\n}\n"
    path = HERE / "early_stopping.json"
    path.write_text(text)
    json.loads(text)
    print(f"{path.name:<28} {path.stat().st_size:>7} bytes  {len(KERAS)} cases of Keras, {len(OURS)} of our own rule")


def batch_norm():
    """BatchNormalization on three batches, then in inference mode: Keras' float32 answers and the float64 truth.

    Keras' torch back end computes BN in float32 even in a float64 layer, and the variance as E[x^2] - E[x]^2. So the
    data lie around zero, where that loses little, and the truth is computed here in float64 in two passes.
    """
    tensors, worst = {}, 0.0
    for rows in (2, 3, 50):
        rng = np.random.default_rng(6000 + rows)
        features = 7
        scale = np.array([1.0, 0.1, 30.0, 2.0, 0.5, 1.0, 5.0])
        x = np.float32(scale * (rng.standard_normal((3, rows, features)) + rng.uniform(-0.5, 0.5, features)))
        gamma, beta = np.float32(rng.uniform(-1.5, 2.5, features)), np.float32(rng.standard_normal(features))
        tensors.update({f"n{rows}.x": x, f"n{rows}.gamma": gamma, f"n{rows}.beta": beta})
        for label, momentum, epsilon in (("m0.99", 0.99, 1e-3), ("m0.9", 0.9, 1e-5)):
            layer = keras.layers.BatchNormalization(momentum=momentum, epsilon=epsilon)
            layer.build(x[0].shape)
            layer.gamma.assign(gamma)
            layer.beta.assign(beta)
            outputs, mean, var, mean64, var64 = [], [], [], [], []
            running_mean, running_var = np.zeros(features), np.ones(features)
            for batch in x:
                outputs.append(to_numpy(layer(batch, training=True)))
                mean.append(to_numpy(layer.moving_mean).copy())
                var.append(to_numpy(layer.moving_variance).copy())
                wide = batch.astype(np.float64)
                running_mean = momentum * running_mean + (1.0 - momentum) * wide.mean(axis=0)
                running_var = momentum * running_var + (1.0 - momentum) * wide.var(axis=0)
                mean64.append(running_mean)
                var64.append(running_var)
            first = x[0].astype(np.float64)
            made = {
                "y": (outputs[0], (first - first.mean(axis=0)) / np.sqrt(first.var(axis=0) + epsilon) * gamma + beta),
                "inference": (
                    to_numpy(layer(x[0], training=False)),
                    (first - running_mean) / np.sqrt(running_var + epsilon) * gamma + beta,
                ),
                "moving_mean": (np.stack(mean), np.stack(mean64)),
                "moving_variance": (np.stack(var), np.stack(var64)),
            }
            for name, (keras_value, truth) in made.items():
                tensors[f"n{rows}.{label}.{name}"] = keras_value.astype(np.float32)
                tensors[f"n{rows}.{label}.{name}64"] = truth
                worst = max(worst, np.abs(keras_value - truth).max() / np.abs(truth).max())
    assert worst < 1e-5, worst
    path = HERE / "bn_keras.safetensors"
    about = {
        "keras": keras.__version__,
        "m0.99": {"momentum": 0.99, "epsilon": 1e-3},
        "m0.9": {"momentum": 0.9, "epsilon": 1e-5},
        "float32_error": float(f"{worst:.0e}"),
    }
    save_file(tensors, path, metadata={"golden": json.dumps(about, sort_keys=True)})
    print(f"{path.name:<28} {path.stat().st_size:>7} bytes  {len(tensors)} tensors, Keras within {worst:.0e} of the truth")


if __name__ == "__main__":
    early_stopping()
    batch_norm()
