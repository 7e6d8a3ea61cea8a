"""Owns the answers of PyTorch that the tests of training are held against: trajectories of
optimisers, OneCycleLR, losses with their gradients.

Refuses to know this engine. Bound: one JSON file of some tens of kilobytes. Run with torch
installed: `python tests/golden/make_training.py > tests/golden/training/torch.json`.
"""

import json

import torch

STEPS = 12
COUNT = 19


def numbers(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator)


def listed(tensor: torch.Tensor) -> list[float]:
    return [float(f"{value:.9g}") for value in tensor.detach().flatten().tolist()]


def optimisers() -> list[dict]:
    adamw = {"kind": "adamw", "learning_rate": 0.01, "beta1": 0.9, "beta2": 0.99,
             "epsilon": 1e-8, "weight_decay": 0.1, "amsgrad": False}
    sgd = {"kind": "sgd", "learning_rate": 0.05, "momentum": 0.9, "nesterov": False,
           "weight_decay": 0.01}
    cases = [adamw, adamw | {"amsgrad": True}, adamw | {"weight_decay": 0.0}, sgd,
             sgd | {"nesterov": True}, sgd | {"momentum": 0.0}]
    found = []
    for spec in cases:
        generator = torch.Generator().manual_seed(7)
        weights = torch.nn.Parameter(numbers(generator, COUNT))
        common = {"lr": spec["learning_rate"], "weight_decay": spec["weight_decay"]}
        if spec["kind"] == "adamw":
            optimiser = torch.optim.AdamW([weights], betas=(spec["beta1"], spec["beta2"]),
                                          eps=spec["epsilon"], amsgrad=spec["amsgrad"], **common)
        else:
            optimiser = torch.optim.SGD([weights], momentum=spec["momentum"],
                                        nesterov=spec["nesterov"], **common)
        case = {"spec": spec, "first": listed(weights), "gradients": [], "weights": []}
        for step in range(STEPS):
            # Gradients that shrink show what AMSGrad is for.
            weights.grad = numbers(generator, COUNT) / (1 + step)
            case["gradients"].append(listed(weights.grad))
            optimiser.step()
            case["weights"].append(listed(weights))
        found.append(case)
    return found


def one_cycle() -> list[dict]:
    found = []
    for steps, rise, start, end in [(10, 0.3, 25.0, 1e4), (37, 0.45, 10.0, 100.0)]:
        weights = torch.nn.Parameter(torch.zeros(1))
        optimiser = torch.optim.AdamW([weights], lr=1.0, betas=(0.9, 0.999))
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=0.02, total_steps=steps, pct_start=rise, div_factor=start,
            final_div_factor=end)
        rates, momenta = [], []
        for step in range(steps):
            rates.append(optimiser.param_groups[0]["lr"])
            momenta.append(optimiser.param_groups[0]["betas"][0])
            optimiser.step()
            if step + 1 < steps:
                schedule.step()
        found.append({"rate": 0.02, "steps": steps, "rates": rates, "momenta": momenta,
                      "schedule": {"kind": "one_cycle", "rise": rise, "start_divisor": start,
                                   "end_divisor": end, "momentum": [0.85, 0.95]}})
    return found


def losses() -> list[dict]:
    generator = torch.Generator().manual_seed(9)
    rows, outputs = 6, 4
    classes = torch.randint(0, outputs, (rows,), generator=generator)
    weights = torch.tensor([0.5, 2.0, 1.0, 1.5])
    wide = numbers(generator, rows, outputs) * 3
    target = numbers(generator, rows, outputs)
    one = numbers(generator, rows, 1) * 4
    binary = (torch.arange(rows) % 2).float()
    functional = torch.nn.functional
    cases = [
        ({"kind": "cross_entropy"}, wide, classes, [],
         lambda x: functional.cross_entropy(x, classes)),
        ({"kind": "cross_entropy"}, wide, classes, listed(weights),
         lambda x: functional.cross_entropy(x, classes, weight=weights)),
        ({"kind": "smoothed_cross_entropy", "smoothing": 0.2}, wide, classes, [],
         lambda x: functional.cross_entropy(x, classes, label_smoothing=0.2)),
        ({"kind": "smoothed_cross_entropy", "smoothing": 0.1}, wide, classes, listed(weights),
         lambda x: functional.cross_entropy(x, classes, weight=weights, label_smoothing=0.1)),
        ({"kind": "binary_cross_entropy"}, one, binary, [],
         lambda x: functional.binary_cross_entropy_with_logits(x[:, 0], binary)),
        ({"kind": "mse"}, wide, target, [], lambda x: functional.mse_loss(x, target)),
        ({"kind": "huber", "delta": 0.7}, wide, target, [],
         lambda x: functional.huber_loss(x, target, delta=0.7)),
    ]
    found = []
    for loss, given, targets, class_weights, compute in cases:
        given = given.clone().requires_grad_()
        value = compute(given)
        value.backward()
        found.append({"loss": loss, "outputs": given.shape[1], "given": listed(given),
                      "targets": listed(targets.float()), "class_weights": class_weights,
                      "value": value.item(), "gradients": listed(given.grad)})
    return found


if __name__ == "__main__":
    print(json.dumps({"optimisers": optimisers(), "one_cycle": one_cycle(), "losses": losses()}))
