#!/usr/bin/env python3
"""Writes flow.json: what stands around a network, as PyTorch, Keras and scikit-learn have it.

    pip install keras torch numpy scikit-learn mpmath
    python tests/golden/make_flow.py

Dropout and noise on inputs, initial weights that are no draws, clipping of values, standardisation, weights of classes, folds,
categories, missing cells, grids, the rate finder and the order of hooks. Made with torch 2.15.0, Keras 3.15.1 on its torch
back end and scikit-learn 1.9.1. README.md documents the file.
"""

import json
import os
import warnings
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"
import keras  # noqa: E402
import numpy as np  # noqa: E402
import sklearn  # noqa: E402
import torch  # noqa: E402
from sklearn import model_selection as ms  # noqa: E402
from sklearn.impute import SimpleImputer  # noqa: E402
from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: E402
from sklearn.utils.class_weight import compute_class_weight  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from words import normal, word  # noqa: E402

torch.set_num_threads(1)
warnings.simplefilter("ignore")
torch.manual_seed(20261123)
rng = np.random.default_rng(20261123)
SEED, STEP, JITTER = 0x123456789, 5, 33


def f32(values):
    """float32 values as Python floats, which JSON keeps exactly."""
    return np.asarray(values, dtype=np.float32).astype(float).tolist()


def dropout():
    """PyTorch's and Keras' answers for each element kept, and dropped: the draws are their own."""
    x, cases = torch.tensor(f32(rng.normal(size=100)), dtype=torch.float64), []
    for rate in f32([0.1, 0.5, 0.8]):
        layer = keras.layers.Dropout(rate, dtype="float64")
        for library, call in [("torch", lambda: F.dropout(x, rate)), ("keras", lambda: layer(x, training=True))]:
            kept, seen = torch.full_like(x, float("nan")), torch.zeros_like(x, dtype=torch.bool)
            while torch.isnan(kept).any() or not seen.all():
                y = call().detach()
                kept, seen = torch.where(y != 0, y, kept), seen | (y == 0)
            cases.append({"library": library, "rate": rate, "kept": kept.tolist()})
    return {"x": x.tolist(), "cases": cases}


def jitter():
    """Keras' GaussianNoise before the first layer, its draws replaced by evenkeel's words."""
    x, cases = f32(rng.normal(size=200) * 3 + 1), []
    z = torch.tensor([normal(word(SEED, JITTER, 0, STEP, i)) for i in range(len(x))], dtype=torch.float64)
    random = keras.src.backend.random
    real = random.normal
    random.normal = lambda shape, mean=0.0, stddev=1.0, dtype=None, seed=None: mean + stddev * z.reshape(tuple(shape))
    for stddev in f32([0.05, 0.3, 1.0]):
        y = keras.layers.GaussianNoise(stddev, dtype="float64")(torch.tensor(x, dtype=torch.float64), training=True)
        cases.append({"stddev": stddev, "y": y.tolist()})
    random.normal = real
    return {"x": x, "cases": cases}


def matrices():
    """Initial weights [outputs, inputs] that are no draws; of orthogonal ones, the products of rows or columns."""
    cases, init = [], keras.initializers

    def add(text, library, w):
        cases.append({"init": text, "library": library, "outputs": w.shape[0], "inputs": w.shape[1], "w": w.tolist()})

    def of_keras(initializer, inputs, outputs):
        return torch.as_tensor(keras.ops.convert_to_numpy(initializer((inputs, outputs)))).T.double()

    def gram(w):
        return w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w

    for outputs, inputs in [(3, 5), (17, 4), (8, 8)]:
        empty = lambda: torch.empty(outputs, inputs, dtype=torch.float64)  # noqa: B023, E731
        add("zeros", "torch", torch.nn.init.zeros_(empty()))
        add("ones", "torch", torch.nn.init.ones_(empty()))
        add("constant(-0.75)", "torch", torch.nn.init.constant_(empty(), -0.75))
        add("eye", "torch", torch.nn.init.eye_(empty()))
        add("zeros", "keras", of_keras(init.Zeros(), inputs, outputs))
        add("ones", "keras", of_keras(init.Ones(), inputs, outputs))
        add("constant(-0.75)", "keras", of_keras(init.Constant(-0.75), inputs, outputs))
        add("identity(2)", "keras", of_keras(init.Identity(2.0), inputs, outputs))
        for gain in (1.0, 1.5):
            for library, w in [("torch", torch.nn.init.orthogonal_(empty(), gain)),
                               ("keras", of_keras(init.Orthogonal(gain), inputs, outputs))]:
                cases.append({"init": f"orthogonal({gain:g})", "library": library, "outputs": outputs, "inputs": inputs,
                              "gram": gram(w).tolist()})
    return cases


def clipped_values():
    """Three steps of SGD on one dense layer, gradients cut by clip_grad_value_, and by Keras' clipvalue."""
    x, t = f32(rng.normal(size=(8, 5)) * 2), f32(rng.normal(size=(8, 3)) * 2)
    start, limit, lr = f32(rng.normal(size=(3, 5))), f32(0.15), f32(0.25)
    after = {}
    for library in ("torch", "keras"):
        w = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        own = keras.Variable(np.array(start), dtype="float64")
        sgd = keras.optimizers.SGD(lr, clipvalue=limit)
        sgd.build([own])
        for _ in range(3):
            w.grad = None
            loss = F.mse_loss(torch.tensor(x, dtype=torch.float64) @ w.T, torch.tensor(t, dtype=torch.float64))
            loss.backward()
            if library == "torch":
                torch.nn.utils.clip_grad_value_([w], limit)
                w.data -= lr * w.grad
            else:
                sgd.apply([w.grad], [own])
                w.data = own.value.detach().clone()
        after[library] = w.tolist()
    return {"x": x, "t": t, "start": start, "limit": limit, "lr": lr, "after": after}


def standardised():
    cases = []
    for rows, columns in [(3, 2), (100, 5)]:
        x = np.array(f32(rng.normal(size=(rows, columns)) * [1, 3, 0.1, 10, 5][:columns] + [5, -1, 0, 100, 3][:columns]))
        x[:, 1] = x[0, 1] if rows == 3 else x[:, 1]
        layer = keras.layers.Normalization(axis=-1)
        layer.adapt(x)
        cases.append({"columns": columns, "x": x.ravel().tolist(), "sklearn": StandardScaler().fit_transform(x).ravel().tolist(),
                      "mean": x.mean(axis=0).tolist(), "keras_mean": np.ravel(keras.ops.convert_to_numpy(layer.mean)).tolist()})
    return cases


def class_weights():
    cases = []
    for classes, rows in [(2, 10), (3, 31), (10, 500)]:
        labels = rng.integers(0, classes, rows)
        labels[:classes] = np.arange(classes)
        weights = compute_class_weight("balanced", classes=np.arange(classes), y=labels)
        cases.append({"labels": labels.tolist(), "weights": weights.tolist()})
    return cases


def folds():
    """How many rows, and how many of each class, each fold holds out; the rows of each group."""
    cases = []
    for rows, classes, count in [(10, 2, 5), (31, 3, 4), (200, 4, 7), (53, 5, 2)]:
        labels = rng.integers(0, classes, rows)
        labels[:classes] = np.arange(classes)
        split = ms.StratifiedKFold(count, shuffle=True, random_state=1).split(np.zeros(rows), labels)
        held = [np.bincount(labels[test], minlength=classes).tolist() for _, test in split]
        plain = [len(test) for _, test in ms.KFold(count, shuffle=True, random_state=1).split(np.zeros(rows))]
        cases.append({"labels": labels.tolist(), "stratified": held, "plain": plain})
    groups = rng.integers(0, 6, 40) * 3
    left = [test.tolist() for _, test in ms.LeaveOneGroupOut().split(np.zeros(40), groups=groups)]
    return {"cases": cases, "groups": groups.tolist(), "left_out": left}


def tables():
    """A CSV file with words and holes, and its inputs as scikit-learn makes them."""
    words = rng.choice(["oslo", "bergen", "narvik"], 24)
    numbers = np.array(f32(np.round(rng.normal(size=(24, 2)) * 10, 2)))
    holes = rng.random((24, 2)) < 0.2
    holes[0] = False
    numbers[holes] = np.nan
    lines = ["site,weight,age,label"]
    for at in range(24):
        cells = ["" if np.isnan(value) else repr(float(np.float32(value))) for value in numbers[at]]
        lines.append(f"{words[at]},{cells[0]},{cells[1]},{at % 2}")
    hot = OneHotEncoder(sparse_output=False).fit_transform(words[:, None])
    cases = {}
    for policy, imputer in [("mean", SimpleImputer()), ("median", SimpleImputer(strategy="median")),
                            ("-1.5", SimpleImputer(strategy="constant", fill_value=-1.5))]:
        cases[policy] = np.hstack([hot, imputer.fit_transform(numbers)]).ravel().tolist()
    keras_hot = keras.layers.CategoryEncoding(num_tokens=3, output_mode="one_hot")
    order = {word: at for at, word in enumerate(sorted(set(words.tolist())))}
    assert (keras.ops.convert_to_numpy(keras_hot(np.array([order[word] for word in words]))) == hot).all()
    kept = ~holes.any(axis=1)
    cases["drop"] = np.hstack([hot, np.nan_to_num(numbers)])[kept].ravel().tolist()
    return {"csv": "\n".join(lines) + "\n", "inputs": cases}


def grid():
    """The combinations of scikit-learn's ParameterGrid, in its order: keys of the alphabet, the last one fastest."""
    options = {"lr": [0.01, 0.001], "batch": [16, 32, 64], "optimizer": ["sgd", "adam"]}
    return {"options": options, "runs": list(ms.ParameterGrid(options))}


def finder():
    """fastai's lr_find: SchedExp for the rates, and its smoothed loss, torch.lerp divided by what is missing of 1."""
    low, high, steps, beta = 1e-7, 10.0, 100, 0.98
    rates = np.geomspace(low, high, steps)
    losses = [2.5 + float(v) for v in rng.normal(size=steps) * 0.3 - np.linspace(0, 1.5, steps)]
    mean, smoothed = torch.tensor(0.0, dtype=torch.float64), []
    for count, loss in enumerate(losses, 1):
        mean = torch.lerp(torch.tensor(loss, dtype=torch.float64), mean, beta)
        smoothed.append((mean / (1 - beta**count)).item())
    return {"rates": rates.tolist(), "losses": losses, "smoothed": smoothed}


def hooks():
    """What a Callback of Keras hears in two epochs of three batches with validation."""
    heard = []

    class Diary(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            heard.append(f"epoch {epoch} begins")

        def on_train_batch_begin(self, batch, logs=None):
            heard.append(f"batch {batch} begins")

        def on_train_batch_end(self, batch, logs=None):
            heard.append(f"batch {batch} ends")

        def on_epoch_end(self, epoch, logs=None):
            heard.append(f"epoch {epoch} ends, {'with' if 'val_loss' in logs else 'without'} validation")

    x, y = rng.normal(size=(40, 4)).astype("float32"), rng.normal(size=(40, 1)).astype("float32")
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(x, y, batch_size=16, epochs=2, validation_data=(x, y), callbacks=[Diary()], verbose=0)
    return heard


value = {"dropout": dropout(), "jitter": jitter(), "matrices": matrices(), "clipped_values": clipped_values(),
         "standardised": standardised(), "class_weights": class_weights(), "folds": folds(), "tables": tables(), "grid": grid(),
         "finder": finder(), "hooks": hooks(),
         "versions": [torch.__version__.split("+")[0], keras.__version__, sklearn.__version__]}
path = Path(__file__).resolve().parent / "flow.json"
path.write_text(json.dumps(value, allow_nan=False).replace("}, {", "},\n {") + "\n")
print(path.name, path.stat().st_size, "bytes")
