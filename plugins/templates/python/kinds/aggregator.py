"""An aggregator that takes the mean of the updates, weighted by samples."""

import json
import math
import struct
from itertools import compress

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.aggregation import (
    Admission,
    Admission_Accept,
    Admission_AcceptAndAggregate,
    Admission_Refuse,
    CostlyFacts,
    Outcome,
    Outcome_Aggregate,
    Outcome_KeepModel,
    Plan,
    Reducer_Linear,
    Refusal,
    RoundContext,
    ServerOptimizer_None_,
    UpdateColumns,
    UpdateFacts,
)
from wit_world.imports.types import Error_InvalidConfig, PluginInfo

# The server's learning rate, above 0.
learning_rate = 1.0


def as_f32(value: int | float) -> float:
    """The number as a plan holds it; infinite if it is too large for that."""
    try:
        return struct.unpack("<f", struct.pack("<f", float(value)))[0]
    except OverflowError:
        return math.inf


class Lifecycle(exports.Lifecycle):
    def describe(self) -> PluginInfo:
        return PluginInfo("{{name}}", "0.1.0", "the mean of the updates, weighted by samples")

    def configure(self, settings: str) -> None:
        global learning_rate
        try:
            given = json.loads(settings)
        except ValueError as error:
            raise Err(Error_InvalidConfig(str(error)))
        if not isinstance(given, dict):
            raise Err(Error_InvalidConfig("the settings must be one JSON object"))
        for name, value in given.items():
            if name != "learning_rate":
                raise Err(Error_InvalidConfig(f"unknown setting `{name}`; known: learning_rate"))
            # The exact type, because a bool is an int too.
            if type(value) not in (int, float) or not 0 < as_f32(value) < math.inf:
                raise Err(Error_InvalidConfig("`learning_rate` must be a number above 0"))
            learning_rate = as_f32(value)

    # There is nothing to carry over to a newer version.
    def snapshot(self) -> bytes:
        return b""

    def restore(self, state: bytes) -> None:
        pass


class Aggregation(exports.Aggregation):
    def wanted(self) -> CostlyFacts:
        return CostlyFacts(0)

    def admit(self, context: RoundContext, update: UpdateFacts) -> Admission:
        if not math.isfinite(update.l2_norm):
            return Admission_Refuse("the update is not finite")
        if context.buffered + 1 >= context.clients_asked:
            return Admission_AcceptAndAggregate()
        return Admission_Accept()

    def make_plan(self, context: RoundContext, updates: UpdateColumns) -> Outcome:
        are_good = [math.isfinite(norm) for norm in updates.l2_norms]
        count = sum(are_good)
        if count == 0:
            return Outcome_KeepModel("no update is usable")
        total = sum(compress(updates.samples, are_good))

        def share(samples: int) -> float:
            # Where no client says how many samples it has, all count alike.
            return samples / total if total > 0 else 1 / count

        weights = [
            share(samples) if is_good else 0.0
            for samples, is_good in zip(updates.samples, are_good)
        ]
        refused = [
            Refusal(index, "the update is not finite")
            for index, is_good in enumerate(are_good)
            if not is_good
        ]
        return Outcome_Aggregate(
            Plan(
                weights=weights,
                reducer=Reducer_Linear(),
                optimizer=ServerOptimizer_None_(),
                learning_rate=learning_rate,
                clip_norm=0.0,
                noise_multiplier=0.0,
                refused=refused,
                reason=f"mean of {count} updates, weighted by samples",
            )
        )
