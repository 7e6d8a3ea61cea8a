"""Owns PyTorch's side: times steps of one network with AdamW, the fastest of its three forms.

Refuses to know what is measured against it. Bound: the threads and seconds of the command line.
"""

import argparse
import json
import time

import torch
from torch import nn


def network(name: str) -> nn.Module:
    if name == "dense":
        return nn.Sequential(nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(),
                             nn.Linear(200, 10))
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 49, 128), nn.ReLU(), nn.Linear(128, 10))


def time_steps(name: str, rows: int, seconds: float, form: dict, channels_last: bool) -> dict:
    torch.manual_seed(1)
    net = network(name)
    if channels_last:
        net = net.to(memory_format=torch.channels_last)
    features = torch.rand(rows, 784) * 2 - 1
    labels = torch.arange(rows) % 10
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, **form)
    criterion = nn.CrossEntropyLoss()

    def step() -> float:
        optimiser.zero_grad(set_to_none=True)
        loss = criterion(net(features), labels)
        loss.backward()
        optimiser.step()
        return loss

    first = step().item()
    for _ in range(40):
        loss = step()
    times = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < 5:
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
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    forms = {"for-each": ({"foreach": True}, False), "fused": ({"fused": True}, False)}
    if arguments.net == "cnn":
        forms["fused, channels last"] = ({"fused": True}, True)
    found = {form: time_steps(arguments.net, arguments.rows, arguments.seconds, *options)
             for form, options in forms.items()}
    best = min(found, key=lambda form: found[form]["median_us"])
    print(json.dumps(found[best] | {"form": best}))


if __name__ == "__main__":
    main()
