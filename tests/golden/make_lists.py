"""A dense layer on index lists, as PyTorch's EmbeddingBag(mode="sum") with a bias computes it: lists.safetensors.

    python tests/golden/make_lists.py

The linear layer on the same rows as zeros and ones must agree, and Keras' CategoryEncoding(output_mode="multi_hot") before a
Dense layer means the same. Outputs and gradients are computed in float64 from float32 weights.
"""

import json
import pathlib

import numpy as np
import torch
from safetensors.numpy import save_file

CASES = {"one": (257, 1, 9), "narrow": (300, 3, 20), "panel": (400, 16, 24), "wide": (260, 20, 270)}


def main():
    tensors, configs = {}, {}
    for number, (name, (inputs, outputs, rows)) in enumerate(CASES.items()):
        random = np.random.default_rng(100 + number)
        lists = [np.sort(random.choice(inputs, size=random.integers(0, inputs // 8), replace=False)) for _ in range(rows)]
        lists[min(3, rows - 1)] = np.arange(0)
        lists[min(5, rows - 1)] = np.arange(inputs)
        weight = torch.tensor(random.normal(size=(outputs, inputs)).astype(np.float32))
        bias = torch.tensor(random.normal(size=outputs).astype(np.float32))
        dy = torch.tensor(random.normal(size=(rows, outputs)).astype(np.float32))
        offsets = np.cumsum([0] + [len(row) for row in lists])
        indices = np.concatenate(lists).astype(np.int64)

        bag = torch.nn.EmbeddingBag(inputs, outputs, mode="sum", include_last_offset=True, dtype=torch.float64)
        bag.weight.data = weight.double().T.contiguous()
        y = bag(torch.tensor(indices), torch.tensor(offsets)) + bias.double()
        y.backward(dy.double())
        gradient = bag.weight.grad.T.contiguous()

        hot = torch.zeros(rows, inputs, dtype=torch.float64)
        for row, columns in enumerate(lists):
            hot[row, torch.tensor(columns)] = 1
        linear = torch.nn.functional.linear(hot, weight.double(), bias.double())
        assert torch.allclose(linear, y, rtol=0, atol=1e-12) and torch.allclose(dy.double().T @ hot, gradient, rtol=0, atol=1e-12)

        tensors |= {
            f"{name}.offsets": offsets.astype(np.int64), f"{name}.indices": indices, f"{name}.weight": weight.numpy(),
            f"{name}.bias": bias.numpy(), f"{name}.dy": dy.numpy(), f"{name}.output64": y.detach().numpy(),
            f"{name}.gradient64": gradient.numpy(),
        }
        configs[name] = {"inputs": inputs, "outputs": outputs, "rows": rows}
    about = {"configs": configs, "versions": {"torch": torch.__version__, "numpy": np.__version__}}
    save_file(tensors, pathlib.Path(__file__).with_name("lists.safetensors"), {"golden": json.dumps(about, sort_keys=True)})


if __name__ == "__main__":
    main()
