"""A client of a federation that trains a dense network: example.py URL TOKEN ROWS.csv [STATE]."""

import sys

import numpy as np

from truststram_fl import Client, Over

url, token, rows = sys.argv[1:4]
table = np.loadtxt(rows, delimiter=",", dtype=str)
features, names = table[:, :-1].astype(np.float32), table[:, -1]
client = Client(url, token, samples=len(table), state=(sys.argv[4:] or ["truststram-client"])[0])


def train(weights, about, task, random=np.random.default_rng(1)):
    """Gradient descent on the rows; the weights after it, and the mean loss."""
    weights = {name: value.copy() for name, value in weights.items()}
    scaled = about["preprocessing"]
    inputs = (features - np.float32(scaled["mean"])) * np.float32(scaled["scale"])
    labels = np.array([about["classes"].index(name) for name in names])
    layers = [(f"layers.{i}.weight", f"layers.{i}.bias") for i in range(len(about["layers"]) - 1)]
    losses = []
    for _ in range(task["local_epochs"]):
        order = random.permutation(len(inputs))
        for part in np.array_split(order, -(-len(order) // task["batch_size"])):
            values = [inputs[part]]
            for index, (weight, bias) in enumerate(layers):
                value = values[-1] @ weights[weight].T + weights[bias]
                values.append(np.maximum(value, 0) if index < len(layers) - 1 else value)
            scores = np.exp(values[-1] - values[-1].max(axis=1, keepdims=True))
            gradient = scores / scores.sum(axis=1, keepdims=True)
            losses.append(-np.log(gradient[np.arange(len(part)), labels[part]] + 1e-9).mean())
            gradient[np.arange(len(part)), labels[part]] -= 1
            for index in reversed(range(len(layers))):
                weight, bias = layers[index]
                before = (gradient @ weights[weight]) * (values[index] > 0)
                rate = np.float32(task["learning_rate"] / len(part))
                weights[weight] -= rate * gradient.T @ values[index]
                weights[bias] -= rate * gradient.sum(axis=0)
                gradient = before
    return weights, float(np.mean(losses))


try:
    while True:
        if task := client.task():
            before, about = client.model(task)
            after, loss = train(before, about, task)
            counts = client.send(task, before, after, len(table), loss)
            print(f"task {task['task']}: loss {loss:.4f}, {'counts' if counts else 'too late'}", flush=True)
except Over as end:
    print(end, flush=True)
