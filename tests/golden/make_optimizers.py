#!/usr/bin/env python3
"""Writes the golden files of optimisers, penalties, constraints and schedules: optimizers.safetensors, rules.safetensors and
rates.json.

    pip install torch keras numpy safetensors schedulefree
    python tests/golden/make_optimizers.py

Made with torch 2.15.0, Keras 3.15.1 (on torch) and schedulefree 1.4.1. Everything is computed in float64 from float32 starts,
gradients and inputs; texts are evenkeel's own, next to what they stand for. README.md documents the files.
"""

import json
import math
import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"
import keras  # noqa: E402
import numpy as np  # noqa: E402
import schedulefree  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch import nn  # noqa: E402

HERE = Path(__file__).resolve().parent
F64 = torch.float64
torch.set_num_threads(1)
to_numpy = keras.ops.convert_to_numpy


def write(name, tensors, about):
    tensors = {k: torch.as_tensor(np.asarray(v)).contiguous() for k, v in tensors.items()}
    versions = {"torch": torch.__version__.split("+")[0], "keras": keras.__version__}
    save_file(tensors, HERE / name, metadata={"golden": json.dumps({**about, **versions}, sort_keys=True)})
    print(f"{name}: {len(tensors)} tensors")


# ------------------------------------------------------------------------------------------ optimisers, step by step

STEPS, LENGTH = 12, 37


def torch_steps(make, start, gradients, rates):
    p = nn.Parameter(torch.from_numpy(start).to(F64))
    optimiser, after = make([p]), []
    for g, lr in zip(gradients, rates):
        optimiser.param_groups[0]["lr"] = lr
        p.grad = torch.from_numpy(g).to(F64)
        optimiser.step()
        after.append(p.detach().clone().numpy())
    return np.stack(after)


def keras_steps(make, start, gradients, rates):
    variable = keras.Variable(start.astype(np.float64), dtype="float64")
    optimiser, after = make(), []
    for g, lr in zip(gradients, rates):
        optimiser.learning_rate = lr
        optimiser.apply([torch.from_numpy(g).to(F64)], [variable])
        after.append(to_numpy(variable).copy())
    return np.stack(after)


def lamb(params, moments, gradients, t, lr, betas, eps, decay):
    """Algorithm 2 of arXiv 1904.00962, phi the identity, for each tensor."""
    for p, (m, v), g, wd in zip(params, moments, gradients, decay):
        m.mul_(betas[0]).add_(g, alpha=1 - betas[0])
        v.mul_(betas[1]).addcmul_(g, g, value=1 - betas[1])
        r = (m / (1 - betas[0] ** t)) / ((v / (1 - betas[1] ** t)).sqrt() + eps) + wd * p
        size, step = p.norm(), r.norm()
        trust = size / step if size > 0 and step > 0 else torch.tensor(1.0, dtype=F64)
        p.sub_(lr * trust * r)


def lamb_steps(start, gradients, rates, decay):
    p = torch.from_numpy(start).to(F64)
    moments, after = [(torch.zeros_like(p), torch.zeros_like(p))], []
    for t, (g, lr) in enumerate(zip(gradients, rates), 1):
        lamb([p], moments, [torch.from_numpy(g).to(F64)], t, lr, (0.9, 0.999), 1e-6, [decay])
        after.append(p.clone().numpy())
    return np.stack(after)


def make_optimizers():
    rng = np.random.default_rng(5501)
    start = rng.standard_normal(LENGTH).astype(np.float32)
    gradients = rng.standard_normal((STEPS, LENGTH)) * np.geomspace(1e-3, 3.0, LENGTH)
    gradients[:, 5] = 0.25  # always the same
    gradients[:, 6] = 0.0
    gradients = gradients.astype(np.float32)
    rates = np.float32(np.linspace(0.02, 0.005, STEPS))
    o, k = torch.optim, keras.optimizers
    t = lambda make: lambda s, g, r: torch_steps(make, s, g, r)  # noqa: E731
    c = lambda make: lambda s, g, r: keras_steps(make, s, g, r)  # noqa: E731
    cases = [
        # (evenkeel's text, L2, decoupled decay, what it is)
        ("rmsprop", 0, 0, t(lambda p: o.RMSprop(p))),
        ("rmsprop(momentum=0.9)", 0.01, 0, t(lambda p: o.RMSprop(p, momentum=0.9, weight_decay=0.01))),
        ("rmsprop(centered=true)", 0, 0, t(lambda p: o.RMSprop(p, centered=True))),
        ("rmsprop(alpha=0.9, momentum=0.5, centered=true)", 0, 0,
         t(lambda p: o.RMSprop(p, alpha=0.9, momentum=0.5, centered=True))),
        ("rmsprop(keras)", 0, 0, c(lambda: k.RMSprop())),
        ("rmsprop(keras, momentum=0.9)", 0, 0.1, c(lambda: k.RMSprop(momentum=0.9, weight_decay=0.1))),
        ("rmsprop(keras, momentum=0.9, centered=true)", 0, 0, c(lambda: k.RMSprop(momentum=0.9, centered=True))),
        ("adagrad", 0, 0, t(lambda p: o.Adagrad(p))),
        ("adagrad(start=0.5, lr_decay=0.1)", 0.01, 0,
         t(lambda p: o.Adagrad(p, lr_decay=0.1, initial_accumulator_value=0.5, weight_decay=0.01))),
        ("adagrad(keras)", 0, 0, c(lambda: k.Adagrad())),
        ("adadelta", 0, 0, t(lambda p: o.Adadelta(p))),
        ("adadelta(keras)", 0, 0, c(lambda: k.Adadelta())),
        ("nadam", 0, 0, t(lambda p: o.NAdam(p))),
        ("nadam", 0, 0.05, t(lambda p: o.NAdam(p, weight_decay=0.05, decoupled_weight_decay=True))),
        ("nadam(keras)", 0, 0, c(lambda: k.Nadam())),
        ("adam", 0.01, 0, t(lambda p: o.Adam(p, weight_decay=0.01))),
        ("adam(keras)", 0, 0, c(lambda: k.Adam())),
        ("adam(keras)", 0, 0.004, c(lambda: k.AdamW(weight_decay=0.004))),
        ("amsgrad", 0, 0, t(lambda p: o.Adam(p, amsgrad=True))),
        ("amsgrad", 0, 0.01, t(lambda p: o.AdamW(p, amsgrad=True, weight_decay=0.01))),
        ("amsgrad(beta2=0.5)", 0, 0, t(lambda p: o.Adam(p, betas=(0.9, 0.5), amsgrad=True))),
        ("amsgrad(keras)", 0, 0, c(lambda: k.Adam(amsgrad=True))),
        ("adamax", 0, 0, t(lambda p: o.Adamax(p))),
        ("adamax(keras)", 0, 0, c(lambda: k.Adamax())),
        ("lion", 0, 0, c(lambda: k.Lion())),
        ("lion", 0, 0.1, c(lambda: k.Lion(weight_decay=0.1))),
        ("lamb(keras)", 0, 0, c(lambda: k.Lamb())),
        ("lamb", 0, 0, lambda s, g, r: lamb_steps(s, g, r, 0.01)),
        ("sgd(momentum=0.9)", 0, 0.1, t(lambda p: sgdw(p))),
    ]
    tensors, listed = {"start": start, "gradients": gradients, "rates": rates}, []
    for index, (text, l2, decay, run) in enumerate(cases):
        tensors[f"{index}.after64"] = run(start, gradients, [float(r) for r in rates])
        listed.append({"text": text, "l2": l2, "weight_decay": decay})
    write("optimizers.safetensors", tensors, {"cases": listed})


class sgdw(torch.optim.SGD):  # noqa: N801
    """SGD with momentum and a decoupled decay of 0.1 (arXiv 1711.05101, algorithm 1 with the rate as the factor)."""

    def __init__(self, params):
        super().__init__(params, lr=0.1, momentum=0.9)

    def step(self):
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    p.mul_(1 - group["lr"] * 0.1)
        super().step()


# ------------------------------------------------------------------------------------- rules, on a small network

ROWS, INPUTS, HIDDEN, CLASSES = 24, 7, 18, 5


def network(init):
    model = nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, CLASSES)).double()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(init[name].double())
    return model


def run_rules(init, x, y, make, l1=0.0, clip=0.0, constraint=None, all_parameters=False, after=None):
    model = network(init)
    optimiser = make(model)
    loss = nn.CrossEntropyLoss()
    constraints = keras.constraints
    for step in range(x.shape[0]):
        if hasattr(optimiser, "zero_grad"):
            optimiser.zero_grad()
        loss(model(x[step].double()), y[step]).backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        with torch.no_grad():
            for name, p in model.named_parameters():
                if l1 and (all_parameters or name.endswith("weight")):
                    p.grad.add_(torch.sign(p), alpha=l1)
        optimiser.step()
        if constraint is not None:
            with torch.no_grad():
                for name, p in model.named_parameters():
                    if name.endswith("weight"):
                        # Keras' kernels are [inputs, outputs], axis 0 the inputs.
                        p.copy_(torch.as_tensor(constraint(p.T.clone())).T)
    if after:
        after(optimiser)
    return {name: p.detach().clone() for name, p in model.named_parameters()}


class LambRun:
    def __init__(self, model, lr):
        self.params, self.t, self.lr = list(model.parameters()), 0, lr
        self.moments = [(torch.zeros_like(p.data), torch.zeros_like(p.data)) for p in self.params]
        self.decay = [0.01 if p.dim() == 2 else 0.0 for p in self.params]

    def zero_grad(self):
        for p in self.params:
            p.grad = None

    def step(self):
        self.t += 1
        with torch.no_grad():
            lamb([p.data for p in self.params], self.moments, [p.grad for p in self.params], self.t, self.lr,
                 (0.9, 0.999), 1e-6, self.decay)


class Free:
    """Schedule-free AdamW of its authors' package; weight decay on matrices only."""

    def __init__(self, model, lr, **options):
        decay = options.pop("weight_decay", 0.0)
        groups = [{"params": [p for p in model.parameters() if p.dim() == 2], "weight_decay": decay},
                  {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0}]
        self.inner = schedulefree.AdamWScheduleFree(groups, lr=lr, foreach=False, **options)
        self.inner.train()

    def zero_grad(self):
        self.inner.zero_grad()

    def step(self):
        self.inner.step()


def weights_only(model, decay):
    return [{"params": [p for p in model.parameters() if p.dim() == 2], "weight_decay": decay},
            {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0}]


def make_rules():
    rng = np.random.default_rng(5502)
    steps = 12
    x = torch.from_numpy(rng.standard_normal((steps, ROWS, INPUTS)).astype(np.float32))
    y = torch.from_numpy(rng.integers(0, CLASSES, (steps, ROWS)))
    torch.manual_seed(5502)
    fresh = nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, CLASSES))
    init = {name: p.detach().clone() for name, p in fresh.named_parameters()}
    o, c = torch.optim, keras.constraints
    sgd = lambda m: o.SGD(m.parameters(), lr=0.1, momentum=0.9)  # noqa: E731
    evaluate = lambda f: f.inner.eval()  # noqa: E731
    base = {"optimizer": "sgd(momentum=0.9)", "lr": 0.1}
    cases = [
        ("l1", {**base, "l1": 0.01}, sgd, {"l1": 0.01}),
        ("l1, all, clipped", {**base, "l1": 0.01, "decay_all": True, "clip": 0.05}, sgd,
         {"l1": 0.01, "all_parameters": True, "clip": 0.05}),
        ("elastic net", {**base, "l1": 0.005, "l2": 0.02},
         lambda m: o.SGD(weights_only(m, 0.02), lr=0.1, momentum=0.9), {"l1": 0.005}),
        ("decoupled decay", {"optimizer": "amsgrad", "lr": 0.01, "weight_decay": 0.5},
         lambda m: o.AdamW(weights_only(m, 0.5), lr=0.01, amsgrad=True), {}),
        ("max norm", {**base, "constraint": "max_norm(0.7)"}, sgd, {"constraint": c.MaxNorm(0.7, axis=0)}),
        ("non-negative", {**base, "constraint": "non_negative"}, sgd, {"constraint": c.NonNeg()}),
        ("unit norm", {**base, "constraint": "unit_norm"}, sgd, {"constraint": c.UnitNorm(axis=0)}),
        ("min-max norm", {**base, "constraint": "min_max_norm(min=0.8, max=0.9, rate=0.5)"}, sgd,
         {"constraint": c.MinMaxNorm(0.8, 0.9, rate=0.5, axis=0)}),
        ("layer rates", {"optimizer": "adam", "lr": 0.01, "layer_rates": [[0, 1, 0.1], [2, 3, 2.0]]},
         lambda m: o.Adam([{"params": m[0].parameters(), "lr": 0.001}, {"params": m[2].parameters(), "lr": 0.02}]), {}),
        ("layer rate 0", {**base, "layer_rates": [[0, 1, 0.0]]},
         lambda m: o.SGD([{"params": m[0].parameters(), "lr": 0.0}, {"params": m[2].parameters()}], lr=0.1,
                         momentum=0.9), {}),
        ("lamb", {"optimizer": "lamb", "lr": 0.02}, lambda m: LambRun(m, 0.02), {}),
        ("schedule-free, training weights", {"optimizer": "schedule_free(weight_decay=0.1)", "lr": 0.02},
         lambda m: Free(m, 0.02, weight_decay=0.1), {}),
        ("schedule-free, evaluation weights",
         {"optimizer": "schedule_free(weight_decay=0.1)", "lr": 0.02, "evaluate": True},
         lambda m: Free(m, 0.02, weight_decay=0.1), {"after": evaluate}),
        ("schedule-free, warm-up of 5 steps",
         {"optimizer": "schedule_free(beta1=0.8)", "lr": 0.02, "evaluate": True, "warmup": 5},
         lambda m: Free(m, 0.02, betas=(0.8, 0.999), warmup_steps=5), {"after": evaluate}),
    ]
    tensors = {"x": x, "y": y, **{f"init.{k}": v for k, v in init.items()}}
    listed = []
    for index, (name, options, make, more) in enumerate(cases):
        for key, value in run_rules(init, x, y, make, **more).items():
            tensors[f"{index}.after64.{key}"] = value
        listed.append({"name": name, **options})
    net = f"dense({HIDDEN}) tanh dense({CLASSES})"
    write("rules.safetensors", tensors, {"net": net, "cases": listed})


# -------------------------------------------------------------------------------------------------------- schedules

BASE = 0.1


def torch_rates(make, count):
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=BASE, momentum=0.9)
    schedule, rates, momenta = make(optimiser), [], []
    for step in range(count):
        rates.append(float(optimiser.param_groups[0]["lr"]))
        momenta.append(float(optimiser.param_groups[0]["momentum"]))
        optimiser.step()
        if step + 1 < count:
            schedule.step()
    return rates, momenta


def make_rates():
    keras.config.set_floatx("float64")  # its schedules compute in it
    s, k = torch.optim.lr_scheduler, keras.optimizers.schedules
    cases = [
        # (evenkeel's text, steps an epoch, steps, whether momentum cycles, PyTorch's)
        ("exponential(0.9)", 1, 12, False, lambda o: s.ExponentialLR(o, 0.9)),
        ("polynomial(8)", 1, 12, False, lambda o: s.PolynomialLR(o, 8)),
        ("polynomial(8, power=2.5)", 1, 12, False, lambda o: s.PolynomialLR(o, 8, 2.5)),
        ("polynomial(3, power=2)", 4, 16, False, lambda o: s.PolynomialLR(o, 12, 2.0)),
        ("one_cycle(momentum=0.85..0.95)", 1, 20, True, lambda o: s.OneCycleLR(o, BASE, 20)),
        ("one_cycle(rise=0.4, div=10, final_div=100, anneal=linear, momentum=0.8..0.9)", 4, 24, True,
         lambda o: s.OneCycleLR(o, BASE, 24, pct_start=0.4, anneal_strategy="linear", base_momentum=0.8, max_momentum=0.9,
                                div_factor=10.0, final_div_factor=100.0)),
        ("one_cycle(three_phase=true, momentum=0.85..0.95)", 1, 30, True,
         lambda o: s.OneCycleLR(o, BASE, 30, three_phase=True)),
        ("one_cycle(rise=0.05)", 1, 10, False, lambda o: s.OneCycleLR(o, BASE, 10, pct_start=0.05, cycle_momentum=False)),
        ("cosine_restarts(4)", 1, 15, False, lambda o: s.CosineAnnealingWarmRestarts(o, 4)),
        ("cosine_restarts(3, longer=2, floor=0.01)", 1, 30, False,
         lambda o: s.CosineAnnealingWarmRestarts(o, 3, 2, 0.001)),
        ("cosine_restarts(2, longer=3)", 5, 60, False, lambda o: s.CosineAnnealingWarmRestarts(o, 10, 3)),
        ("cyclic(up=4, floor=0.1, momentum=0.8..0.9)", 1, 20, True, lambda o: s.CyclicLR(o, 0.01, BASE, 4)),
        ("cyclic(up=2, down=3, floor=0.2, shape=triangular2, momentum=0.8..0.9)", 2, 32, True,
         lambda o: s.CyclicLR(o, 0.02, BASE, 4, 6, "triangular2")),
        ("cyclic(up=3, floor=0.1, shape=exp_range, gamma=0.97)", 1, 20, False,
         lambda o: s.CyclicLR(o, 0.01, BASE, 3, mode="exp_range", gamma=0.97, cycle_momentum=False)),
    ]
    listed = []
    for text, per_epoch, count, cycles, make in cases:
        rates, momenta = torch_rates(make, count)
        case = {"text": text, "source": "torch", "steps_per_epoch": per_epoch, "lr": rates}
        listed.append({**case, "momentum": momenta} if cycles else case)
    keras_cases = [
        ("exponential(0.8, smooth=true)", 4, 14, k.ExponentialDecay(BASE, 4, 0.8)),
        ("exponential(0.8)", 4, 14, k.ExponentialDecay(BASE, 4, 0.8, staircase=True)),
        ("polynomial(2, power=2, floor=0.1)", 4, 12, k.PolynomialDecay(BASE, 8, 0.01, 2.0)),
        ("cosine_restarts(1, longer=2, lower=0.5, floor=0.1)", 4, 26, k.CosineDecayRestarts(BASE, 4, 2.0, 0.5, 0.1)),
        ("cosine_restarts(2, lower=0.8)", 3, 26, k.CosineDecayRestarts(BASE, 6, 1.0, 0.8)),
    ]
    for text, per_epoch, count, schedule in keras_cases:
        rates = [float(to_numpy(schedule(step))) for step in range(count)]
        listed.append({"text": text, "source": "keras", "steps_per_epoch": per_epoch, "lr": rates})
    losses = [1.0, 0.8, 0.79999, 0.81, 0.82, 0.80001, 0.9, 0.7, 0.7, 0.7, 0.71, 0.69999, 0.6999, 0.8, 0.8, 0.8, 0.8, 0.8,
              0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]
    ups = [0.1, 0.5, 0.5, 0.50001, 0.5001, 0.4, 0.4, 0.6, 0.6, 0.6, 0.60005, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7]
    odd = [math.inf, math.nan, 0.5, math.nan, math.nan, 0.4, math.nan, 0.4, 0.4, 0.4, 0.3]
    plateaus = []
    for mode, values in (("min", losses), ("max", ups), ("min", odd)):
        for options in (
            {"factor": 0.5, "patience": 2},
            {"factor": 0.1, "patience": 0},
            {"factor": 0.5, "patience": 1, "cooldown": 2, "floor": 0.05},
            {"factor": 0.3, "patience": 1, "cooldown": 1, "threshold": 0.05, "mode": "abs"},
            {"factor": 0.1, "patience": 1, "threshold": 0.05, "mode": "rel"},
            {"factor": 0.5, "patience": 3, "floor": 0.3, "cooldown": 1},
            {"factor": 1e-4, "patience": 1},
        ):
            floor, threshold = options.get("floor", 0.0), options.get("threshold", 1e-4)
            optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=BASE)
            schedule = s.ReduceLROnPlateau(optimiser, mode, options["factor"], options["patience"], threshold,
                                           options.get("mode", "rel"), options.get("cooldown", 0), floor * BASE)
            rates = []
            for value in values:
                rates.append(float(optimiser.param_groups[0]["lr"]))
                schedule.step(value)
            plateaus.append({"text": text_of(options, "torch"), "mode": mode, "values": words(values), "lr": rates})
            if options.get("mode", "abs") == "abs":
                plateaus.append({"text": text_of(options, "keras"), "mode": mode, "values": words(values),
                                 "lr": keras_plateau(options, mode, values, floor, threshold)})
    comment = "lr[t] is the rate of step t (of epoch t for plateaus, values[t] the figure after it), momentum likewise."
    value = {"comment": comment, "base_lr": BASE, "cases": listed, "plateaus": plateaus}
    (HERE / "rates.json").write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")
    print(f"rates.json: {len(listed)} schedules, {len(plateaus)} plateaus")


def words(values):
    return [v if math.isfinite(v) else str(v) for v in values]


def text_of(options, dialect):
    return f"plateau({dialect}, " + ", ".join(f"{key}={value}" for key, value in options.items()) + ")"


def keras_plateau(options, mode, values, floor, threshold):
    class Model:
        optimizer = keras.optimizers.SGD(BASE)

    model = Model()
    model.optimizer = keras.optimizers.SGD(BASE)
    callback = keras.callbacks.ReduceLROnPlateau(
        "val_loss", options["factor"], options["patience"], 0, mode, threshold, options.get("cooldown", 0), floor * BASE)
    callback.set_model(model)
    callback.on_train_begin()
    rates = []
    for epoch, value in enumerate(values):
        rates.append(float(to_numpy(model.optimizer.learning_rate)))
        callback.on_epoch_end(epoch, {"val_loss": value})
    return rates


if __name__ == "__main__":
    make_optimizers()
    make_rules()
    make_rates()
