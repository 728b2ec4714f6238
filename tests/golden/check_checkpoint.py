#!/usr/bin/env python3
"""Opens a checkpoint of evenkeel in PyTorch and prints what the network answers.

    python check_checkpoint.py model.safetensors \\
        --net "dense(32) bn relu dropout(0.2) dense(10)" --inputs 64 --input x.npy

The net text names one module of `nn.Sequential` per word, in order, so the words number the tensors: the text
above has `0.weight`, `0.bias`, `1.weight`, `1.bias`, `1.running_mean`, `1.running_var`, `1.num_batches_tracked`
and `4.weight`, `4.bias`. The file must hold exactly these tensors (`load_state_dict(strict=True)`), with dense
weights as [outputs, inputs]. Tensors that are no part of the network (optimiser state, counters) are left out only
if asked for: `--prefix model.` takes the names that begin so and cuts the prefix off, `--skip optim.` drops
names that begin so. What was dropped is printed.

Words: dense(N[, bias=false])  bn([eps=1e-5][, momentum=0.1|none][, affine=false])  relu  leaky_relu(0.01)
sigmoid  tanh  gelu  silu  softmax  log_softmax  dropout(P)  elu(1)  selu  celu(1)  gelu_tanh  softplus(1)  softsign
hard_sigmoid  hard_swish  relu6  mish  thresholded_relu(THETA)  prelu([shared=true][, init=0.25])

`--expect y.npy` compares with evenkeel's own outputs, `--save FILE` writes the loaded state_dict back, for the
way from PyTorch to evenkeel, and `--output FILE` writes the outputs as .npy.

Needs: pip install torch numpy safetensors
Exit code: 0 right, 1 a difference above the tolerance, 2 not a checkpoint of this net (or bad arguments).
"""

import argparse
import re
import sys

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

WORD = re.compile(r"\s*([a-z][a-z0-9_]*)(?:\(([^()]*)\))?(?=\s|$)")
CONSTANTS = {"true": True, "false": False, "none": None}


class NetError(ValueError):
    """A net text that cannot be read."""


def value(text):
    """A number, `true`, `false` or `none`."""
    if text in CONSTANTS:
        return CONSTANTS[text]
    try:
        return float(text)
    except ValueError:
        raise NetError(f"{text!r} is no number") from None


def words(net):
    """Splits a net text into (name, positional arguments, named arguments)."""
    at = 0
    net = net.strip()
    while at < len(net):
        match = WORD.match(net, at)
        if not match:
            raise NetError(f"cannot read the net text at {net[at:]!r}")
        positional, named = [], {}
        for argument in filter(None, (a.strip() for a in (match[2] or "").split(","))):
            key, equals, right = (part.strip() for part in argument.partition("="))
            if equals:
                named[key] = value(right)
            else:
                positional.append(value(key))
        yield match[1], positional, named
        at = match.end()


def build(net, inputs):
    """The `nn.Sequential` of a net text."""

    def bn(width, eps=1e-5, momentum=0.1, affine=True):
        return nn.BatchNorm1d(width, eps=eps, momentum=momentum, affine=affine)

    simple = {
        "relu": nn.ReLU,
        "leaky_relu": lambda slope=0.01: nn.LeakyReLU(slope),
        "sigmoid": nn.Sigmoid,
        "tanh": nn.Tanh,
        "gelu": nn.GELU,  # exact, through erf
        "silu": nn.SiLU,
        "elu": nn.ELU,
        "selu": nn.SELU,
        "celu": nn.CELU,
        "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
        "softplus": nn.Softplus,
        "softsign": nn.Softsign,
        "hard_sigmoid": nn.Hardsigmoid,
        "hard_swish": nn.Hardswish,
        "relu6": nn.ReLU6,
        "mish": nn.Mish,
        "thresholded_relu": lambda theta: nn.Threshold(theta, 0.0),
        "softmax": lambda: nn.Softmax(dim=1),
        "log_softmax": lambda: nn.LogSoftmax(dim=1),
        "dropout": lambda p: nn.Dropout(p),
    }
    modules, width = [], inputs
    for name, positional, named in words(net):
        try:
            if name == "dense":
                out = int(positional.pop(0))
                modules.append(nn.Linear(width, out, *positional, **named))
                width = out
            elif name == "prelu":
                shared = named.pop("shared", True)
                modules.append(nn.PReLU(1 if shared else width, *positional, **named))
            elif name == "bn":
                modules.append(bn(width, *positional, **named))
            elif name in simple:
                modules.append(simple[name](*positional, **named))
            else:
                raise NetError(f"no layer is called {name!r}")
        except (TypeError, IndexError):
            raise NetError(f"wrong arguments for {name!r}") from None
    return nn.Sequential(*modules)


def select(tensors, prefix, skip):
    """The tensors of the network, and the names of all others."""
    chosen, dropped = {}, []
    for name in sorted(tensors):
        if not name.startswith(prefix) or any(name.startswith(s) for s in skip):
            dropped.append(name)
        else:
            chosen[name[len(prefix) :]] = tensors[name]
    return chosen, dropped


def refuse(message):
    print(f"error: {message}", file=sys.stderr)
    return 2


def main():
    parser = argparse.ArgumentParser(description="Opens a checkpoint of evenkeel in PyTorch.")
    parser.add_argument("checkpoint")
    parser.add_argument("--net", required=True, help='such as "dense(32) bn relu dense(10)"')
    parser.add_argument("--inputs", required=True, type=int, help="number of input features")
    parser.add_argument("--input", help=".npy, f32 [rows, inputs]; without it only the names and shapes are checked")
    parser.add_argument("--prefix", default="", help="take only tensors whose name begins so")
    parser.add_argument("--skip", action="append", default=[], metavar="PREFIX", help="drop tensors whose name begins so")
    parser.add_argument("--double", action="store_true", help="compute in float64")
    parser.add_argument("--expect", help=".npy with evenkeel's outputs for the same input")
    parser.add_argument("--tolerance", type=float, default=2e-5, help="of --expect, relative to the largest output")
    parser.add_argument("--output", help=".npy to write")
    parser.add_argument("--save", help="write the loaded state_dict to this .safetensors")
    args = parser.parse_args()

    torch.set_num_threads(1)
    try:
        model = build(args.net, args.inputs)
        tensors, dropped = select(load_file(args.checkpoint), args.prefix, args.skip)
        model.load_state_dict(tensors, strict=True)
        rows = None if args.input is None else np.load(args.input)
        expected = None if args.expect is None else np.load(args.expect)
    except (NetError, OSError, ValueError, RuntimeError, SafetensorError) as error:
        return refuse(error)
    for name in dropped:
        print(f"not loaded: {name}", file=sys.stderr)
    state = model.state_dict()
    for name, tensor in state.items():
        # Even strict=True lets num_batches_tracked be absent (old files have none) and copies any dtype, an f16
        # or f64 file too, into the module's own: both deserve a word.
        if name not in tensors:
            print(f"note: {name} is not in the file", file=sys.stderr)
        elif tensors[name].dtype != tensor.dtype:
            print(f"note: {name} is {tensors[name].dtype} in the file, {tensor.dtype} here", file=sys.stderr)
    print(f"loaded {len(state)} tensors, {sum(p.numel() for p in model.parameters())} parameters", file=sys.stderr)
    if args.save:
        save_file(state, args.save)

    if rows is None:
        return 0
    if rows.ndim != 2 or rows.shape[1] != args.inputs:
        return refuse(f"{args.input} has shape {rows.shape}, not (rows, {args.inputs})")
    dtype = torch.float64 if args.double else torch.float32
    model = model.to(dtype).eval()
    with torch.no_grad():
        output = model(torch.from_numpy(rows.astype(np.float32)).to(dtype)).numpy()
    if args.output:
        np.save(args.output, output)
    for row in output:
        print(" ".join(repr(float(v)) if args.double else np.format_float_scientific(v, trim="-") for v in row))
    if expected is not None:
        if expected.shape != output.shape:
            return refuse(f"{args.expect} has shape {expected.shape}, the outputs have {output.shape}")
        a, b = expected.astype(np.float64), output.astype(np.float64)
        with np.errstate(invalid="ignore"):
            error = np.abs(a - b) / max(np.abs(b).max(initial=0.0), 1e-30)
        error[(a == b) | (np.isnan(a) & np.isnan(b))] = 0.0
        print(f"largest difference {error.max(initial=0.0):.3e}, tolerance {args.tolerance:.1e}", file=sys.stderr)
        # A NaN on one side only is a difference too, so ask for "all within", not "any beyond".
        if not (error <= args.tolerance).all():
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
