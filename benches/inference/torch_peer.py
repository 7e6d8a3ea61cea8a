"""Owns PyTorch's side of the comparison, and scikit-learn's for trees: the same questions on
standard input as the other programs get, one JSON line each, and answers in the same form.

Refuses to know what is measured against it. Bound: eager inference mode, as users run it; one
process per run of the bench.
"""

import json
import os
import pickle
import sys
import threading
import time
from pathlib import Path

import numpy
import torch
from safetensors.numpy import load_file
from torch import nn
from torch.nn import functional

CALLS_MAX = 1_000_000
WIDTH, HEADS = 384, 12


def dense(path: Path) -> nn.Module:
    """The layers of a `.weights` file, ReLU between, softmax at the end."""
    weights = load_file(path)
    layers = []
    for index in range(len(weights) // 2):
        weight, bias = weights[f"layers.{index}.weight"], weights[f"layers.{index}.bias"]
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.weight.data, linear.bias.data = torch.from_numpy(weight), torch.from_numpy(bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1], nn.Softmax(-1))


class Encoder(nn.Module):
    """BERT's encoder with mean pooling, of a Hugging Face folder."""

    def __init__(self, path: Path):
        super().__init__()
        weights = load_file(path / "model.safetensors")
        self.words = nn.Embedding(*weights["embeddings.word_embeddings.weight"].shape)
        self.places = nn.Embedding(*weights["embeddings.position_embeddings.weight"].shape)
        self.types = nn.Embedding(*weights["embeddings.token_type_embeddings.weight"].shape)
        self.words.weight.data = torch.from_numpy(weights["embeddings.word_embeddings.weight"])
        self.places.weight.data = torch.from_numpy(weights["embeddings.position_embeddings.weight"])
        self.types.weight.data = torch.from_numpy(weights["embeddings.token_type_embeddings.weight"])
        self.first = self.filled(nn.LayerNorm(WIDTH, eps=1e-12), weights, "embeddings.LayerNorm")
        self.layers = nn.ModuleList()
        count = sum(name.endswith("intermediate.dense.weight") for name in weights)
        for index in range(count):
            at = f"encoder.layer.{index}"
            names = [f"{at}.attention.self.{part}" for part in ("query", "key", "value")]
            joined = nn.Linear(WIDTH, 3 * WIDTH)
            joined.weight.data = torch.from_numpy(
                numpy.concatenate([weights[f"{name}.weight"] for name in names]))
            joined.bias.data = torch.from_numpy(
                numpy.concatenate([weights[f"{name}.bias"] for name in names]))
            inner = weights[f"{at}.intermediate.dense.weight"].shape[0]
            self.layers.append(nn.ModuleDict({
                "joined": joined,
                "mixed": self.filled(nn.Linear(WIDTH, WIDTH), weights,
                                     f"{at}.attention.output.dense"),
                "norm1": self.filled(nn.LayerNorm(WIDTH, eps=1e-12), weights,
                                     f"{at}.attention.output.LayerNorm"),
                "inner": self.filled(nn.Linear(WIDTH, inner), weights, f"{at}.intermediate.dense"),
                "outer": self.filled(nn.Linear(inner, WIDTH), weights, f"{at}.output.dense"),
                "norm2": self.filled(nn.LayerNorm(WIDTH, eps=1e-12), weights,
                                     f"{at}.output.LayerNorm"),
            }))

    @staticmethod
    def filled(module: nn.Module, weights: dict, name: str) -> nn.Module:
        module.weight.data = torch.from_numpy(weights[f"{name}.weight"])
        module.bias.data = torch.from_numpy(weights[f"{name}.bias"])
        return module

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        rows, length = tokens.shape
        value = self.words(tokens) + self.places.weight[:length] + self.types.weight[0]
        value = self.first(value)
        for layer in self.layers:
            parts = layer["joined"](value).view(rows, length, 3, HEADS, WIDTH // HEADS)
            query, key, content = parts.permute(2, 0, 3, 1, 4)
            mixed = functional.scaled_dot_product_attention(query, key, content)
            mixed = mixed.transpose(1, 2).reshape(rows, length, WIDTH)
            value = layer["norm1"](value + layer["mixed"](mixed))
            inner = functional.gelu(layer["inner"](value))
            value = layer["norm2"](value + layer["outer"](inner))
        return value.mean(1)


def resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def window(seconds: float, call) -> tuple[list[int], float]:
    """As measure.rs: a tenth unmeasured, then each call until the time is over."""
    clock = time.perf_counter_ns
    warm_until = clock() + int(seconds * 1e8)
    call()
    while clock() < warm_until:
        call()
    calls, started = [], clock()
    before, until = started, started + int(seconds * 1e9)
    while before < until and len(calls) < CALLS_MAX:
        call()
        now = clock()
        calls.append(now - before)
        before = now
    return calls, (before - started) / 1e9


def open_model(question: dict):
    """The call that a question is about."""
    rows = question["batch"]
    if "rows" in question:
        values = numpy.load(question["rows"])
        values = numpy.resize(values, (rows, values.shape[1]))
    if "pickle" in question:
        model = pickle.loads(Path(question["pickle"]).read_bytes())
        return lambda: model.predict_proba(values).astype(numpy.float32)
    if "weights" in question:
        model, tensor = dense(Path(question["weights"])), torch.from_numpy(values)
    else:
        count = rows * question["tokens"]
        ids = [(at * 7919 + 13) % 30522 for at in range(count)]
        model, tensor = Encoder(Path(question["folder"])), torch.tensor(ids).view(rows, -1)
    model.eval()
    if question.get("precision") == "int8":
        model = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    return lambda: model(tensor).numpy()


def ask(question: dict) -> dict:
    torch.set_num_threads(question["threads"])
    before, started = resident_bytes(), time.perf_counter()
    call = open_model(question)
    load_ms = (time.perf_counter() - started) * 1e3
    results = [None] * question["clients"]

    def client(index: int) -> None:
        with torch.inference_mode():
            if question["clients"] > 1:
                os.sched_setaffinity(0, {index})
                torch.set_num_threads(question["threads"])
            results[index] = window(question["seconds"], call)

    if question["clients"] == 1:
        client(0)
    else:
        threads = [threading.Thread(target=client, args=(index,)) for index in range(len(results))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with torch.inference_mode():
        output = call()
    calls = sorted(one for window_calls, _ in results for one in window_calls)
    return {
        "calls_per_second": sum(len(one) / seconds for one, seconds in results),
        "p50_us": calls[(len(calls) - 1) // 2] / 1e3,
        "p99_us": calls[int((len(calls) - 1) * 0.99)] / 1e3,
        "load_ms": load_ms, "resident_bytes": max(resident_bytes() - before, 0),
        "output": output.ravel()[:4096].tolist(),
    }


def main() -> None:
    for line in sys.stdin:
        try:
            answer = ask(json.loads(line))
        except Exception as error:  # the run goes on and shows it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
