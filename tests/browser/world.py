"""A small real world for pages: an appliance, servers that it watches (one is broken), metrics that flow, a phone."""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.receiver import Receiver
from tests.running import Appliance
from tests.waiting import wait_until

METRICS_EVERY_S = 1.0
RULES = """groups:
  - name: orders
    interval: 2s
    rules:
      - record: shop:waiting:sum
        expr: sum({__name__=~"shop.*.waiting"})
      - alert: OrdersPileUp
        expr: shop:waiting:sum > 10
        labels: {severity: warning}
        annotations: {summary: "{{ $value | humanize }} orders wait in both halls together"}
      - alert: CacheIsCold
        expr: '{__name__="shop.cache.hit_ratio"} < 0.5'
        for: 10m
        annotations: {summary: "the cache answers {{ $value | humanizePercentage }} of all requests"}
  - name: joins
    interval: 5s
    rules:
      - record: shop:wrong:join
        expr: '{__name__=~"shop.*.waiting"} / on () {__name__=~"shop.*.waiting"}'
"""
PAST_S = 3_300  # Metrics go back so far at once: just less than store.out_of_order_window.


class World:
    """Use as a context manager. Nothing in it is pretended: checks run, the broken server answers 503."""

    def __init__(self, folder: Path, *, settings: tuple[str, ...] = ()) -> None:
        self.appliance = Appliance(
            folder, settings=("graphite.pickle_listen=127.0.0.1:0", "statsd.listen=127.0.0.1:0", *settings)
        )
        self.rules_id = ""
        self.shop, self.pay, self.phone = Receiver(), Receiver(), Receiver()
        self._stop = threading.Event()
        self._sender = threading.Thread(target=self._send_metrics, name="metrics")
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        for part in (self.shop, self.pay, self.phone, self.appliance):
            self._stack.enter_context(part)
        self._sender.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._sender.join()
        self._stack.close()

    def add(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        status, answer = self.appliance.call("POST", f"/api/v1/{path}", body)
        assert status == 201, answer
        created: dict[str, Any] = answer
        return created

    def add_check(self, kind: str, name: str, options: dict[str, Any], **further: Any) -> dict[str, Any]:
        timing = {"interval_s": 2, "timeout_s": 2, "retry_interval_s": 1, "max_check_attempts": 2}
        return self.add("checks", {"kind": kind, "name": name, "options": options, **timing, **further})

    def populate(self) -> dict[str, dict[str, Any]]:
        """Checks of many kinds in many states → the checks by name. Waits until each has a result."""
        self.add("channels", {"kind": "webhook", "name": "on-call phone", "options": {"url": self.phone.url + "/hook"}})
        self.pay.status = 503
        told = {"channels": ["on-call phone"]}
        with socket.socket() as closed:  # A port that nobody listens on.
            closed.bind(("127.0.0.1", 0))
            closed_port = closed.getsockname()[1]
        checks = [
            self.add_check("http", "Shop front page", {"url": self.shop.url + "/"}, **told),
            self.add_check("http", "Payment gateway", {"url": self.pay.url + "/health"}, **told),
            self.add_check("tcp", "Shop port", {"host": "127.0.0.1", "port": int(self.shop.url.rpartition(":")[2])}),
            self.add_check("tcp", "Old mail relay", {"host": "127.0.0.1", "port": closed_port}),
            self.add_check("http", "Catalogue search", {"url": self.shop.url + "/?q=stone"}, labels={"team": "shop"}),
            self.add_check("host", "This machine", {}),
            self.add_check("push", "Nightly backup", {"period_s": 86400}),
            self.add_check(
                "query",
                "Orders waiting",
                {"expression": '{__name__=~"shop.*.waiting"}', "warning": "> 55", "critical": "> 500"},
            ),
            self.add_check("dns", "Name server", {"name": "localhost"}),
            self.add_check("http", "Staging", {"url": self.shop.url + "/staging"}, paused=True),
        ]
        self.rules_id = self.add("rules", {"name": "shop", "text": RULES, "channels": ["on-call phone"]})["id"]
        return {check["name"]: check for check in checks}

    def wait_results(self, checks: dict[str, dict[str, Any]], *, beat_count: int = 1, timeout_s: float = 60) -> None:
        def settled() -> bool:
            _, answer = self.appliance.call("GET", "/api/v1/checks?limit=100")
            states = {entry["name"]: entry for entry in answer["items"]}
            return all(states[name]["state"] != "pending" or states[name]["paused"] for name in checks)

        wait_until(settled, timeout_s=timeout_s, every_s=0.2, what="a result of each check")
        last = next(iter(checks.values()))["id"]
        wait_until(
            lambda: self.appliance.call("GET", f"/api/v1/checks/{last}/results")[1]["total_count"] >= beat_count,
            timeout_s=timeout_s,
            every_s=0.3,
            what=f"{beat_count} results",
        )

    def _send_metrics(self) -> None:
        now_s = int(time.time())
        lines = [line for at_s in range(now_s - PAST_S, now_s, 10) for line in metric_lines(at_s)]
        self.appliance.send_graphite("".join(lines))
        while not self._stop.wait(METRICS_EVERY_S):
            with contextlib.suppress(OSError):
                self.appliance.send_graphite("".join(metric_lines(int(time.time()))))


def metric_lines(at_s: int) -> list[str]:
    """A few plausible application metrics at one moment."""
    day = at_s / 900
    north, south = 40 + 18 * math.sin(day), 52 + 9 * math.sin(day * 1.7 + 1)
    return [
        f"shop.north.waiting {north:.1f} {at_s}\n",
        f"shop.south.waiting {south:.1f} {at_s}\n",
        f"shop.orders.count {at_s % 100_000 // 7} {at_s}\n",
        f"shop.cache.hit_ratio {0.9 + 0.05 * math.sin(day * 3):.3f} {at_s}\n",
    ]
