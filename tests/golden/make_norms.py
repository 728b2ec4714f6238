#!/usr/bin/env python3
"""Writes norms.safetensors: dropout's kin, normalisation and averages of weights, as PyTorch and Keras compute them.

    pip install keras torch numpy safetensors mpmath
    python tests/golden/make_norms.py

Made with torch 2.15.0, Keras 3.15.1 (torch back end), numpy 2.4.6 and mpmath 1.3.0. Inputs are float32; names with `64` are
float64 results from them.

Layers that draw random numbers are the libraries' own; only their draws are replaced, by what evenkeel's random words mean
(`words.py`).
"""

import json
import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"
import keras  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.optim import swa_utils  # noqa: E402

from words import normal, word  # noqa: E402

HERE = Path(__file__).resolve().parent
torch.set_num_threads(1)
torch.manual_seed(20261123)
torch.set_default_dtype(torch.float64)
OUT, ABOUT = {}, {}
DROPOUT, NOISE, DROPCONNECT = 4, 48, 49


def single(values):
    """float64 values that a float32 holds exactly."""
    return torch.as_tensor(values).detach().float().double()


def put(name, value):
    value = np.asarray(value.detach() if isinstance(value, torch.Tensor) else value)
    OUT[name] = np.ascontiguousarray(value.astype(np.float64 if name.endswith("64") else np.float32))


SEED, LAYER, STEP, COUNT = 0x123456789, 3, 5, 1000


def noise():
    x, dy = single(torch.randn(COUNT)), single(torch.randn(COUNT))
    put("noise.x", x)
    put("noise.dy", dy)
    z = torch.tensor([normal(word(SEED, NOISE, LAYER, STEP, i)) for i in range(COUNT)])
    put("noise.z64", z)
    words = np.array([word(SEED, DROPOUT, LAYER, STEP, i) for i in range(COUNT)], dtype=np.uint64)
    random = keras.src.backend.random
    random.normal = lambda shape, mean=0.0, stddev=1.0, dtype=None, seed=None: mean + stddev * z.reshape(tuple(shape))

    def through(layer, name):
        a = x.clone().requires_grad_(True)
        y = layer(a, training=True)
        y.backward(dy)
        put(f"{name}.y64", y)
        put(f"{name}.dx64", a.grad)

    for rate in (0.1, 0.5, 0.9):
        through(keras.layers.GaussianDropout(float(np.float32(rate)), dtype="float64"), f"noise.gaussian_dropout.{rate}")
    for stddev in (0.1, 1.0):
        through(keras.layers.GaussianNoise(float(np.float32(stddev)), dtype="float64"), f"noise.gaussian_noise.{stddev}")
    for rate in (0.05, 0.3, 0.8):
        rate32 = float(np.float32(rate))
        kept = words < np.uint64(int((1 - rate32) * 2**32))
        random.uniform = lambda *a, **k: torch.as_tensor(kept.astype(float))  # noqa: B023
        through(keras.layers.AlphaDropout(rate32, dtype="float64"), f"noise.alpha_dropout.{rate}")
        # PyTorch draws by itself: its answer for each element kept, and dropped.
        answers = {}
        while len(answers) < 2:
            y = F.alpha_dropout(x, rate32, training=True)
            dropped = torch.mode(y).values
            answers["dropped"] = torch.full_like(x, dropped.item())
            kept_now = y != dropped
            known = answers.get("kept", torch.full_like(x, float("nan")))
            known = torch.where(kept_now, y, known)
            answers["kept"] = known
            if torch.isnan(known).any():
                saved = known
                while torch.isnan(saved).any():
                    y = F.alpha_dropout(x, rate32, training=True)
                    saved = torch.where((y != dropped) & torch.isnan(saved), y, saved)
                answers["kept"] = saved
        put(f"noise.alpha_dropout.{rate}.torch_kept64", answers["kept"])
        put(f"noise.alpha_dropout.{rate}.torch_dropped64", answers["dropped"])


def position(inputs, outputs, output, number):
    """The place of a weight in panels of sixteen outputs; the last panel is as narrow as a multiple of four allows."""
    panel = output // 16
    width = min((outputs + 3) // 4 * 4 - panel * 16, 16)
    return panel * 16 * inputs + number * width + output % 16


def dropconnect():
    for case, (inputs, outputs, rate) in enumerate([(7, 5, 0.5), (20, 18, 0.2), (3, 33, 0.75)]):
        rows = 6
        x, t = single(torch.randn(rows, inputs)), single(torch.randn(rows, outputs))
        w, b = single(torch.randn(outputs, inputs)), single(torch.randn(outputs))
        w.requires_grad_(True)
        b.requires_grad_(True)
        rate32 = float(np.float32(rate))
        keep = int((1 - rate32) * 2**32)
        mask = torch.tensor([[float(word(SEED, DROPCONNECT, 0, STEP, position(inputs, outputs, o, i)) < keep)
                              for i in range(inputs)] for o in range(outputs)])
        # PyTorch's own dropout of the weights scales so.
        loss = F.mse_loss(F.linear(x, w * mask / (1 - rate32), b), t)
        loss.backward()
        for name, value in {"x": x, "t": t, "w": w, "b": b, "loss64": loss.reshape(1), "dw64": w.grad, "db64": b.grad}.items():
            put(f"dropconnect.{case}.{name}", value)
        ABOUT[f"dropconnect.{case}"] = {"rate": rate, "seed": SEED, "step": STEP}


def layer_norm():
    shapes = [(5, 7, 0.0, 1.0), (3, 16, 3.0, 0.1), (4, 33, -50.0, 20.0), (6, 100, 1e6, 1.0), (2, 1, 1.0, 1.0), (3, 300, 0.0, 1e-3)]
    for case, (rows, cols, mean, scale) in enumerate(shapes):
        x = single(mean + scale * torch.randn(rows, cols))
        dy = single(torch.randn(rows, cols))
        gamma, beta = single(1 + 0.3 * torch.randn(cols)), single(0.3 * torch.randn(cols))
        for name, value in {"x": x, "dy": dy, "gamma": gamma, "beta": beta}.items():
            put(f"ln.{case}.{name}", value)
        for dialect, eps in (("torch", float(np.float32(1e-5))), ("keras", float(np.float32(1e-3)))):
            if dialect == "keras" and abs(mean) > 1e3:
                # Keras takes the mean in float32 whatever the layer's type: off by 5e-2 here.
                continue
            a = x.clone().requires_grad_(True)
            if dialect == "torch":
                layer = nn.LayerNorm(cols, eps=eps)
                layer.weight.data, layer.bias.data = gamma.clone(), beta.clone()
                weight, bias = layer.weight, layer.bias
                y = layer(a)
            else:
                layer = keras.layers.LayerNormalization(epsilon=eps, dtype="float64")
                layer.build((None, cols))
                layer.gamma.assign(gamma)
                layer.beta.assign(beta)
                weight, bias = layer.gamma.value, layer.beta.value
                y = layer(a)
            y.backward(dy)
            for name, value in {"y64": y, "dx64": a.grad, "dgamma64": weight.grad, "dbeta64": bias.grad}.items():
                put(f"ln.{case}.{dialect}.{name}", value)


# Networks in training.

class Ghost(nn.BatchNorm1d):
    """`nn.BatchNorm1d` on each ghost batch; a last one of a single row joins the one before."""

    def __init__(self, width, ghost):
        super().__init__(width)
        self.ghost = ghost

    def forward(self, x):
        if not self.training:
            return super().forward(x)
        count = max(1, -(-(len(x) - 1) // self.ghost))
        ends = [self.ghost * (i + 1) for i in range(count - 1)] + [len(x)]
        parts = [x[a:b] for a, b in zip([0] + ends, ends)]
        return torch.cat([super(Ghost, self).forward(part) for part in parts])


class Renorm(nn.BatchNorm1d):
    """The formulae of arXiv 1702.03275, section 3; r and d are constants of the gradient."""

    def __init__(self, width, r_max, d_max, start, r_end, d_end):
        super().__init__(width)
        self.limits, self.step = (r_max, d_max, start, r_end, d_end), 0

    def forward(self, x):
        r_max, d_max, start, r_end, d_end = self.limits
        share = lambda end: min(max((self.step - start) / (end - start), 0.0), 1.0)  # noqa: E731
        r_max, d_max = 1 + (r_max - 1) * share(r_end), d_max * share(d_end)
        mean, var = x.mean(0), x.var(0, unbiased=False)
        sigma, running = (var + self.eps).sqrt(), (self.running_var + self.eps).sqrt()
        r = (sigma / running).detach().clamp(1 / r_max, r_max)
        d = ((mean - self.running_mean) / running).detach().clamp(-d_max, d_max)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(x.var(0, unbiased=True), self.momentum)
            self.num_batches_tracked += 1
        self.step += 1
        return self.weight * ((x - mean) / sigma * r + d) + self.bias


def start(model):
    """Parameters and statistics that a float32 holds."""
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            noise = 0.2 * torch.randn_like(value) if "weight" in name and value.dim() == 1 else 0
            value.copy_(single(value + noise))
    return model


def store(model, prefix, end=""):
    for name, value in model.state_dict().items():
        put(f"{prefix}.{name}{end}", value.reshape(-1) if value.dim() == 0 else value)


def train(name, net, model, features, classes, rows, steps, lr):
    start(model)
    model.train()
    for module in model:
        if getattr(module, "frozen", False):
            module.running_mean.copy_(single(torch.randn(module.num_features)))
            module.running_var.copy_(single(0.5 + torch.rand(module.num_features)))
            module.num_batches_tracked += 3
            module.eval()
    store(model, f"{name}.init")
    x = single(torch.randn(steps, rows, features))
    y = torch.randint(0, classes, (steps, rows))
    put(f"{name}.x", x)
    put(f"{name}.y", y)
    losses = []
    for step in range(steps):
        model.zero_grad()
        loss = F.cross_entropy(model(x[step]), y[step])
        loss.backward()
        losses.append(loss.item())
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= lr * parameter.grad
    put(f"{name}.losses64", np.array(losses))
    store(model, f"{name}.final", "64")
    ABOUT[name] = {"net": net, "lr": lr}


def networks():
    lr = float(np.float32(0.05))
    frozen = nn.BatchNorm1d(6)
    frozen.frozen = True
    train("frozen", "dense(6) bn(frozen=true) relu dense(5) bn dense(3)",
          nn.Sequential(nn.Linear(4, 6), frozen, nn.ReLU(), nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)), 4, 3, 20, 6, lr)
    train("ghost", "dense(18) bn(ghost=8) relu dense(3)",
          nn.Sequential(nn.Linear(4, 18), Ghost(18, 8), nn.ReLU(), nn.Linear(18, 3)), 4, 3, 26, 5, lr)
    train("ghost_joined", "bn(ghost=8) dense(3)", nn.Sequential(Ghost(5, 8), nn.Linear(5, 3)), 5, 3, 25, 5, lr)
    train("renorm", "dense(18) bn(renorm=true, r_max=1.5, d_max=0.5, renorm_from=1, r_until=4, d_until=6) tanh dense(3)",
          nn.Sequential(nn.Linear(4, 18), Renorm(18, 1.5, 0.5, 1, 4, 6), nn.Tanh(), nn.Linear(18, 3)), 4, 3, 24, 8, lr)
    train("layer_norm", "dense(18) ln relu dense(5) ln dense(3)",
          nn.Sequential(nn.Linear(4, 18), nn.LayerNorm(18), nn.ReLU(), nn.Linear(18, 5), nn.LayerNorm(5), nn.Linear(5, 3)),
          4, 3, 24, 8, lr)


def averages():
    rows, batch, epochs, lr = 70, 16, 9, float(np.float32(0.1))
    x, y = single(torch.randn(rows, 4) * 2 + 1), torch.randint(0, 3, (rows,))
    put("average.x", x)
    put("average.y", y)
    batches = [(x[i:i + batch], y[i:i + batch]) for i in range(0, rows, batch)]
    model = start(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)))
    store(model, "average.init")
    decay = 0.9
    swa = swa_utils.AveragedModel(model)
    ema = swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(decay))
    for epoch in range(epochs):
        model.train()
        for inputs, labels in batches:
            model.zero_grad()
            F.cross_entropy(model(inputs), labels).backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= lr * parameter.grad
            ema.update_parameters(model)
        if epoch >= 4:
            swa.update_parameters(model)
    store(model, "average.weights", "64")
    for name, averaged in (("swa", swa), ("ema", ema)):
        swa_utils.update_bn(batches, averaged)
        store(averaged.module, f"average.{name}", "64")
    ABOUT["average"] = {"net": "dense(8) bn relu dense(3)", "lr": lr, "batch": batch, "epochs": epochs, "from": 4, "decay": decay}
    # The statistics of a network of its own, over the same rows.
    model = start(nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)))
    store(model, "recalibrate.init")
    for size in (16, 70):
        swa_utils.update_bn([(x[i:i + size],) for i in range(0, rows, size)], model)
        store(model, f"recalibrate.{size}", "64")
    ABOUT["recalibrate"] = {"net": "bn dense(8) bn relu dense(3)"}
    # Keras' average of a variable that its optimiser moves.
    steps, width = 12, 37
    variable = keras.Variable(single(torch.randn(width)).numpy(), dtype="float64")
    gradients = torch.randn(steps, width)
    optimizer = keras.optimizers.SGD(learning_rate=1.0, use_ema=True, ema_momentum=decay)
    optimizer.build([variable])
    seen, average = [], []
    for gradient in gradients:
        # Weights that a float32 holds, so that both take in the same.
        target = single(variable.value.detach() - gradient)
        optimizer.apply([variable.value.detach() - target])
        variable.assign(target)
        seen.append(target)
        average.append(optimizer._model_variables_moving_average[0].value.detach().clone())
    put("keras_ema.weights", torch.stack(seen))
    put("keras_ema.average64", torch.stack(average))


noise()
dropconnect()
layer_norm()
networks()
averages()
ABOUT["versions"] = {"torch": torch.__version__, "keras": keras.__version__, "numpy": np.__version__}
save_file(OUT, HERE / "norms.safetensors", metadata={"golden": json.dumps(ABOUT, sort_keys=True)})
print(f"{len(OUT)} tensors")
