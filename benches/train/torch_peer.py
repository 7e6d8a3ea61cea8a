"""Owns PyTorch's side: times steps of one network with AdamW, in the fastest of its forms.

Refuses to know what is measured against it. Bound: the threads and seconds of the command line.
"""

import argparse
import json
import sys
import time

import torch
from torch import nn


TOKENS, VOCABULARY, HIDDEN = 32, 1000, 128


class Encoder(nn.Module):
    """Two layers of 128 with 4 heads and GELU, normalised after each sum, and the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, HIDDEN)
        self.places = nn.Parameter(torch.randn(TOKENS, HIDDEN) * 0.02)
        self.norm = nn.LayerNorm(HIDDEN)
        layer = nn.TransformerEncoderLayer(HIDDEN, 4, 512, dropout=0.0, activation="gelu",
                                           batch_first=True, norm_first=False)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(HIDDEN, 10)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.words(tokens) + self.places)
        return self.head(self.layers(x).mean(1))


def network(name: str) -> nn.Module:
    if name == "encoder":
        return Encoder()
    if name == "dense":
        return nn.Sequential(nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(),
                             nn.Linear(200, 10))
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 49, 128), nn.ReLU(), nn.Linear(128, 10))


def time_steps(name: str, rows: int, seconds: float, form: dict, warm: int) -> dict:
    torch.manual_seed(1)
    net = network(name)
    if form.get("channels_last"):
        net = net.to(memory_format=torch.channels_last)
    if name == "encoder":
        features = torch.randint(0, VOCABULARY, (rows, TOKENS))
    else:
        features = torch.rand(rows, 784) * 2 - 1
    labels = torch.arange(rows) % 10
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, **form["optimiser"])
    if form.get("compile"):
        net = torch.compile(net)
    criterion = nn.CrossEntropyLoss()

    def step() -> float:
        optimiser.zero_grad(set_to_none=True)
        loss = criterion(net(features), labels)
        loss.backward()
        optimiser.step()
        return loss

    first = step().item()
    for _ in range(warm):
        loss = step()
    times = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < 3:
        before = time.perf_counter()
        step()
        times.append(time.perf_counter() - before)
    times.sort()
    return {"median_us": times[len(times) // 2] * 1e6, "least_us": times[0] * 1e6,
            "first_loss": first, "loss": loss.item(), "steps": len(times)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("threads", type=int)
    parser.add_argument("net")
    parser.add_argument("rows", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("look", type=float)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    fused = {"optimiser": {"fused": True}}
    forms = {"for-each": {"optimiser": {"foreach": True}}, "fused": fused,
             "fused, compiled": fused | {"compile": True}}
    if arguments.net == "cnn":
        forms["fused, channels last"] = fused | {"channels_last": True}
    # A short look at each, then the fastest for as long as asked.
    looked = {}
    for form, options in forms.items():
        try:
            looked[form] = time_steps(arguments.net, arguments.rows, arguments.look, options, 3)
        except Exception as error:  # Where nothing compiles, the others are left.
            print(f"{form}: {error}", file=sys.stderr)
    best = min(looked, key=lambda form: looked[form]["median_us"])
    warm = 3 if arguments.net == "encoder" else 40
    found = time_steps(arguments.net, arguments.rows, arguments.seconds, forms[best], warm)
    others = {form: one["median_us"] for form, one in looked.items()}
    print(json.dumps(found | {"form": best, "looked_us": others}))


if __name__ == "__main__":
    main()
