#!/usr/bin/env python3
"""Writes objectives.safetensors and initialisers.json: losses, weights, label smoothing, mixup; laws of initial weights.

    pip install keras torch numpy safetensors
    python tests/golden/make_objectives.py

Made with Keras 3.15.1 on its torch back end, torch 2.15.0 and numpy 2.4.6. README.md documents the files.

Every row of the table below is a loss as evenkeel writes it and the call of PyTorch or Keras that it stands for. Outputs,
targets and weights are float32; loss and gradient are computed by the library in float64 from them, the gradient by
torch's automatic differentiation, also of Keras' losses.
"""

import json
import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"
import keras  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402
from torch.nn import functional as F  # noqa: E402

HERE = Path(__file__).resolve().parent
KL = keras.losses
SHAPES = {"one": (7, 1), "two": (6, 2), "c17": (5, 17), "c33": (4, 33)}


def pinball(tau):
    return lambda z, t: torch.maximum(tau * (t - z), (tau - 1) * (t - z)).mean()


def sigmoid_focal(alpha, gamma):
    """torchvision.ops.sigmoid_focal_loss, reduction "mean"."""

    def loss(z, t):
        p = torch.sigmoid(z)
        ce = F.binary_cross_entropy_with_logits(z, t, reduction="none")
        p_t = p * t + (1 - p) * (1 - t)
        value = ce * (1 - p_t) ** gamma
        if alpha >= 0:
            value = (alpha * t + (1 - alpha) * (1 - t)) * value
        return value.mean()

    return loss


def of_keras(loss, before=lambda z: z):
    return lambda z, t: loss(t, before(z))


def one_hot(loss, before=lambda z: z):
    return lambda z, y: loss(F.one_hot(y, z.shape[1]).double(), before(z))


def softmax(z):
    return torch.softmax(z, dim=1)


# (evenkeel's text, library and call, kind of targets, the call)
ROWS = [
    ("mae", "torch L1Loss", "values", F.l1_loss),
    ("mae", "keras MeanAbsoluteError", "values", of_keras(KL.MeanAbsoluteError())),
    ("huber(1)", "torch HuberLoss", "values", F.huber_loss),
    ("huber(0.3)", "torch HuberLoss(delta=0.3)", "values", lambda z, t: F.huber_loss(z, t, delta=np.float32(0.3).item())),
    ("huber(1.5)", "keras Huber(delta=1.5)", "values", of_keras(KL.Huber(delta=1.5))),
    ("smooth_l1(1)", "torch SmoothL1Loss", "values", F.smooth_l1_loss),
    ("smooth_l1(0.5)", "torch SmoothL1Loss(beta=0.5)", "values", lambda z, t: F.smooth_l1_loss(z, t, beta=0.5)),
    ("log_cosh", "keras LogCosh", "values", of_keras(KL.LogCosh())),
    ("quantile(0.5)", "formula", "values", pinball(0.5)),
    ("quantile(0.9)", "formula", "values", pinball(np.float32(0.9).item())),
    ("mse", "keras MeanSquaredError", "values", of_keras(KL.MeanSquaredError())),
    ("poisson", "torch PoissonNLLLoss", "counts", lambda z, t: F.poisson_nll_loss(z, t)),
    ("poisson_rate(0.00000001)", "torch PoissonNLLLoss(log_input=False)", "rates", lambda z, t: F.poisson_nll_loss(z, t, log_input=False, eps=1e-8)),
    ("poisson_rate(0.0000001)", "keras Poisson", "rates", of_keras(KL.Poisson())),
    ("kl_div", "torch KLDivLoss(batchmean)", "shares", lambda z, t: F.kl_div(torch.log_softmax(z, 1), t, reduction="batchmean")),
    ("kl_div", "keras KLDivergence", "shares", of_keras(KL.KLDivergence(), softmax)),
    ("soft_cross_entropy(0)", "torch CrossEntropyLoss on probabilities", "shares", lambda z, t: F.cross_entropy(z, t)),
    ("soft_cross_entropy(0.1)", "torch CrossEntropyLoss(label_smoothing=0.1) on probabilities", "shares",
     lambda z, t: F.cross_entropy(z, t, label_smoothing=np.float32(0.1).item())),
    ("soft_cross_entropy(0.2)", "keras CategoricalCrossentropy(label_smoothing=0.2)", "shares",
     of_keras(KL.CategoricalCrossentropy(from_logits=True, label_smoothing=np.float32(0.2).item()))),
    ("cross_entropy", "keras SparseCategoricalCrossentropy", "classes", of_keras(KL.SparseCategoricalCrossentropy(from_logits=True))),
    ("cross_entropy(0.1)", "torch CrossEntropyLoss(label_smoothing=0.1)", "classes",
     lambda z, y: F.cross_entropy(z, y, label_smoothing=np.float32(0.1).item())),
    ("cross_entropy(0.3)", "keras CategoricalCrossentropy(label_smoothing=0.3)", "classes",
     one_hot(KL.CategoricalCrossentropy(from_logits=True, label_smoothing=np.float32(0.3).item()))),
    ("bce", "keras BinaryCrossentropy", "bits", of_keras(KL.BinaryCrossentropy(from_logits=True))),
    ("bce(0.1)", "keras BinaryCrossentropy(label_smoothing=0.1)", "bits",
     of_keras(KL.BinaryCrossentropy(from_logits=True, label_smoothing=np.float32(0.1).item()))),
    ("focal(2, 0.25)", "keras CategoricalFocalCrossentropy", "classes", one_hot(KL.CategoricalFocalCrossentropy(), softmax)),
    ("focal(0.5, 1)", "keras CategoricalFocalCrossentropy(alpha=1, gamma=0.5)", "classes",
     one_hot(KL.CategoricalFocalCrossentropy(alpha=1.0, gamma=0.5), softmax)),
    ("binary_focal(2)", "keras BinaryFocalCrossentropy", "bits", of_keras(KL.BinaryFocalCrossentropy(), torch.sigmoid)),
    ("binary_focal(3, 0.75)", "keras BinaryFocalCrossentropy(apply_class_balancing, alpha=0.75, gamma=3)", "bits",
     of_keras(KL.BinaryFocalCrossentropy(apply_class_balancing=True, alpha=0.75, gamma=3.0), torch.sigmoid)),
    ("binary_focal(2, 0.25)", "torchvision sigmoid_focal_loss", "probabilities", sigmoid_focal(0.25, 2)),
    ("binary_focal(0.5)", "torchvision sigmoid_focal_loss(alpha=-1, gamma=0.5)", "probabilities", sigmoid_focal(-1, 0.5)),
    ("hinge", "keras Hinge", "signs", of_keras(KL.Hinge())),
    ("hinge", "keras Hinge on 0 and 1", "bits", of_keras(KL.Hinge())),
    ("squared_hinge", "keras SquaredHinge", "signs", of_keras(KL.SquaredHinge())),
    ("categorical_hinge", "keras CategoricalHinge", "classes", one_hot(KL.CategoricalHinge())),
    ("multi_margin(1)", "torch MultiMarginLoss", "classes", lambda z, y: F.multi_margin_loss(z, y)),
    ("multi_margin(0.25)", "torch MultiMarginLoss(margin=0.25)", "classes", lambda z, y: F.multi_margin_loss(z, y, margin=0.25)),
    ("squared_multi_margin(1)", "torch MultiMarginLoss(p=2)", "classes", lambda z, y: F.multi_margin_loss(z, y, p=2)),
    ("cosine_similarity", "keras CosineSimilarity", "directions", of_keras(KL.CosineSimilarity())),
    ("cosine_embedding", "torch CosineEmbeddingLoss, target 1", "directions",
     lambda z, t: F.cosine_embedding_loss(z, t, torch.ones(len(z), dtype=z.dtype))),
]


# Rows that came later, with draws of their own.
LATER = [
    ("poisson_full", "torch PoissonNLLLoss(full=True)", "counts", lambda z, t: F.poisson_nll_loss(z, t, full=True)),
    ("poisson_rate_full(0.00000001)", "torch PoissonNLLLoss(log_input=False, full=True)", "rates",
     lambda z, t: F.poisson_nll_loss(z, t, log_input=False, full=True, eps=1e-8)),
    ("mape", "keras MeanAbsolutePercentageError", "values", of_keras(KL.MeanAbsolutePercentageError())),
    ("msle", "keras MeanSquaredLogarithmicError", "rates", of_keras(KL.MeanSquaredLogarithmicError())),
    ("msle", "keras MeanSquaredLogarithmicError of outputs below 0", "counts", of_keras(KL.MeanSquaredLogarithmicError())),
    ("soft_margin", "torch SoftMarginLoss", "signs", F.soft_margin_loss),
]


def keras_weighted(loss, mean="rows", pick=lambda t, z: t):
    reduction = {"rows": "sum_over_batch_size", "weights": "mean_with_sample_weight"}[mean]
    loss = loss(reduction=reduction)
    return lambda z, t, w: loss(t, z, sample_weight=w)


# Weighted: (text, library and call, kind of targets, what is divided by, the call with a weight per row)
WEIGHTED = [
    ("cross_entropy", "torch CrossEntropyLoss(weight)", "classes", "weights", None),
    ("cross_entropy", "keras class_weight", "classes", "rows",
     keras_weighted(lambda reduction: KL.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction))),
    ("mse", "keras sample_weight", "values", "rows", keras_weighted(lambda reduction: KL.MeanSquaredError(reduction=reduction))),
    ("huber(1)", "keras sample_weight, mean_with_sample_weight", "values", "weights",
     keras_weighted(lambda reduction: KL.Huber(reduction=reduction), "weights")),
    ("bce", "torch BCEWithLogitsLoss(weight)", "bits", "rows",
     lambda z, t, w: F.binary_cross_entropy_with_logits(z, t, weight=w[:, None])),
    ("kl_div", "keras sample_weight", "shares", "rows",
     lambda z, t, w: KL.KLDivergence()(t, softmax(z), sample_weight=w)),
    ("cosine_similarity", "keras sample_weight", "directions", "rows", keras_weighted(lambda reduction: KL.CosineSimilarity(reduction=reduction))),
    ("hinge", "keras sample_weight", "signs", "rows", keras_weighted(lambda reduction: KL.Hinge(reduction=reduction))),
]

LATER_WEIGHTED = [
    ("mape", "keras sample_weight", "values", "rows",
     keras_weighted(lambda reduction: KL.MeanAbsolutePercentageError(reduction=reduction))),
    ("msle", "keras sample_weight, mean_with_sample_weight", "rates", "weights",
     keras_weighted(lambda reduction: KL.MeanSquaredLogarithmicError(reduction=reduction), "weights")),
    ("soft_margin", "torch SoftMarginLoss, reduction none, times weights", "signs", "rows",
     lambda z, t, w: (F.soft_margin_loss(z, t, reduction="none") * w[:, None]).mean()),
]

# Mixed classes: share of the first, and the plain loss of the two-target criterion of the authors' code.
MIXED = [
    ("cross_entropy", "torch CrossEntropyLoss", 0.7, F.cross_entropy),
    ("cross_entropy(0.1)", "torch CrossEntropyLoss(label_smoothing=0.1)", 0.35,
     lambda z, y: F.cross_entropy(z, y, label_smoothing=np.float32(0.1).item())),
    ("multi_margin(1)", "torch MultiMarginLoss", 0.9, F.multi_margin_loss),
    ("focal(2, 0.25)", "keras CategoricalFocalCrossentropy", 0.6, one_hot(KL.CategoricalFocalCrossentropy(), softmax)),
]


def draw(rng, kind, rows, cols):
    z = rng.normal(size=(rows, cols)) * 1.5
    if kind == "rates":
        z = np.abs(z) + 0.05
    t = {
        "values": lambda: rng.normal(size=(rows, cols)) * 1.5,
        "directions": lambda: rng.normal(size=(rows, cols)) * 1.5,
        "counts": lambda: rng.poisson(2.0, size=(rows, cols)),
        "rates": lambda: rng.poisson(2.0, size=(rows, cols)),
        "shares": lambda: rng.dirichlet(np.ones(cols), size=rows),
        "bits": lambda: rng.integers(0, 2, size=(rows, cols)),
        "signs": lambda: 2 * rng.integers(0, 2, size=(rows, cols)) - 1,
        "probabilities": lambda: rng.random((rows, cols)),
        "classes": lambda: rng.integers(0, cols, size=rows),
    }[kind]()
    z = z.astype(np.float32)
    return z, t.astype(np.int64) if kind == "classes" else t.astype(np.float32)


def differentiate(call, z, *rest):
    z = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    rest = [torch.tensor(x if x.dtype == np.int64 else x.astype(np.float64)) for x in rest]
    loss = call(z, *rest)
    loss.backward()
    return np.array([loss.item()]), z.grad.numpy()


def make_losses():
    rng = np.random.default_rng(5)
    tensors, rows = {}, []

    def shapes(kind):
        # One class, one probability and one direction say nothing.
        return [name for name in SHAPES if not (kind in ("classes", "shares", "directions") and name == "one")]

    def store(key, shape, call, z, *rest, **more):
        loss, gradient = differentiate(call, z, *rest)
        for name, value in {"z": z, "t": rest[0], "loss64": loss, "grad64": gradient, **more}.items():
            tensors[f"{key}.{shape}.{name}"] = np.ascontiguousarray(value)

    for number, (text, library, kind, call) in enumerate(ROWS):
        key = f"r{number}"
        for shape in shapes(kind):
            store(key, shape, call, *draw(rng, kind, *SHAPES[shape]))
        rows.append({"key": key, "loss": text, "library": library, "shapes": shapes(kind)})
    for number, (text, library, kind, mean, call) in enumerate(WEIGHTED):
        key = f"w{number}"
        for shape in shapes(kind):
            z, t = draw(rng, kind, *SHAPES[shape])
            if library.startswith("torch CrossEntropy"):
                classes = rng.random(z.shape[1]).astype(np.float32) + np.float32(0.1)
                weights = classes[t]
                store(key, shape, lambda z, t, w: F.cross_entropy(z, t, weight=w), z, t, classes, w=weights)
            else:
                weights = (rng.random(len(z)) * 3).astype(np.float32)
                store(key, shape, call, z, t, weights, w=weights)
        rows.append({"key": key, "loss": text, "library": library, "shapes": shapes(kind), "mean": mean})
    for number, (text, library, share, call) in enumerate(MIXED):
        key, share = f"m{number}", np.float32(share).item()
        for shape in shapes("classes"):
            z, a = draw(rng, "classes", *SHAPES[shape])
            b = rng.permutation(a)
            store(key, shape, lambda z, a, b: share * call(z, a) + (1 - share) * call(z, b), z, a, b, others=b)
        rows.append({"key": key, "loss": text, "library": library, "shapes": shapes("classes"), "share": share})
    rng = np.random.default_rng(6)
    for number, (text, library, kind, call) in enumerate(LATER):
        key = f"l{number}"
        for shape in shapes(kind):
            store(key, shape, call, *draw(rng, kind, *SHAPES[shape]))
        rows.append({"key": key, "loss": text, "library": library, "shapes": shapes(kind)})
    for number, (text, library, kind, mean, call) in enumerate(LATER_WEIGHTED):
        key = f"lw{number}"
        for shape in shapes(kind):
            z, t = draw(rng, kind, *SHAPES[shape])
            weights = (rng.random(len(z)) * 3).astype(np.float32)
            store(key, shape, call, z, t, weights, w=weights)
        rows.append({"key": key, "loss": text, "library": library, "shapes": shapes(kind), "mean": mean})
    # Classes' weights on each smoothed part: probabilities that have them, in rows with the weights of their classes.
    smoothing = np.float32(0.1).item()
    for shape in shapes("classes"):
        z, y = draw(rng, "classes", *SHAPES[shape])
        classes = rng.random(z.shape[1]).astype(np.float32) + np.float32(0.1)
        targets = smoothing * classes / (len(classes) * classes[y][:, None])
        targets[np.arange(len(y)), y] += 1 - smoothing
        store("cs", shape, lambda z, y, w: F.cross_entropy(z, y, weight=w, label_smoothing=smoothing), z, y, classes,
              t=targets.astype(np.float32), w=classes[y])
    rows.append({"key": "cs", "loss": "soft_cross_entropy(0)", "library": "torch CrossEntropyLoss(weight, label_smoothing)",
                 "shapes": shapes("classes"), "mean": "weights"})
    about = {"rows": rows, "torch": torch.__version__.split("+")[0], "keras": keras.__version__}
    save_file(tensors, HERE / "objectives.safetensors", metadata={"golden": json.dumps(about, sort_keys=True)})
    print("objectives.safetensors", len(rows), "rows", len(tensors), "tensors")


# ---------------------------------------------------------------------------------------------------- initialisers


def torch_law(name, shape, **options):
    """What a function of torch.nn.init asks the generator for, seen by replacing the generator."""
    seen = {}

    class Spy(torch.Tensor):
        def uniform_(self, a=0, b=1, generator=None):
            seen.update(law="uniform", low=float(a), high=float(b))
            return self

        def normal_(self, mean=0, std=1, generator=None):
            seen.update(law="normal", mean=float(mean), std=float(std))
            return self

    getattr(torch.nn.init, name)(torch.empty(shape).as_subclass(Spy), **options)
    assert seen, name
    return seen


def keras_law(initializer, shape):
    """The same of Keras' random module."""
    from keras.src.initializers import random_initializers as module

    seen, real = {}, module.random

    class Spy:
        def uniform(self, shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
            seen.update(law="uniform", low=float(minval), high=float(maxval))

        def normal(self, shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
            seen.update(law="normal", mean=float(mean), std=float(stddev))

        def truncated_normal(self, shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
            low, high = float(mean - 2 * stddev), float(mean + 2 * stddev)
            seen.update(law="truncated", mean=float(mean), std=float(stddev), low=low, high=high)

        def __getattr__(self, name):
            return getattr(real, name)

    module.random = Spy()
    try:
        initializer(shape)
    finally:
        module.random = real
    assert seen
    return seen


def make_initialisers():
    init, cases = keras.initializers, []
    shapes = [(3, 5), (64, 10), (784, 512), (1, 1), (17, 300)]

    def add(text, library, inputs, outputs, law):
        cases.append({"init": text, "library": library, "inputs": inputs, "outputs": outputs, **law})

    keras_rows = [
        ("random_normal", init.RandomNormal()), ("random_normal(0.5, 0.1)", init.RandomNormal(0.5, 0.1)),
        ("random_uniform", init.RandomUniform()), ("random_uniform(-1, 2)", init.RandomUniform(-1, 2)),
        ("truncated_normal", init.TruncatedNormal()), ("truncated_normal(0.25, 0.5)", init.TruncatedNormal(0.25, 0.5)),
        ("variance_scaling", init.VarianceScaling()),
        ("variance_scaling(0.1, fan_out, untruncated_normal)", init.VarianceScaling(0.1, "fan_out", "untruncated_normal")),
        ("variance_scaling(3, fan_avg, uniform)", init.VarianceScaling(3.0, "fan_avg", "uniform")),
        ("glorot_uniform", init.GlorotUniform()), ("glorot_normal", init.GlorotNormal()),
        ("he_uniform", init.HeUniform()), ("he_normal", init.HeNormal()),
        ("lecun_uniform", init.LecunUniform()), ("lecun_normal", init.LecunNormal()),
    ]
    torch_rows = [
        ("uniform", "uniform_", {}), ("uniform(-2, 3)", "uniform_", {"a": -2.0, "b": 3.0}),
        ("normal", "normal_", {}), ("normal(1, 0.5)", "normal_", {"mean": 1.0, "std": 0.5}),
        ("xavier_uniform", "xavier_uniform_", {}), ("xavier_uniform(2)", "xavier_uniform_", {"gain": 2.0}),
        ("xavier_normal", "xavier_normal_", {}), ("xavier_normal(0.5)", "xavier_normal_", {"gain": 0.5}),
        ("kaiming_uniform", "kaiming_uniform_", {}), ("kaiming_normal", "kaiming_normal_", {}),
        ("torch_linear", "kaiming_uniform_", {"a": 5 ** 0.5}),
    ]
    for kind in ("uniform", "normal"):
        for mode in ("fan_in", "fan_out"):
            for of in ("linear", "sigmoid", "tanh", "relu", "selu"):
                torch_rows.append((f"kaiming_{kind}({mode}, {of})", f"kaiming_{kind}_", {"mode": mode, "nonlinearity": of}))
            torch_rows.append((f"kaiming_{kind}({mode}, leaky_relu, 0.25)", f"kaiming_{kind}_", {"mode": mode, "a": 0.25}))
    for inputs, outputs in shapes:
        for text, initializer in keras_rows:
            add(text, "keras", inputs, outputs, keras_law(initializer, (inputs, outputs)))
        for text, name, options in torch_rows:
            add(text, "torch", inputs, outputs, torch_law(name, (outputs, inputs), **options))
    gains = [{"of": of, "a": a, "gain": torch.nn.init.calculate_gain(of, a)}
             for of, a in [("linear", None), ("sigmoid", None), ("tanh", None), ("relu", None), ("selu", None),
                           ("leaky_relu", 0.0), ("leaky_relu", 0.01), ("leaky_relu", 0.25)]]
    # How many zeros a sparse matrix has in each column.
    sparse = [{"sparsity": s, "inputs": i, "outputs": o,
               "zeros": int((torch.nn.init.sparse_(torch.empty(o, i), s, std=1.0)[:, 0] == 0).sum())}
              for s in (0.0, 0.125, 0.5, 0.875, 1.0) for i, o in shapes]
    torch.manual_seed(1)
    cut = [{"arguments": arguments, "mean": float(w.mean()), "std": float(w.std())}
           for arguments in ([0.0, 1.0, -2.0, 2.0], [0.5, 0.25, 0.0, 0.75], [0.0, 1.0, 1.0, 3.0], [0.0, 0.1, -2.0, 2.0])
           for w in [torch.nn.init.trunc_normal_(torch.empty(2000, 2000, dtype=torch.float64), *arguments)]]
    value = {"laws": cases, "gains": gains, "sparse": sparse, "trunc_normal": cut,
             "torch": torch.__version__.split("+")[0], "keras": keras.__version__}
    (HERE / "initialisers.json").write_text(json.dumps(value, indent=None).replace("}, {", "},\n {") + "\n")
    print("initialisers.json", len(cases), "laws")


torch.set_num_threads(1)
keras.config.set_floatx("float64")
make_losses()
keras.config.set_floatx("float32")
make_initialisers()
