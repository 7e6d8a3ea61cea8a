"""A placer that takes the cheapest site with room."""

import json
import math

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.placement import Assignment, CacheItem, Purpose, Site, Workload
from wit_world.imports.types import Error_InvalidConfig, PluginInfo

# Least reliability of a site for work, from 0 to 1.
reliability_min = 0.0


class Lifecycle(exports.Lifecycle):
    def describe(self) -> PluginInfo:
        return PluginInfo("{{name}}", "0.1.0", "the cheapest site with room")

    def configure(self, settings: str) -> None:
        global reliability_min
        try:
            given = json.loads(settings)
        except ValueError as error:
            raise Err(Error_InvalidConfig(str(error)))
        if not isinstance(given, dict):
            raise Err(Error_InvalidConfig("the settings must be one JSON object"))
        for name, value in given.items():
            if name != "reliability_min":
                raise Err(Error_InvalidConfig(f"unknown setting `{name}`; known: reliability_min"))
            # The exact type, because a bool is an int too.
            if type(value) not in (int, float) or not 0 <= value <= 1:
                raise Err(Error_InvalidConfig("`reliability_min` must be a number from 0 to 1"))
            reliability_min = float(value)

    # There is nothing to carry over to a newer version.
    def snapshot(self) -> bytes:
        return b""

    def restore(self, state: bytes) -> None:
        pass


class Placement(exports.Placement):
    def place(
        self, now_ms: int, sites: list[Site], workloads: list[Workload]
    ) -> list[Assignment]:
        assignments = []
        # The sort is stable, so that equal workloads stay in the host's order.
        for workload in sorted(workloads, key=lambda one: one.priority, reverse=True):
            costs = [
                (cost(site, workload), site)
                for site in sites
                if has_room(site, workload) and site.reliability >= reliability_min
            ]
            costs = [pair for pair in costs if math.isfinite(pair[0])]
            if not costs:
                continue
            least, site = min(costs, key=lambda pair: pair[0])
            # What is taken here is not free for the next workload.
            site.cpus_free -= workload.cpus
            site.gpus_free -= workload.gpus
            site.memory_free_mib -= workload.memory_mib
            reason = f"the cheapest with room, at {least:.2f}"
            assignments.append(Assignment(workload.id, site.id, -least, reason))
        return assignments

    def rank_sites(self, purpose: Purpose, sites: list[Site]) -> list[int]:
        return [site.id for site in sorted(sites, key=lambda site: badness(purpose, site))]

    def place_cache(self, item: CacheItem, sites: list[Site]) -> list[int]:
        def order(site: Site) -> tuple[bool, float]:
            by_latency = item.is_latency_sensitive
            value = site.latency_ms if by_latency else site.storage_price_per_gib
            # What cannot be told comes last.
            return math.isnan(value), value

        affordable = [
            site
            for site in sites
            if item.size_gib * site.storage_price_per_gib <= item.budget_per_month
        ]
        if not affordable or not item.requests_per_hour > 0:
            return []
        return [min(affordable, key=order).id]


def has_room(site: Site, workload: Workload) -> bool:
    return (
        site.cpus_free >= workload.cpus
        and site.gpus_free >= workload.gpus
        and site.memory_free_mib >= workload.memory_mib
        and (not site.is_spot or workload.tolerates_spot)
    )


def cost(site: Site, workload: Workload) -> float:
    return (
        workload.compute_hours * site.compute_price_per_hour
        + workload.storage_gib * site.storage_price_per_gib
        + workload.network_gib * site.network_price_per_gib
    )


def badness(purpose: Purpose, site: Site) -> float:
    """What counts against a site; less is better, and what cannot be told is worst."""
    if purpose == Purpose.TRAINING:
        value = site.compute_price_per_hour
    elif purpose == Purpose.INFERENCE:
        value = site.latency_ms
    else:
        value = site.compute_price_per_hour * site.latency_ms
    return math.inf if math.isnan(value) else value
