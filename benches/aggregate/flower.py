"""Flower's side of benches/aggregate.sh: its own strategies on replies in memory.

Owns the replies and the clock. Refuses to change Flower: `aggregate_train` is called as its server
calls it. Bound: one rule in one process, since its peak of memory is measured; prints one line of
JSON and writes the result as raw f32.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg, FedMedian, FedTrimmedAvg, MultiKrum
from flwr.supercore.task_identity import TaskIdentity
from safetensors.numpy import load_file

import rules


def strategy(rule, clients):
    hostile = rules.hostile(clients)
    return {
        "fedavg": FedAvg,
        "median": FedMedian,
        "trimmed-mean": lambda: FedTrimmedAvg(beta=rules.TRIMMED),
        "multi-krum": lambda: MultiKrum(
            num_malicious_nodes=hostile, num_nodes_to_select=clients - hostile
        ),
    }[rule]()


def reply(client, arrays, examples):
    """A reply as the server has it once it is decoded: each array is the bytes of a .npy file."""
    ask = Message(
        RecordDict({"config": ConfigRecord()}), dst_node_id=client + 1, message_type="train"
    )
    content = RecordDict(
        {"arrays": ArrayRecord(arrays), "metrics": MetricRecord({"num-examples": examples})}
    )
    return Message(content, reply_to=ask)


def main():
    folder, rule, clients, repeats, out = sys.argv[1:]
    folder, clients = Path(folder), int(clients)
    identity = {"run_id": 1, "task_id": 1, "node_id": 1}
    for name, value in identity.items():
        if hasattr(TaskIdentity, f"_{name}"):
            setattr(TaskIdentity, f"_{name}", value)
    weights = rules.examples(rule, clients)
    arrays = []
    for client in range(clients):
        tensors = load_file(folder / f"{client}.safetensors")
        arrays.append({name: Array(tensors[name]) for name in sorted(tensors)})
        del tensors
    times = []
    for _ in range(int(repeats)):
        # Some strategies take the arrays out of the replies.
        replies = [reply(i, dict(a), weights[i]) for i, a in enumerate(arrays)]
        chosen = strategy(rule, clients)
        start = time.perf_counter()
        result, _ = chosen.aggregate_train(1, replies)
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    flat = np.concatenate([result[name].numpy().ravel() for name in sorted(result)])
    flat.astype(np.float32).tofile(out)
    print(json.dumps({"seconds": times, "peak_bytes": peak}))


if __name__ == "__main__":
    main()
