#!/usr/bin/env python3
"""Writes `units.safetensors`: the less usual activations, from PyTorch and Keras and in 50 digits.

    pip install torch keras numpy safetensors mpmath
    KERAS_BACKEND=torch python tests/golden/make_activations.py

As `make.py`, whose inputs it takes: names with `64` are the truth, in 50 digits from the float32 inputs, rounded once. PyTorch's
float64 (and Keras' where it has the function) must agree with it; what they answer in float32 is stored beside it.
"""

import sys
from pathlib import Path

import keras
import mpmath
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
from check_checkpoint import build  # noqa: E402
from make import F32, F64, HERE, Writer, clip_exp, close, extremes, f32, mp_sigmoid, mp_softplus, mp_tanh  # noqa: E402

mpmath.mp.dps = 50
M = mpmath.mpf
SCALE, ALPHA = M("1.0507009873554804934193349852946"), M("1.6732632423543772848170429916717")


def mp_exp(x):
    return mpmath.exp(clip_exp(x))


def ramp(x):
    return min(max(x + 3, M(0)), M(6)) / 6


def gelu_tanh(x):
    x = clip_exp(x)
    c = mpmath.sqrt(2 / mpmath.pi)
    inner, slope = c * (x + M("0.044715") * x**3), c * (1 + 3 * M("0.044715") * x**2)
    below = mp_sigmoid(2 * clip_exp(inner))
    return x * below, below + 2 * x * slope * below * mp_sigmoid(-2 * clip_exp(inner))


def mish(x):
    z = clip_exp(x)
    t = mp_tanh(mp_softplus(z))
    # 1 - t² from the other side, where it would cancel.
    rest = 1 / mpmath.cosh(mp_softplus(z)) ** 2
    if z < 0:
        e = mpmath.exp(z)
        t = e * (e + 2) / (e * (e + 2) + 2)
    return x * t, t + z * mp_sigmoid(z) * rest


def elu(alpha, factor=M(1)):
    a = M(alpha) if isinstance(alpha, float) else alpha
    value = lambda x: factor * (x if x > 0 else a * mpmath.expm1(clip_exp(x)))
    return value, lambda x: factor * (M(1) if x > 0 else a * mp_exp(x))


def celu(alpha):
    a = M(alpha)
    value = lambda x: x if x > 0 else a * mpmath.expm1(clip_exp(x / a))
    return value, lambda x: M(1) if x > 0 else mp_exp(x / a)


def softplus(beta):
    b = M(beta)
    return lambda x: max(x, M(0)) + mpmath.log1p(mp_exp(-abs(b * x))) / b, lambda x: mp_sigmoid(clip_exp(b * x))


def single(alpha):
    """A parameter as the float32 that both sides are given."""
    return float(np.float32(alpha))


def elementwise():
    """name -> ((value, derivative), PyTorch's function, Keras' or None)."""
    k = keras.activations
    step = lambda condition: M(1) if condition else M(0)
    table = {
        "elu": (elu(1.0), F.elu, k.elu),
        "elu_0.3": (elu(single(0.3)), nn.ELU(single(0.3)), lambda x: k.elu(x, single(0.3))),
        "selu": (elu(ALPHA, SCALE), F.selu, k.selu),
        "celu": (celu(1.0), F.celu, k.celu),
        "celu_2.5": (celu(2.5), nn.CELU(2.5), lambda x: k.celu(x, 2.5)),
        "gelu_tanh": (
            (lambda x: gelu_tanh(x)[0] if x < 100 else x, lambda x: gelu_tanh(x)[1]),
            lambda x: F.gelu(x, approximate="tanh"),
            lambda x: k.gelu(x, approximate=True),
        ),
        "softplus": (softplus(1.0), F.softplus, k.softplus),
        "softplus_2": (softplus(2.0), nn.Softplus(beta=2.0), None),
        "softplus_0.7": (softplus(single(0.7)), nn.Softplus(beta=single(0.7)), None),
        "softsign": ((lambda x: x / (1 + abs(x)), lambda x: 1 / (1 + abs(x)) ** 2), F.softsign, k.softsign),
        "hard_sigmoid": ((ramp, lambda x: step(-3 < x < 3) / 6), F.hardsigmoid, k.hard_sigmoid),
        "hard_swish": (
            (lambda x: x * ramp(x), lambda x: M(0) if x <= -3 else M(1) if x >= 3 else x / 3 + M(1) / 2),
            F.hardswish,
            k.hard_silu,
        ),
        "relu6": ((lambda x: min(max(x, M(0)), M(6)), lambda x: step(0 < x < 6)), F.relu6, k.relu6),
        "mish": ((lambda x: mish(x)[0], lambda x: mish(x)[1]), F.mish, k.mish),
        "thresholded_relu_1": (
            (lambda x: x if x > 1 else M(0), lambda x: step(x > 1)),
            nn.Threshold(1.0, 0.0),
            lambda x: k.threshold(x, 1.0, 0.0),
        ),
    }
    return table


def prelu(x, dy, slopes):
    """PyTorch's module on rows: outputs, gradients of the inputs and of the slopes."""
    module = nn.PReLU(len(slopes)).to(x.dtype)
    module.load_state_dict({"weight": torch.as_tensor(slopes, dtype=x.dtype)})
    leaf = x.clone().requires_grad_()
    y = module(leaf)
    y.backward(dy)
    return y, leaf.grad, module.weight.grad


def main():
    rng = np.random.default_rng(4100)
    grid = np.concatenate([extremes(), np.float32(np.linspace(-12.0, 12.0, 193)), np.float32(rng.standard_normal(64))])
    # Where derivatives jump PyTorch's own kernels disagree with each other, so no input is 3 or 6 exactly.
    grid = grid[~np.isin(np.abs(grid), [3.0, 6.0])]
    x, dy = f32(grid), f32(rng.standard_normal(len(grid)))
    tensors = {"x": x, "dy": dy}
    worst = {}
    for name, ((value, derivative), function, in_keras) in elementwise().items():
        points = [M(float(v)) for v in grid]
        y64 = [float(value(p)) for p in points]
        dx64 = [float(derivative(p) * M(float(g))) for p, g in zip(points, dy.tolist())]
        for dtype in (F64, F32):
            leaf = x.detach().clone().to(dtype).requires_grad_()
            y = function(leaf)
            y.backward(dy.to(dtype))
            if dtype == F64:
                # Beyond its threshold PyTorch's softplus leaves out less than 3e-9 of the result.
                atol = 3e-9 if "softplus" in name else 1e-13
                # Its sixth is one of float32, whatever the type.
                rtol = 1e-7 if "hard" in name else 1e-12
                close(f"{name} value", y64, y, rtol, atol)
                close(f"{name} gradient", dx64, leaf.grad, rtol, atol)
            else:
                tensors[f"{name}.y"], tensors[f"{name}.dx"] = y.detach(), leaf.grad
                truth = torch.tensor(y64)
                size = truth.abs().clamp(min=1e-30)
                worst[name] = float(((y.detach().double() - truth).abs() / size)[truth.abs() < 1e38].max())
        if in_keras is not None:
            # Keras computes in float32, or in float64 with constants of float32; its hard SiLU overflows at 3.4e38.
            theirs = torch.as_tensor(keras.ops.convert_to_numpy(in_keras(x)))
            near = x.abs() < 1e38
            close(f"{name} in Keras", torch.tensor(y64)[near], theirs[near], rtol=2e-5, atol=2e-6)
        tensors[f"{name}.y64"] = torch.tensor(y64, dtype=F64)
        tensors[f"{name}.dx64"] = torch.tensor(dx64, dtype=F64)
    for case, shared in (("shared", True), ("each", False)):
        for rows, features in ((1, 1), (7, 5), (33, 37)):
            x, dy = f32(2 * rng.standard_normal((rows, features))), f32(rng.standard_normal((rows, features)))
            slopes = f32(rng.uniform(-0.5, 1.5, 1 if shared else features))
            key = f"prelu.{case}.{rows}x{features}"
            results = dict(zip(("y64", "dx64", "dslope64"), prelu(x.double(), dy.double(), slopes.double())))
            results.update(zip(("y", "dx", "dslope"), prelu(x, dy, slopes)))
            tensors.update({f"{key}.{part}": result for part, result in results.items()})
            tensors.update({f"{key}.x": x, f"{key}.upstream": dy, f"{key}.slopes": slopes})
    # A network with both kinds, its state_dict and what it answers in float64.
    net, inputs = "dense(9) bn prelu dense(20) prelu(shared=false) softplus(2) dense(3) gelu_tanh", 6
    torch.manual_seed(4200)
    model = build(net, inputs)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.dtype == F32:
                # Slopes of either sign and size; variances stay positive.
                value.copy_(f32(rng.uniform(0.5, 1.5, value.shape) if "var" in name else rng.normal(0, 0.6, value.shape)))
    state = model.state_dict()
    state["1.num_batches_tracked"] += 7
    x = f32(rng.standard_normal((40, inputs)))
    with torch.no_grad():
        output, output64 = model.eval()(x), model.double().eval()(x.double())
    writer = Writer(HERE)
    off = float(f"{((output - output64).abs().max() / output64.abs().max()).item():.1e}")
    about = {"net": net, "inputs": inputs, "float32_error": off}
    writer.tensors("prelu.safetensors", {k: v.float() if v.is_floating_point() else v for k, v in state.items()}, about)
    writer.tensors("prelu.cases.safetensors", {"input": x, "output": output, "output64": output64}, about)
    about = {"elementwise": list(elementwise()), "keras": keras.__version__, "float32_error": worst}
    writer.tensors("units.safetensors", tensors, about)


if __name__ == "__main__":
    main()
