"""A router that picks the least loaded of the healthy candidates."""

import json
from dataclasses import dataclass

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.routing import Table
from wit_world.imports.types import Error_InvalidConfig, PluginInfo

U32_MAX = 2**32 - 1
HEALTHY = 1
DRAINING = 2
# Leaves the choice to the host.
NO_CHOICE = U32_MAX


@dataclass(slots=True)
class Candidate:
    """A candidate that may be picked."""

    index: int
    weight: int
    # As of the table, plus the picks since.
    in_flight: int
    # 0 where no limit is known.
    capacity: int


# Tries of a request after which the host chooses.
attempts_max = 3
candidates: list[Candidate] = []
last = NO_CHOICE


class Lifecycle(exports.Lifecycle):
    def describe(self) -> PluginInfo:
        return PluginInfo("{{name}}", "0.1.0", "the least loaded of the healthy candidates")

    def configure(self, settings: str) -> None:
        global attempts_max
        try:
            given = json.loads(settings)
        except ValueError as error:
            raise Err(Error_InvalidConfig(str(error)))
        if not isinstance(given, dict):
            raise Err(Error_InvalidConfig("the settings must be one JSON object"))
        for name, value in given.items():
            if name != "attempts_max":
                raise Err(Error_InvalidConfig(f"unknown setting `{name}`; known: attempts_max"))
            # The exact type, because a bool is an int too.
            if type(value) is not int or not 1 <= value <= U32_MAX:
                reason = f"`attempts_max` must be a whole number from 1 to {U32_MAX}"
                raise Err(Error_InvalidConfig(reason))
            attempts_max = value

    # There is nothing to carry over to a newer version.
    def snapshot(self) -> bytes:
        return b""

    def restore(self, state: bytes) -> None:
        pass


class Routing(exports.Routing):
    def observe(self, table: Table) -> None:
        global candidates, last
        rows = zip(table.states, table.weights, table.in_flight, table.capacities)
        candidates = [
            Candidate(index, max(weight, 1), in_flight, capacity)
            for index, (state, weight, in_flight, capacity) in enumerate(rows)
            if state & (HEALTHY | DRAINING) == HEALTHY
        ]
        last = NO_CHOICE

    def pick(self, key: int, cost_hint: int, attempt: int) -> int:
        global last
        if attempt >= attempts_max:
            return NO_CHOICE
        # The host asks again because the last pick was no use.
        avoided = last if attempt > 0 else NO_CHOICE
        best = None
        for one in candidates:
            if one.index == avoided or 0 < one.capacity <= one.in_flight:
                continue
            # Load is in flight per weight; a / b < c / d without a division.
            if best is None or one.in_flight * best.weight < best.in_flight * one.weight:
                best = one
        if best is None:
            last = NO_CHOICE
            return NO_CHOICE
        best.in_flight = min(best.in_flight + 1, U32_MAX)
        last = best.index
        return last
