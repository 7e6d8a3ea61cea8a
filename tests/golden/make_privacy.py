"""Owns the answers of dp-accounting that the privacy accountant is held against: Renyi divergences
of the Poisson-subsampled Gaussian mechanism by order, and epsilons of compositions.

Refuses to know this engine. Bound: one JSON file of some kilobytes. Run with dp-accounting 0.6
installed: `python tests/golden/make_privacy.py > tests/golden/privacy/dp_accounting.json`.
"""

import json

import dp_accounting
from dp_accounting import rdp

ORDERS = [1.1, 1.5, 2.0, 2.5, 3.7, 8.0, 10.9, 32.0, 63.0, 256.0, 1024.0]


def event(rate: float, noise: float) -> dp_accounting.DpEvent:
    gaussian = dp_accounting.GaussianDpEvent(noise)
    return dp_accounting.PoissonSampledDpEvent(rate, gaussian) if rate < 1 else gaussian


def finite(values) -> list:
    """Orders at which the series does not converge are left out by every accountant."""
    return [float(value) if value < float("inf") else None for value in values]


def divergences() -> list[dict]:
    cases = []
    for rate in (0.001, 0.01, 0.1, 0.3, 0.9, 1.0):
        for noise in (0.3, 0.6, 1.0, 1.3, 4.0, 20.0):
            accountant = rdp.RdpAccountant(ORDERS)
            accountant.compose(event(rate, noise))
            found = finite(accountant.rdp)
            cases.append({"sampling_rate": rate, "noise_multiplier": noise, "rdp": found})
    return cases


def epsilons() -> list[dict]:
    cases = []
    for parts in (
        [(0.01, 1.1, 1)], [(0.01, 1.1, 10_000)], [(0.1, 1.0, 100)], [(0.5, 2.0, 60)],
        [(1.0, 5.0, 30)], [(1.0, 0.7, 1)], [(0.02, 0.5, 500)], [(0.001, 30.0, 10)],
        [(0.3, 1.0, 40), (0.1, 0.8, 200), (1.0, 6.0, 5)],
    ):
        for delta in (1e-3, 1e-5, 1e-9):
            accountant = rdp.RdpAccountant()
            for rate, noise, steps in parts:
                accountant.compose(event(rate, noise), steps)
            epsilon, order = accountant.get_epsilon_and_optimal_order(delta)
            cases.append({"parts": parts, "delta": delta, "epsilon": float(epsilon),
                          "order": float(order)})
    return cases


print(json.dumps({"orders": ORDERS, "divergences": divergences(), "epsilons": epsilons()}))
