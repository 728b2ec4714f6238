#!/usr/bin/env python3
"""Writes the golden files of this directory: what PyTorch (or exact arithmetic) answers, for evenkeel to match.

    pip install torch numpy safetensors mpmath
    python tests/golden/make.py            # writes next to itself, prints every file
    python tests/golden/make.py --check    # writes to a temporary directory and compares with what is here

README.md in this directory documents every file and tensor name. The files in the repository were made with
torch 2.15.0, numpy 2.4.6, safetensors 0.8.0 and mpmath 1.3.0 on x86-64. Everything is seeded and runs on one thread,
so the same machine writes the same bytes again. Another CPU or another torch may order its float32 sums
otherwise: then the last bits of the float32 results differ, the float64 ones hardly; `--check` prints by how much.

Wherever a truth is stored (names with `64`), it was computed from the *float32* inputs in the file, widened without
error, in float64 or in exact or 50-digit arithmetic rounded once to float64.
"""

import argparse
import json
import math
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import mpmath
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

sys.dont_write_bytecode = True  # no __pycache__ beside the golden files
sys.path.insert(0, str(Path(__file__).resolve().parent))
from check_checkpoint import build  # noqa: E402

HERE = Path(__file__).resolve().parent
F32, F64 = torch.float32, torch.float64


# ---------------------------------------------------------------------------------------------------- writing


class Writer:
    """Writes files into one directory and prints what it wrote."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.total = 0

    def _report(self, path, what):
        size = path.stat().st_size
        self.total += size
        print(f"{path.name:<36} {size:>8} bytes  {what}")

    def tensors(self, name, tensors, about):
        """`about` goes into the metadata under the one key `golden`, as JSON (one key: their order is not fixed)."""
        path = self.directory / name
        tensors = {k: torch.as_tensor(v).detach().clone().contiguous() for k, v in tensors.items()}
        metadata = {"golden": json.dumps({**about, "torch": torch.__version__.split("+")[0]}, sort_keys=True)}
        save_file(tensors, path, metadata=metadata)
        self._report(path, f"{len(tensors)} tensors")

    def json(self, name, value, what):
        path = self.directory / name
        path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")
        self._report(path, what)


def f32(array):
    """A numpy array as a float32 tensor."""
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


# ------------------------------------------------------------------------------------ inference, import, folding

# (file, inputs, net, loss, steps, changes after training). Where the net ends in (log_)softmax, the loss is the
# negative log likelihood; otherwise cross-entropy of the outputs as logits. The last column names features whose
# BN scale is turned over or set to zero, the two cases in which a fold goes wrong unnoticed.
NETS = [
    ("mlp_bn", 20, "dense(33) bn relu dropout(0.3) dense(17) bn tanh dense(5)", 400, ""),
    ("fold_input", 20, "bn dense(19) relu dense(4)", 150, ""),
    ("fold_after_relu", 11, "dense(18) relu bn dense(5)", 150, ""),
    ("fold_after_dropout", 11, "dense(18) relu bn(momentum=0.01) dropout(0.2) dense(5)", 150, ""),
    ("fold_chain", 9, "bn bn dense(17) bn bn(eps=1e-3) relu dense(6) bn bn", 150, ""),
    ("fold_alone", 16, "bn relu dense(5) tanh bn", 150, ""),
    ("fold_gelu", 7, "dense(21) bn gelu dense(3)", 150, ""),
    ("fold_silu", 7, "dense(21) bn(eps=1e-3, momentum=none) silu dense(3)", 150, ""),
    ("fold_leaky_relu", 7, "dense(16) bn leaky_relu(0.2) bn dense(3)", 150, ""),
    ("fold_sigmoid", 7, "dense(15) bn sigmoid bn dropout(0.5) dense(3)", 150, ""),
    ("fold_softmax", 12, "dense(16) bn relu dense(10) bn softmax", 150, ""),
    ("fold_log_softmax", 12, "dense(16) bn relu dense(10) bn log_softmax", 150, ""),
    ("fold_signs", 10, "dense(20) bn relu bn leaky_relu(0.01) dense(4)", 150, "signs"),
    ("fold_wide", 10, "dense(20) bn relu dense(4)", 150, "wide"),
    ("fold_no_bias", 10, "dense(20, bias=false) bn relu dense(4)", 150, ""),
    ("fold_no_affine", 10, "bn(affine=false) dense(20) bn(affine=false) relu dense(4)", 150, ""),
]


def sensor_rows(rng, inputs, wide):
    """A function that draws rows whose features have odd means (up to ±50) and scales (0.01 to 30)."""
    mean = rng.permutation(np.resize([50.0, -3.0, 0.0, 7.5, -50.0, 0.2], inputs))
    scale = rng.permutation(np.geomspace(0.01, 30.0, inputs)) * (40.0 if wide else 1.0)
    return lambda rows: np.float32(mean + scale * rng.standard_normal((rows, inputs))), mean, scale


def trained_net(seed, inputs, net, steps, change):
    """Trains a net in float64 on made-up classes; returns it narrowed to float32, and 64 fresh rows."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    draw, mean, scale = sensor_rows(rng, inputs, change == "wide")
    model = build(net, inputs).double().train()
    with torch.no_grad():
        classes = model(torch.from_numpy(draw(8)).double()).shape[1]
    for module in model:
        if isinstance(module, nn.BatchNorm1d):
            module.reset_running_stats()
    teacher = rng.standard_normal((inputs, classes))
    log_softmax = isinstance(model[-1], nn.LogSoftmax)
    softmax = isinstance(model[-1], nn.Softmax)
    adam = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        x = draw(48)
        label = torch.from_numpy(np.argmax(np.tanh((x - mean) / scale) @ teacher, axis=1))
        output = model(torch.from_numpy(x).double())
        log_p = output if log_softmax else output.log() if softmax else output.log_softmax(1)
        adam.zero_grad()
        F.nll_loss(log_p, label).backward()
        adam.step()
    model = model.float().eval()
    if change == "signs":
        with torch.no_grad():
            for module in model:
                if isinstance(module, nn.BatchNorm1d):
                    module.weight[::3] *= -1.0
                    module.weight[1] = 0.0
    return model, f32(draw(64))


def folded(model):
    """The net without dropout and with as few BN as possible, folded in float64, narrowed to float32 at the end."""
    out, pending = [], None  # pending: (scale, shift) of a BN that waits for the next dense layer
    for module in model:
        if isinstance(module, nn.BatchNorm1d):
            scale = 1.0 / torch.sqrt(module.running_var.double() + module.eps)
            scale = scale if module.weight is None else scale * module.weight.double()
            shift = -module.running_mean.double() * scale
            shift = shift if module.bias is None else shift + module.bias.double()
            if pending is not None:
                pending = (pending[0] * scale, pending[1] * scale + shift)
            elif out and isinstance(out[-1], tuple):
                w, b = out[-1]
                out[-1] = (w * scale[:, None], b * scale + shift)
            else:
                pending = (scale, shift)
        elif isinstance(module, nn.Linear):
            w = module.weight.double()
            b = torch.zeros(len(w), dtype=F64) if module.bias is None else module.bias.double()
            if pending is not None:
                w, b, pending = w * pending[0], b + w @ pending[1], None
            out.append((w, b))
        elif not isinstance(module, nn.Dropout):
            if pending is not None:
                out.append(pending)
                pending = None
            out.append(module)
    out += [] if pending is None else [pending]

    def evaluate(x):
        for part in out:
            if isinstance(part, tuple):
                w, b = (v.float() for v in part)
                x = x * w + b if w.ndim == 1 else F.linear(x, w, b)
            else:
                x = part(x)
        return x

    return evaluate


def make_nets(writer):
    for number, (name, inputs, net, steps, change) in enumerate(NETS):
        model, x = trained_net(1000 + number, inputs, net, steps, change)
        state = {k: v.clone() for k, v in model.state_dict().items()}
        with torch.no_grad():
            output = model(x)
            output_folded = folded(model)(x)
            output64 = model.double()(x.double())

        def error(y):
            return float(f"{((y - output64).abs().max() / output64.abs().max()).item():.1e}")

        about = {"net": net, "inputs": inputs, "float32_error": error(output), "folded_error": error(output_folded)}
        writer.tensors(f"{name}.safetensors", state, about)
        writer.tensors(f"{name}.cases.safetensors", {"input": x, "output": output, "output64": output64}, about)


# -------------------------------------------------------------------------------------------------- training

BATCH, STEPS, FEATURES = 16, 10, 13

TRAIN_NETS = [
    ("train_relu_ce", "dense(24) relu dense(7)", "cross_entropy"),
    ("train_bn_ce", "dense(19) bn relu dense(18) bn sigmoid dense(5)", "cross_entropy"),
    ("train_tanh_mse", "dense(21) tanh dense(3)", "mse"),
    ("train_gelu_bce", "dense(17) gelu dense(1)", "bce_with_logits"),
]

OPTIMISERS = {
    "sgd": ("sgd", {"lr": 0.05}, None),
    "sgd_momentum": ("sgd", {"lr": 0.05, "momentum": 0.9}, None),
    "sgd_nesterov": ("sgd", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}, None),
    "sgd_clip": ("sgd", {"lr": 0.05, "momentum": 0.9}, 0.5),
    "adam": ("adam", {"lr": 1e-3}, None),
    "adam_l2": ("adam", {"lr": 1e-3, "weight_decay": 1e-2}, None),
    "adamw": ("adamw", {"lr": 1e-3, "weight_decay": 1e-2}, None),
}
MAKERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
LOSSES = {"cross_entropy": F.cross_entropy, "mse": F.mse_loss, "bce_with_logits": F.binary_cross_entropy_with_logits}


def train(net, initial, x, y, loss_name, optimiser, dtype):
    """Ten steps from `initial`; returns losses, first gradients, norms before clipping, final state."""
    kind, options, clip = optimiser
    model = build(net, FEATURES).to(dtype).train()
    model.load_state_dict({k: v if v.dtype == torch.int64 else v.to(dtype) for k, v in initial.items()}, strict=True)
    step = MAKERS[kind](model.parameters(), foreach=False, **options)
    losses, norms, first = [], [], None
    for i in range(STEPS):
        target = y[i] if y.dtype == torch.int64 else y[i].to(dtype)
        step.zero_grad()
        loss = LOSSES[loss_name](model(x[i].to(dtype)), target)
        loss.backward()
        if clip is not None:
            norms.append(nn.utils.clip_grad_norm_(model.parameters(), clip, foreach=False).detach())
        if i == 0:
            first = {k: p.grad.clone() for k, p in model.named_parameters()}
        losses.append(loss.detach())
        step.step()
    return torch.stack(losses), first, torch.stack(norms) if norms else None, model.state_dict()


def make_training(writer):
    for number, (name, net, loss_name) in enumerate(TRAIN_NETS):
        rng = np.random.default_rng(2000 + number)
        torch.manual_seed(2000 + number)
        initial = build(net, FEATURES).state_dict()
        outputs = list(initial.values())[-1].shape[0]
        x = f32(1.5 * rng.standard_normal((STEPS, BATCH, FEATURES)) + 0.3)
        teacher = rng.standard_normal((FEATURES, outputs))
        signal = x.numpy() @ teacher / math.sqrt(FEATURES) + 0.3 * rng.standard_normal((STEPS, BATCH, outputs))
        if loss_name == "cross_entropy":
            y = torch.from_numpy(signal.argmax(axis=2))
        elif loss_name == "mse":
            y = f32(signal)
        else:
            y = f32(signal > 0.0)
        tensors = {"x": x, "y": y, **{f"init.{k}": v for k, v in initial.items()}}
        spread = {}
        for config, optimiser in OPTIMISERS.items():
            runs = [(s, train(net, initial, x, y, loss_name, optimiser, t)) for s, t in (("", F32), ("64", F64))]
            for suffix, (losses, first, norms, after) in runs:
                tensors[f"{config}.loss{suffix}"] = losses
                if norms is not None:
                    tensors[f"{config}.norm{suffix}"] = norms
                    tensors.update({f"{config}.grad{suffix}.{k}": v for k, v in first.items()})
                elif config == "sgd":  # the first gradients are the same for every optimiser
                    tensors.update({f"grad{suffix}.{k}": v for k, v in first.items()})
                tensors.update({f"{config}.after{suffix}.{k}": v for k, v in after.items()})
            a, b = runs[0][1][3], runs[1][1][3]
            spread[config] = {k: float(f"{(a[k] - b[k]).abs().max().item():.0e}") for k in a if a[k].is_floating_point()}
        about = {
            "net": net,
            "inputs": FEATURES,
            "loss": loss_name,
            "configs": {c: {"optimiser": k, **o, **({"clip_norm": n} if n else {})} for c, (k, o, n) in OPTIMISERS.items()},
            "float32_error": spread,
        }
        writer.tensors(f"{name}.safetensors", tensors, about)


# (name, first layer that trains, whether batch norms that train keep their statistics, rows of a batch)
TUNINGS = [("running", 0, True, 24), ("tail", 3, False, 24), ("tail_running", 3, True, 24), ("last", 6, False, 1)]


def tune(net, initial, x, y, first, running, dtype):
    """SGD steps with momentum from `initial` on a part of the net; returns losses, first gradients, final state."""
    model = build(net, FEATURES).to(dtype).train()
    model.load_state_dict({k: v if v.dtype == torch.int64 else v.to(dtype) for k, v in initial.items()}, strict=True)
    for index, module in enumerate(model):
        if index < first:
            module.eval().requires_grad_(False)
        elif running and isinstance(module, nn.BatchNorm1d):
            module.eval()
    trained = [p for p in model.parameters() if p.requires_grad]
    step = torch.optim.SGD(trained, foreach=False, lr=0.05, momentum=0.9)
    losses, gradients = [], None
    for i in range(STEPS):
        step.zero_grad()
        loss = F.cross_entropy(model(x[i].to(dtype)), y[i])
        loss.backward()
        if i == 0:
            gradients = {k: p.grad.clone() for k, p in model.named_parameters() if p.requires_grad}
        losses.append(loss.detach())
        step.step()
    return torch.stack(losses), gradients, model.state_dict()


def make_tuning(writer):
    """Training a part of a network that was trained before: frozen layers, frozen statistics, batches of one row."""
    net = "dense(19) bn relu dense(18) bn sigmoid dense(5)"
    rng = np.random.default_rng(2100)
    torch.manual_seed(2100)
    initial = build(net, FEATURES).state_dict()
    for name, value in initial.items():
        if name.endswith("running_mean"):
            initial[name] = f32(0.5 * rng.standard_normal(value.shape))
        elif name.endswith("running_var"):
            initial[name] = f32(rng.uniform(0.3, 2.0, value.shape))
        elif name.endswith("num_batches_tracked"):
            initial[name] = torch.tensor(7)
    x = f32(1.5 * rng.standard_normal((STEPS, 24, FEATURES)) + 0.3)
    y = torch.from_numpy((x.numpy() @ rng.standard_normal((FEATURES, 5))).argmax(axis=2))
    tensors = {"x": x, "y": y, **{f"init.{k}": v for k, v in initial.items()}}
    configs = {}
    for name, first, running, rows in TUNINGS:
        configs[name] = {"first": first, "running": running, "rows": rows}
        losses, gradients, after = tune(net, initial, x[:, :rows], y[:, :rows], first, running, F64)
        tensors[f"{name}.loss64"] = losses
        tensors.update({f"{name}.grad64.{k}": v for k, v in gradients.items()})
        tensors.update({f"{name}.after64.{k}": v for k, v in after.items()})
    writer.tensors("tuning.safetensors", tensors, {"net": net, "inputs": FEATURES, "configs": configs})


def make_schedules(writer):
    """The learning rate of each epoch, from stepping torch's schedulers once per epoch."""
    base, epochs = 0.1, 12

    def rates(make, count=epochs):
        optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=base)
        schedule, values = make(optimiser), []
        for _ in range(count):
            values.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            schedule.step()
        return values

    s = torch.optim.lr_scheduler
    cosine = {"t_max": 11, "eta_min": 0.001}
    cases = [
        ("step", {"step_size": 3, "gamma": 0.5}, lambda o: s.StepLR(o, 3, 0.5)),
        ("exponential", {"gamma": 0.9}, lambda o: s.ExponentialLR(o, 0.9)),
        ("cosine", {"t_max": 11, "eta_min": 0.0}, lambda o: s.CosineAnnealingLR(o, 11)),
        ("cosine", cosine, lambda o: s.CosineAnnealingLR(o, 11, 0.001)),
        ("linear_warmup", {"start_factor": 0.1, "epochs": 5}, lambda o: s.LinearLR(o, 0.1, 1.0, 5)),
        (
            "linear_warmup_then_cosine",
            {"start_factor": 0.1, "epochs": 4, "t_max": 8, "eta_min": 0.001},
            lambda o: s.SequentialLR(o, [s.LinearLR(o, 0.1, 1.0, 4), s.CosineAnnealingLR(o, 8, 0.001)], [4]),
        ),
    ]
    listed = []
    for name, options, make in cases:
        values = rates(make)
        if name == "cosine":  # torch multiplies step by step; the formula is what we compute
            for t, value in enumerate(values):
                low = options["eta_min"]
                direct = low + (base - low) * (1.0 + math.cos(math.pi * t / options["t_max"])) / 2.0
                assert abs(value - direct) < 1e-14, (t, value, direct)
        listed.append({"schedule": name, **options, "lr": values})
    comment = "lr[t] is the rate used during epoch t (from 0). Compare to 1e-12: torch multiplies step by step."
    writer.json("schedules.json", {"comment": comment, "base_lr": base, "cases": listed}, f"{len(cases)} schedules")


# ------------------------------------------------------------------------------------------------ batch norm

MOMENTA = {"m0.1": 0.1, "m0.01": 0.01, "cumulative": None}
EPSILONS = {"eps1e-5": 1e-5, "eps1e-3": 1e-3}


def batch_norm(x, dy, gamma, beta, momentum, eps, dtype):
    """One BatchNorm1d fed three batches; output and gradients belong to the first one."""
    bn = nn.BatchNorm1d(x.shape[2], eps=eps, momentum=momentum, dtype=dtype).train()
    with torch.no_grad():
        bn.weight.copy_(gamma)
        bn.bias.copy_(beta)
    first = x[0].to(dtype).requires_grad_()
    y = bn(first)
    y.backward(dy.to(dtype))
    results = {"y": y, "dx": first.grad, "dgamma": bn.weight.grad, "dbeta": bn.bias.grad}
    mean, var = [bn.running_mean.clone()], [bn.running_var.clone()]
    for later in x[1:]:
        bn(later.to(dtype))
        mean.append(bn.running_mean.clone())
        var.append(bn.running_var.clone())
    statistics = {"running_mean": torch.stack(mean), "running_var": torch.stack(var)}
    return {k: v.detach() for k, v in results.items()}, statistics


def exact_statistics(column):
    """Mean and biased variance of float32 values in rational arithmetic, rounded once to float64."""
    values = [Fraction(float(v)) for v in column]
    mean = sum(values) / len(values)
    var = sum((v - mean) ** 2 for v in values) / len(values)
    return mean, var


def make_batch_norm(writer):
    tensors = {}
    for rows, features in ((2, 19), (3, 19), (1000, 5)):
        rng = np.random.default_rng(3000 + rows)
        mean = np.resize([0.0, 50.0, -3.0, 0.7, -20.0, 5.0, 1.0], features)
        scale = np.resize([1.0, 2.0, 0.05, 30.0, 1.0, 0.01, 4.0, 0.3], features)
        x = f32(mean + scale * rng.standard_normal((3, rows, features)))
        dy = f32(rng.standard_normal((rows, features)))
        gamma = f32(rng.uniform(-1.5, 2.5, features))
        beta = f32(rng.standard_normal(features))
        n = f"n{rows}"
        tensors.update({f"{n}.x": x, f"{n}.dy": dy, f"{n}.gamma": gamma, f"{n}.beta": beta})
        for suffix, dtype in (("", F32), ("64", F64)):
            for label, eps in EPSILONS.items():
                results, _ = batch_norm(x, dy, gamma, beta, 0.1, eps, dtype)
                tensors.update({f"{n}.{label}.{k}{suffix}": v for k, v in results.items()})
            for label, momentum in MOMENTA.items():
                _, statistics = batch_norm(x, dy, gamma, beta, momentum, 1e-5, dtype)
                tensors.update({f"{n}.{label}.{k}{suffix}": v for k, v in statistics.items()})
        # The same with the biased variance, which Keras and ONNX keep (their momentum is one minus ours).
        for label, momentum in MOMENTA.items():
            running, kept = torch.ones(features, dtype=F64), []
            for i in range(3):
                m = 1.0 / (i + 1) if momentum is None else momentum
                running = (1.0 - m) * running + m * x[i].double().var(dim=0, correction=0)
                kept.append(running)
            tensors[f"{n}.{label}.running_var_biased64"] = torch.stack(kept)
        check_batch_norm(x[0], dy, gamma, tensors, n)

    hard = hard_columns()
    truth = {k: exact_statistics(v) for k, v in hard.items()}
    for name, column in hard.items():
        mean, var = truth[name]
        tensors[f"hard.{name}.x"] = f32(column)
        tensors[f"hard.{name}.mean64"] = torch.tensor([float(mean)], dtype=F64)
        tensors[f"hard.{name}.var64"] = torch.tensor([float(var)], dtype=F64)
        with mpmath.workdps(50):
            r = 1 / mpmath.sqrt(rational(var) + mpmath.mpf(1e-5))
            y = [float(rational(Fraction(float(v)) - mean) * r) for v in column]
        tensors[f"hard.{name}.y64"] = torch.tensor(y, dtype=F64)
    writer.tensors("bn.safetensors", tensors, {"hard_eps": 1e-5, "hard": list(hard)})


def rational(fraction):
    return mpmath.mpf(fraction.numerator) / fraction.denominator


def check_batch_norm(x, dy, gamma, tensors, n):
    """torch's float64 gradient against the formula evenkeel implements."""
    x, dy, gamma = x.double(), dy.double(), gamma.double()
    for label, eps in EPSILONS.items():
        r = 1.0 / torch.sqrt(x.var(dim=0, correction=0) + eps)
        xhat = (x - x.mean(dim=0)) * r
        dgamma, dbeta = (dy * xhat).sum(dim=0), dy.sum(dim=0)
        dx = gamma * r / len(x) * (len(x) * dy - dbeta - xhat * dgamma)
        for name, value in (("dx", dx), ("dgamma", dgamma), ("dbeta", dbeta)):
            stored = tensors[f"{n}.{label}.{name}64"]
            scale = (gamma * r).abs() * dy.abs().max() if name == "dx" else dy.abs().sum(dim=0)
            assert ((stored - value).abs() <= 1e-12 * scale + 1e-300).all(), (n, label, name)


def hard_columns():
    """Columns on which a careless mean or variance fails; all finite float32."""
    rng = np.random.default_rng(3999)
    normal = rng.standard_normal(256)
    columns = {
        "constant_0.1": np.full(256, 0.1),
        "constant_1e6_third": np.full(255, 1e6 / 3.0),
        "constant_16777215": np.full(257, 16777215.0),
        "constant_max": np.full(64, 3.4e38),
        "mean_1e4": 1e4 + normal,
        "mean_1e6": 1e6 + normal,
        # The mean lies halfway between two float32: a plain two-pass variance around the rounded one is 1e-3 too large.
        "mean_1e6_half_ulp": 1e6 + 0.0375 + normal,
        "mean_-1e6_odd_rows": -1e6 + normal[:251],
        "outlier_1e15": np.where(np.arange(256) == 100, 1e15, normal),
        "outlier_1e30": np.where(np.arange(256) == 100, 1e30, normal),
        "subnormal": normal * 1e-40,
        "tiny_scale": normal * 1e-20,
        "ramp": np.arange(256, dtype=np.float64),
        "two_rows": np.array([1.0, 1.0 + 2.0**-23]),
    }
    return {k: np.float32(v) for k, v in columns.items()}


# -------------------------------------------------------------------------- activations and losses, 50 digits


def mp_sigmoid(x):
    return 1 / (1 + mpmath.exp(-x)) if x >= 0 else mpmath.exp(x) / (1 + mpmath.exp(x))


def mp_normal_cdf(x):
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def mp_tanh(x):
    return mpmath.tanh(x) if abs(x) < 100 else mpmath.sign(x) * (1 - 2 * mpmath.exp(-2 * abs(x)))


def clip_exp(x):
    """`x` where its exponential is far beyond float64 anyhow: keeps 50-digit arithmetic quick at 3.4e38."""
    return mpmath.mpf(max(min(x, mpmath.mpf(10) ** 5), -mpmath.mpf(10) ** 5))


def elementwise():
    """name -> (value, derivative, torch function). At 0, relu has derivative 0 and leaky_relu its slope."""

    def leaky(slope):
        a = mpmath.mpf(slope)
        return (
            lambda x: x if x > 0 else a * x,
            lambda x: mpmath.mpf(1) if x > 0 else a,
            lambda x: F.leaky_relu(x, slope),
        )

    def silu_derivative(x):
        s = mp_sigmoid(clip_exp(x))
        return s * (1 + x * (1 - s))

    def density(x):
        x = clip_exp(x)
        return mpmath.exp(-x * x / 2) / mpmath.sqrt(2 * mpmath.pi)

    return {
        "relu": (lambda x: max(x, mpmath.mpf(0)), lambda x: mpmath.mpf(1 if x > 0 else 0), F.relu),
        "leaky_relu_0.01": leaky(0.01),
        "leaky_relu_0.2": leaky(0.2),
        "sigmoid": (
            lambda x: mp_sigmoid(clip_exp(x)),
            lambda x: mp_sigmoid(clip_exp(x)) * mp_sigmoid(clip_exp(-x)),
            torch.sigmoid,
        ),
        "tanh": (
            lambda x: mp_tanh(clip_exp(x)),
            lambda x: 4 * mp_sigmoid(2 * clip_exp(x)) * mp_sigmoid(-2 * clip_exp(x)),
            torch.tanh,
        ),
        "gelu": (
            lambda x: x * mp_normal_cdf(clip_exp(x)),
            lambda x: mp_normal_cdf(clip_exp(x)) + x * density(x),
            F.gelu,
        ),
        "silu": (lambda x: x * mp_sigmoid(clip_exp(x)), silu_derivative, F.silu),
    }


def extremes():
    """Finite float32 inputs: zeros, subnormals, every size, and where exp over- or underflows."""
    sizes = [0.0, 1e-45, 1e-40, 1.1754944e-38, 1e-30, 1e-20, 1e-10, 1e-8, 1e-6, 1e-4, 1e-3, 0.01, 0.1]
    sizes += [0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 5.5, 6.0, 8.0, 9.0, 9.1, 10.0, 12.5, 13.5, 14.5, 16.0, 17.5, 20.0]
    sizes += [40.0, 87.0, 87.33655, 88.0, 88.72283, 88.73, 89.0, 100.0, 103.0, 103.97, 104.0, 200.0, 1e3, 1e4, 1e10]
    sizes += [1e30, 3.4028235e38]
    return np.float32([s * v for v in sizes for s in (1.0, -1.0)])


def close(name, exact, computed, rtol=1e-12, atol=1e-13):
    """The 50-digit truth against torch's float64: guards against a slip in either."""
    exact, computed = torch.as_tensor(exact, dtype=F64), computed.detach().double()
    assert torch.allclose(exact.reshape(computed.shape), computed, rtol=rtol, atol=atol), name


def softmax_rows(row):
    """Softmax and log-softmax of a row of float32 values."""
    row = [mpmath.mpf(float(v)) for v in row]
    top = max(row)
    exp = [mpmath.exp(clip_exp(v - top)) for v in row]
    total = mpmath.fsum(exp)
    return [e / total for e in exp], [v - top - mpmath.log(total) for v in row]


def make_activations(writer):
    rng = np.random.default_rng(4000)
    spread = np.concatenate([extremes(), np.float32(np.linspace(-12.0, 12.0, 193)), np.float32(rng.standard_normal(64))])
    x = f32(spread)
    dy = f32(rng.standard_normal(len(spread)))
    tensors = {"x": x, "dy": dy}
    for name, (value, derivative, function) in elementwise().items():
        points = [mpmath.mpf(float(v)) for v in spread]
        y64 = [float(value(p)) for p in points]
        dx64 = [float(derivative(p) * mpmath.mpf(float(g))) for p, g in zip(points, dy.tolist())]
        leaf = x.double().requires_grad_()
        y = function(leaf)
        y.backward(dy.double())
        close(f"{name} value", y64, y)
        close(f"{name} gradient", dx64, leaf.grad)
        tensors[f"{name}.y64"] = torch.tensor(y64, dtype=F64)
        tensors[f"{name}.dx64"] = torch.tensor(dx64, dtype=F64)
    special = torch.tensor([math.inf, -math.inf, math.nan], dtype=F32)
    tensors["special.x"] = special
    for name, (_, _, function) in elementwise().items():
        tensors[f"special.{name}.y64"] = function(special.double())

    wide = rng.standard_normal((10, 11))
    rows = np.stack([wide[0], 10 * wide[1], 100 * wide[2], 1e4 * wide[3], 1e6 + wide[4], -1e30 * np.ones(11), wide[6]])
    rows[6, 4] = 1e4
    rows = np.vstack([rows, np.zeros(11), np.where(np.arange(11) == 3, 3.4028235e38, -3.4028235e38), 1e-40 * wide[9]])
    blocks = {"hard": rows, "one": 5 * rng.standard_normal((3, 1)), "two": 5 * rng.standard_normal((4, 2))}
    blocks.update({"c37": 3 * rng.standard_normal((3, 37)), "c257": 3 * rng.standard_normal((2, 257))})
    for block, values in blocks.items():
        x = f32(values)
        dy = f32(rng.standard_normal(values.shape))
        tensors.update({f"rows_{block}.x": x, f"rows_{block}.dy": dy})
        soft, log_soft, dsoft, dlog = [], [], [], []
        for row, upstream in zip(x.tolist(), dy.tolist()):
            p, log_p = softmax_rows(row)
            g = [mpmath.mpf(v) for v in upstream]
            dot, total = mpmath.fsum(a * b for a, b in zip(g, p)), mpmath.fsum(g)
            soft.append([float(v) for v in p])
            log_soft.append([float(v) for v in log_p])
            dsoft.append([float(v * (a - dot)) for v, a in zip(p, g)])
            dlog.append([float(a - v * total) for v, a in zip(p, g)])
        for name, function, y64, dx64 in (
            ("softmax", torch.softmax, soft, dsoft),
            ("log_softmax", torch.log_softmax, log_soft, dlog),
        ):
            leaf = x.double().requires_grad_()
            y = function(leaf, 1)
            y.backward(dy.double())
            close(f"{name} {block} value", y64, y)
            close(f"{name} {block} gradient", dx64, leaf.grad)
            tensors[f"rows_{block}.{name}.y64"] = torch.tensor(y64, dtype=F64)
            tensors[f"rows_{block}.{name}.dx64"] = torch.tensor(dx64, dtype=F64)
    writer.tensors("activations.safetensors", tensors, {"elementwise": list(elementwise()), "rows": list(blocks)})


def mp_softplus(x):
    return max(x, mpmath.mpf(0)) + mpmath.log1p(mpmath.exp(-clip_exp(abs(x))))


def make_losses(writer):
    rng = np.random.default_rng(5000)
    tensors = {}

    def store(name, prediction, target, loss, gradient, function):
        leaf = prediction.double().requires_grad_()
        value = function(leaf, target if target.dtype == torch.int64 else target.double())
        value.backward()
        close(f"{name} value", float(loss), value)
        gradient = torch.tensor([float(g) for g in gradient], dtype=F64).reshape(prediction.shape)
        close(f"{name} gradient", gradient, leaf.grad)
        tensors[f"{name}.prediction"] = prediction
        tensors[f"{name}.target"] = target
        tensors[f"{name}.loss64"] = torch.tensor([float(loss)], dtype=F64)
        tensors[f"{name}.grad64"] = gradient

    def numbers(tensor):
        return [mpmath.mpf(v) for v in tensor.double().flatten().tolist()]

    mse = {"one": (1, 1), "plain": (16, 3), "odd": (5, 17), "large": (7, 9), "offset": (33, 4), "exact": (4, 4)}
    for case, shape in mse.items():
        scale, offset = {"large": (1e12, 0.0), "offset": (1.0, 1e5)}.get(case, (1.0, 0.0))
        p = f32(scale * rng.standard_normal(shape) + offset)
        t = p.clone() if case == "exact" else f32(scale * rng.standard_normal(shape) + offset)
        d = [a - b for a, b in zip(numbers(p), numbers(t))]
        store(f"mse.{case}", p, t, mpmath.fsum(v * v for v in d) / len(d), [2 * v / len(d) for v in d], F.mse_loss)

    large = [100.0, -100.0, 88.8, -88.8, 104.0, -104.0, 1e4, -1e4, 1e30, -1e30, 0.0, -0.0, 1e-40, 17.0, -17.0, 1.0]
    bce = {
        "one": (rng.standard_normal((1, 1)), np.ones((1, 1))),
        "plain": (2 * rng.standard_normal((16, 1)), rng.integers(0, 2, (16, 1))),
        "multi": (4 * rng.standard_normal((13, 5)), rng.integers(0, 2, (13, 5))),
        "soft": (4 * rng.standard_normal((11, 3)), rng.uniform(0, 1, (11, 3))),
        "large_right": (np.reshape(large[:8], (8, 1)), np.reshape(np.float64(np.array(large[:8]) > 0), (8, 1))),
        "large_wrong": (np.reshape(large[:8], (8, 1)), np.reshape(np.float64(np.array(large[:8]) < 0), (8, 1))),
        "extreme": (np.reshape(large, (16, 1)), np.resize([1.0, 0.0, 0.0, 1.0], (16, 1))),
    }
    for case, (logits, target) in bce.items():
        p, t = f32(logits), f32(target)
        pairs = list(zip(numbers(p), numbers(t)))
        loss = mpmath.fsum(mp_softplus(z) - z * y for z, y in pairs) / len(pairs)
        gradient = [(mp_sigmoid(clip_exp(z)) - y) / len(pairs) for z, y in pairs]
        store(f"bce.{case}", p, t, loss, gradient, F.binary_cross_entropy_with_logits)

    hard = 3 * rng.standard_normal((9, 7))
    hard[0], hard[1], hard[2] = 0.0, -1e30, 1e6 + rng.standard_normal(7)
    hard[3, 2], hard[4, 5], hard[5] = 1e4, -1e4, 1e4 * rng.standard_normal(7)
    hard[6, 0], hard[7] = 1e30, 100 * rng.standard_normal(7)
    cross = {
        "one": (rng.standard_normal((1, 3)), [1]),
        "one_class": (rng.standard_normal((4, 1)), [0, 0, 0, 0]),
        "two": (3 * rng.standard_normal((8, 2)), rng.integers(0, 2, 8)),
        "plain": (2 * rng.standard_normal((16, 7)), rng.integers(0, 7, 16)),
        "c10": (5 * rng.standard_normal((33, 10)), rng.integers(0, 10, 33)),
        "c37": (3 * rng.standard_normal((5, 37)), rng.integers(0, 37, 5)),
        "hard": (hard, [3, 2, 5, 2, 5, 0, 0, 6, 1]),
        "wrong_1e30": (np.array([[1e30, 0.0, -1e30]] * 2), [1, 2]),
    }
    for case, (logits, labels) in cross.items():
        p, t = f32(logits), torch.as_tensor(np.array(labels, dtype=np.int64))
        losses, gradient = [], []
        for row, label in zip(p.tolist(), t.tolist()):
            soft, log_soft = softmax_rows(row)
            losses.append(-log_soft[label])
            gradient += [(v - (i == label)) / len(t) for i, v in enumerate(soft)]
        store(f"cross_entropy.{case}", p, t, mpmath.fsum(losses) / len(t), gradient, F.cross_entropy)
    about = {"mse": list(mse), "bce": list(bce), "cross_entropy": list(cross)}
    writer.tensors("losses.safetensors", tensors, about)


# ------------------------------------------------------------------------------------------------------ main


def compare(made, here):
    """Compares the files of two directories; returns how many differ beyond rounding."""
    bad = 0
    for path in sorted(made.iterdir()):
        old = here / path.name
        if not old.exists():
            print(f"{path.name}: not here")
            bad += 1
        elif old.read_bytes() == path.read_bytes():
            continue
        elif path.suffix == ".json":
            print(f"{path.name}: differs")
            bad += 1
        else:
            a, b = load_file(old), load_file(path)
            if a.keys() != b.keys():
                print(f"{path.name}: other tensors")
                bad += 1
                continue
            with safe_open(old, "pt") as f, safe_open(path, "pt") as g:
                about = "" if f.metadata() == g.metadata() else ", other metadata"
            worst, name = 0.0, ""
            for k in a:
                if torch.equal(a[k].nan_to_num(), b[k].nan_to_num()):
                    continue
                d = (a[k].double() - b[k].double()).abs().max() / max(1e-30, a[k].double().abs().max())
                worst, name = max((worst, name), (d.item(), k))
            limit = 1e-3
            print(f"{path.name}: largest difference {worst:.1e} of the tensor's largest value ({name}){about}")
            bad += not worst <= limit
    return bad


def main():
    parser = argparse.ArgumentParser(description="Writes the golden files.")
    parser.add_argument("--check", action="store_true", help="compare with the files here instead of writing them")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    mpmath.mp.dps = 50
    with tempfile.TemporaryDirectory() as temporary:
        writer = Writer(temporary if args.check else HERE)
        for make in (
            make_nets,
            make_training,
            make_tuning,
            make_schedules,
            make_batch_norm,
            make_activations,
            make_losses,
        ):
            make(writer)
        print(f"{'':<36} {writer.total:>8} bytes in all")
        if not args.check:
            return 0
        bad = compare(Path(temporary), HERE)
        print("all files are the same" if bad == 0 else f"{bad} files differ")
        return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
