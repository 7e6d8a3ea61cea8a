"""A batcher that learns how many requests usually wait, and waits for that many.

It keeps a moving average of the length of the queue. While the queue is shorter than that, it waits
for a share of the target, so that the next batch is as full as usual. What it has learnt is carried
over when a newer version takes its place.
"""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.batching import Decision
from wit_world.imports.types import Error_InvalidConfig, Error_Unsupported, PluginInfo

# The weight of the latest queue in the average.
ALPHA = 0.2
# The share of the target that may be spent waiting.
share = 0.25
average = 0.0


class Lifecycle(exports.Lifecycle):
    def describe(self) -> PluginInfo:
        return PluginInfo("python-batcher", "0.1.0", "waits for as many requests as usual")

    def configure(self, settings: str) -> None:
        global share
        try:
            given = json.loads(settings)
        except ValueError as error:
            raise Err(Error_InvalidConfig(str(error)))
        if not isinstance(given, dict):
            raise Err(Error_InvalidConfig("the settings must be one JSON object"))
        for name, value in given.items():
            if name != "share":
                raise Err(Error_InvalidConfig(f"unknown setting `{name}`; known: share"))
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
                raise Err(Error_InvalidConfig("`share` must be a number from 0 to 1"))
            share = float(value)

    def snapshot(self) -> bytes:
        return json.dumps({"average": average}).encode()

    def restore(self, state: bytes) -> None:
        global average
        try:
            average = float(json.loads(state)["average"])
        except (ValueError, KeyError, TypeError) as error:
            raise Err(Error_Unsupported(f"not a state of this plugin: {error}"))


class Batching(exports.Batching):
    def decide(
        self, bucket: int, queued: int, oldest_us: int, batch_max: int, target_us: int
    ) -> Decision:
        global average
        average += ALPHA * (queued - average)
        left_us = int(share * target_us) - oldest_us
        if queued >= min(batch_max, average) or left_us <= 0:
            return Decision(min(queued, batch_max), 0)
        return Decision(0, left_us)
