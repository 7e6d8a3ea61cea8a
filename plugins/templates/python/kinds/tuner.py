"""A tuner that moves one whole-number setting by 1, and turns round when that did not help."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.tuning import (
    Change,
    Domain_Integers,
    Fact,
    Observation,
    Parameter,
    Proposal,
    Value_Integer,
)
from wit_world.imports.types import Error_InvalidConfig, PluginInfo

# The name of the setting to tune. Without one, nothing is proposed.
tuned = ""
step = 1


class Lifecycle(exports.Lifecycle):
    def describe(self) -> PluginInfo:
        return PluginInfo("{{name}}", "0.1.0", "moves one whole-number setting by 1")

    def configure(self, settings: str) -> None:
        global tuned
        try:
            given = json.loads(settings)
        except ValueError as error:
            raise Err(Error_InvalidConfig(str(error)))
        if not isinstance(given, dict):
            raise Err(Error_InvalidConfig("the settings must be one JSON object"))
        for name, value in given.items():
            if name != "parameter":
                raise Err(Error_InvalidConfig(f"unknown setting `{name}`; known: parameter"))
            if not isinstance(value, str):
                raise Err(Error_InvalidConfig("`parameter` must be a string"))
            tuned = value

    # There is nothing to carry over to a newer version.
    def snapshot(self) -> bytes:
        return b""

    def restore(self, state: bytes) -> None:
        pass


class Tuning(exports.Tuning):
    def propose(
        self, facts: list[Fact], parameters: list[Parameter], history: list[Observation]
    ) -> Proposal | None:
        global step
        # Not before something was measured, and one trial at a time.
        if not history or history[-1].trial is not None:
            return None
        parameter = next((one for one in parameters if one.name == tuned), None)
        if parameter is None:
            return None
        current, domain = parameter.current, parameter.domain
        if not isinstance(current, Value_Integer) or not isinstance(domain, Domain_Integers):
            return None
        least, most = domain.value
        following = current.value + step
        if not least <= following <= most:
            step = -step
            return None
        return Proposal(
            changes=[Change(tuned, Value_Integer(following))],
            expected_gain=0.01,
            loss_max=0.05,
            trial_ms=10_000,
            reason=f"{tuned} from {current.value} to {following}",
        )

    def conclude(self, trial: int, before: float, after: float, is_kept: bool) -> None:
        global step
        if not is_kept:
            step = -step
