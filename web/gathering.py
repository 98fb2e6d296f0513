"""What all processes say of themselves, asked at once and within a bound; a silent one is left out, and named."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from appliance.bus import BusError
from appliance.metrics import Sample
from web.services import Services

SERVICES = ("supervisor", "state", "store", "intake", "query", "spawner", "scheduler", "backup")
NEEDED_TO_BE_READY = ("state", "store", "intake", "query")
TIMEOUT_S = 2.0


def ask_all(services: Services, op: str, names: Iterable[str] = SERVICES) -> dict[str, Any]:
    """The body of each answer by service; None for one that does not answer or does not know the question."""
    asked = tuple(names)

    def one(name: str) -> Any:
        try:
            return services.ask(name, op, timeout_s=TIMEOUT_S).body
        except BusError as error:
            services.log.info("%s does not answer %r: %s", name, op, error)
            return None

    with ThreadPoolExecutor(len(asked)) as pool:
        return dict(zip(asked, pool.map(one, asked), strict=True))


def gather_metrics(services: Services) -> list[Sample]:
    """The samples of every process that answers."""
    samples = services.metrics.snapshot()  # This process' own need no way over the bus.
    for body in ask_all(services, "metrics").values():
        if body is not None:
            samples += msgspec.convert(body, list[Sample])
    return samples


def answers_by_service(services: Services) -> dict[str, bool]:
    """Whether each process answers without which samples and queries cannot be served."""

    def answers(name: str) -> bool:
        try:
            services.ask(name, "ping", timeout_s=TIMEOUT_S)
        except BusError:
            return False
        return True

    with ThreadPoolExecutor(len(NEEDED_TO_BE_READY)) as pool:
        return dict(zip(NEEDED_TO_BE_READY, pool.map(answers, NEEDED_TO_BE_READY), strict=True))
