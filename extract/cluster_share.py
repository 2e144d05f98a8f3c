"""How the nodes of a cluster are divided among actors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What an actor takes of a node; None for what divides it best."""

    actors: int | None = None
    """Most actors in all."""
    cpus: float | None = None
    gpus: float | None = None
    """Such as 1, or 0.5 for two actors on each GPU; None for none."""

    def of_node(self, resources: Mapping[str, float]) -> list[dict[str, float]]:
        """Return the resources of each actor that a node is to have."""
        cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
        if self.gpus:
            count = int(gpus / self.gpus + 1e-9)
        else:
            count = int(cpus // self.cpus) if self.cpus else int(cpus >= 1)
        if not count:
            return []
        each = self.cpus or max(1.0, cpus // count)
        count = min(count, int(cpus // each))
        return [{"num_cpus": each, "num_gpus": self.gpus or 0.0}] * count
