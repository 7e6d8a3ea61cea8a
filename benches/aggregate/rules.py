"""What both sides of benches/aggregate.sh are given. Owns no measurement. Bound: constants."""

TRIMMED = 0.2
RULES = ["fedavg", "median", "trimmed-mean", "multi-krum"]


def hostile(clients):
    return clients // 5


def examples(rule, clients):
    """Examples of each client. Ours takes the mean of the updates that multi-krum leaves without
    weights, so Flower is given equal ones there."""
    return [100 if rule == "multi-krum" else 100 + 7 * client for client in range(clients)]
