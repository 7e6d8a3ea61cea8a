"""A selector that takes the clients with the most samples."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.selection import AssignmentColumns, ClientColumns, RoundRequest
from wit_world.imports.types import Error_InvalidConfig, Error_Unsupported, PluginInfo

# The most that each setting may be; the least is 1.
LIMITS = {
    # Examples per step.
    "batch_size": 65_536,
    # Passes over the client's examples.
    "epochs": 1_000,
}
chosen = {"batch_size": 32, "epochs": 1}


class Lifecycle(exports.Lifecycle):
    def describe(self) -> PluginInfo:
        return PluginInfo("{{name}}", "0.1.0", "the clients with the most samples")

    def configure(self, settings: str) -> None:
        try:
            given = json.loads(settings)
        except ValueError as error:
            raise Err(Error_InvalidConfig(str(error)))
        if not isinstance(given, dict):
            raise Err(Error_InvalidConfig("the settings must be one JSON object"))
        for name, value in given.items():
            if name not in LIMITS:
                known = ", ".join(LIMITS)
                raise Err(Error_InvalidConfig(f"unknown setting `{name}`; known: {known}"))
            # The exact type, because a bool is an int too.
            if type(value) is not int or not 1 <= value <= LIMITS[name]:
                reason = f"`{name}` must be a whole number from 1 to {LIMITS[name]}"
                raise Err(Error_InvalidConfig(reason))
            chosen[name] = value

    # There is nothing to carry over to a newer version.
    def snapshot(self) -> bytes:
        return b""

    def restore(self, state: bytes) -> None:
        pass


class Selection(exports.Selection):
    def select(self, request: RoundRequest, clients: ClientColumns) -> AssignmentColumns:
        # The sort is stable, so that equal clients stay in the host's order.
        by_samples = sorted(
            zip(clients.samples, clients.ids), key=lambda client: client[0], reverse=True
        )
        ids = [id for _, id in by_samples[: request.clients_max]]
        count = len(ids)
        if count < request.clients_min:
            raise Err(Error_Unsupported(f"there are only {count} clients"))
        return AssignmentColumns(
            ids=ids,
            batch_sizes=[chosen["batch_size"]] * count,
            local_epochs=[chosen["epochs"]] * count,
        )
