"""The picture of two looks, as lines of text: pure, so that a test can hand in any appliance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from appliance.commands.running_appliance import Row, Status
from appliance.top.look import Key, Look

PLAIN, DIM, HEAD, GOOD, BAD = "", "dim", "bold", "green", "bold red"  # Styles of rich.
REQUESTS, QUEUE = "henge_bus_requests_total", "henge_bus_queue_length"
# What the figures are made of, and the process that counts it; "": each its own. Rooms above are strings here.
METRICS = {
    REQUESTS: "",
    QUEUE: "",
    "henge_ingest_samples_total": "intake",
    "henge_ingest_refused_total": "intake",
    "henge_udp_dropped_total": "intake",
    "henge_ingest_connections": "intake",
    "henge_query_total": "query",
    "henge_query_running": "query",
    "henge_query_waiting": "query",
    "henge_query_refused_total": "query",
    "henge_check_runs_total": "scheduler",
    "henge_check_late_total": "scheduler",
    "henge_check_lateness_seconds": "scheduler",
    "henge_check_running": "scheduler",
    "henge_outbox_pending": "scheduler",
    "henge_web_requests_total": "web",
    "henge_store_series_count": "store",
    "henge_store_head_samples": "store",
    "henge_store_disk_bytes": "store",
    "henge_store_disk_bytes_max": "store",
}
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Line:
    text: str
    style: str = PLAIN


@dataclass(frozen=True, slots=True)
class Figures:
    """What two looks say together. None: a process did not answer, or there is no look before.

    A number that is not in the answer of its process is 0: what is counted has not happened yet.
    """

    now: Look
    before: Look | None

    def rate(self, metric: str, *, process: str = "") -> float | None:
        """How many a second, of processes that answered both times."""
        before = self.before
        if before is None or self.now.at_s <= before.at_s:
            return None
        rises = [
            max(0.0, value - before.values.get(key, 0.0))  # A process that was started again counts from 0.
            for key, value in self.now.values.items()
            if _is_of(key, metric, process) and key[0] in before.answered
        ]
        if not rises and (process or METRICS[metric]) not in self.now.answered & before.answered:
            return None
        return sum(rises) / (self.now.at_s - before.at_s)

    def total(self, metric: str, *, process: str = "", label: tuple[str, str] | None = None) -> float | None:
        values = [
            value
            for key, value in self.now.values.items()
            if _is_of(key, metric, process) and (label is None or label in key[2])
        ]
        if not values and (label is not None or (process or METRICS[metric]) not in self.now.answered):
            return None
        return sum(values)

    def cpu_share(self, pid: int | None) -> float | None:
        """Of one core: 1.0 is all of it."""
        if pid is None or self.before is None or self.now.at_s <= self.before.at_s:
            return None
        now, before = self.now.usage_by_pid.get(pid), self.before.usage_by_pid.get(pid)
        if now is None or before is None:
            return None
        return max(0.0, now.cpu_s - before.cpu_s) / (self.now.at_s - self.before.at_s)


def _is_of(key: Key, metric: str, process: str) -> bool:
    return key[1] == metric and (not process or key[0] == process)


def picture(now: Look, before: Look | None, data_dir: str) -> list[Line]:
    """All lines, the most important first: what does not fit is cut at the bottom."""
    if now.status is None:
        return [
            Line(f"Henge on {_printable(data_dir)}", HEAD),
            Line("The supervisor does not answer: the appliance has stopped, or hangs.", BAD),
            Line("It is asked again every second; q or Ctrl-C ends.", DIM),
        ]
    figures = Figures(now, before)
    return [
        *_summary(figures, now.status, data_dir),
        Line(""),
        *_tree(figures, now.status),
        Line(""),
        *_traffic(figures),
        *([Line(f"{'Silent':<12}{', '.join(now.silent)}", BAD)] if now.silent else []),
        Line("q or Ctrl-C ends", DIM),
    ]


def _summary(figures: Figures, status: Status, data_dir: str) -> Iterator[Line]:
    rows = status.processes
    up_count, restarts = sum(row.state == "up" for row in rows), sum(row.restarts for row in rows)
    pids = [status.pid, *(row.pid for row in rows if row.pid)]
    shares = [share for pid in pids if (share := figures.cpu_share(pid)) is not None]
    usage = figures.now.usage_by_pid
    memory_bytes = sum(usage[pid].rss_bytes for pid in pids if pid in usage)
    page = status.addresses.get("web") or "no page"
    up_for = _age(figures.now.now_ms - status.started_ms)
    yield Line(f"Henge {status.version}  {page}  up {up_for}  {_printable(data_dir)}", HEAD)
    cpu = _percent(sum(shares) if shares else None)
    yield Line(
        f"{up_count} of {len(rows)} processes up, {restarts:,} restarts, CPU {cpu},"
        f" {memory_bytes / MIB:,.0f} MiB{', restarting one at a time' if status.reloading else ''}",
        PLAIN if up_count == len(rows) else BAD,
    )


def _tree(figures: Figures, status: Status) -> Iterator[Line]:
    head = f"{'PROCESS':<13}{'PID':>7}  {'STATE':<9}{'RESTARTS':>8}{'CPU':>8}{'MEMORY':>10}{'QUEUE':>6}{'ASKED/S':>8}"
    yield Line(head, DIM)
    own = Row("henge up", status.pid, "up", 0, None, None, 0, status.started_ms)
    yield Line(_cells(figures, "henge up", own, "supervisor"))
    for index, row in enumerate(status.processes):
        branch = "└─" if index == len(status.processes) - 1 else "├─"
        text = _cells(figures, f"{branch} {_printable(row.name)}", row, row.name)
        is_well = row.state == "up" and row.name not in figures.now.silent
        last_exit = f"  {_printable(row.last_exit)}" if row.last_exit else ""
        yield Line(text + last_exit, PLAIN if is_well else BAD)


def _cells(figures: Figures, shown_name: str, row: Row, name: str) -> str:
    usage = figures.now.usage_by_pid.get(row.pid or 0)
    memory = f"{usage.rss_bytes / MIB:,.0f} MiB" if usage else ""
    asked = figures.rate(REQUESTS, process=name)
    return (
        f"{shown_name:<13.13}{row.pid or '–':>7}  {row.state:<9}{row.restarts:>8,}"
        f"{_percent(figures.cpu_share(row.pid)):>8}{memory:>10}{_count(figures.total(QUEUE, process=name)):>6}"
        f"{_count(asked):>8}"
    )


def _traffic(figures: Figures) -> Iterator[Line]:
    """Two columns of figures: a second, and as they stand."""

    def row(name: str, now: str, *more: str) -> Line:
        return Line(f"{name:<12}{now:>11}  {', '.join(text for text in more if text)}")

    total, rate = figures.total, figures.rate
    refused, dropped = total("henge_ingest_refused_total"), total("henge_udp_dropped_total")
    yield row(
        "Samples",
        _a_second(rate("henge_ingest_samples_total")),
        f"{_count(total('henge_ingest_samples_total'))} in all",
        f"{_count(total('henge_ingest_connections'))} connections",
    )
    yield Line(
        f"{'Refused':<12}{_a_second(rate('henge_ingest_refused_total')):>11}  {_count(refused)} in all, "
        f"{_count(dropped)} datagrams lost",
        BAD if rate("henge_ingest_refused_total") or rate("henge_udp_dropped_total") else PLAIN,
    )
    yield row(
        "Store",
        "",
        f"{_count(total('henge_store_series_count'))} series",
        f"{_count(total('henge_store_head_samples'))} in memory",
        f"disk {_size(total('henge_store_disk_bytes'))} of {_size(total('henge_store_disk_bytes_max'))}",
    )
    yield row(
        "Queries",
        _a_second(rate("henge_query_total")),
        f"{_count(total('henge_query_running'))} running",
        f"{_count(total('henge_query_waiting'))} waiting",
        f"{_count(total('henge_query_refused_total'))} refused",
    )
    lateness = "henge_check_lateness_seconds"
    yield row(
        "Checks",
        _a_second(rate("henge_check_runs_total")),
        f"{_count(total('henge_check_running'))} running",
        f"{_count(total('henge_check_late_total'))} late",
        f"lateness p50 {_seconds(total(lateness, label=('quantile', '0.5')))}",
        f"p99 {_seconds(total(lateness, label=('quantile', '0.99')))}",
    )
    yield row("Messages", "", f"{_count(total('henge_outbox_pending'))} wait for their receivers")
    yield row("Page, API", _a_second(rate("henge_web_requests_total")), "requests")


def _count(value: float | None) -> str:
    """Whole, and short from a hundred thousand on, so that columns keep their width."""
    if value is None:
        return "–"
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e5, "k")):
        if value >= limit:
            return f"{value / (1e3 if unit == 'k' else limit):.{0 if unit == 'k' else 1}f} {unit}"
    return f"{value:,.0f}"


def _a_second(value: float | None) -> str:
    return f"{_count(value)}/s"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _seconds(value: float | None) -> str:
    if value is None or value != value:
        return "–"
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.1f} s"


def _size(value: float | None) -> str:
    if value is None:
        return "–"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def _age(duration_ms: int) -> str:
    minutes = max(duration_ms, 0) // 60_000
    if minutes < 1:
        return f"{max(duration_ms, 0) // 1000} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 48 * 60 else f"{minutes // 1440} d"


def _printable(text: str) -> str:
    """What a process wrote, or a folder is called, must not steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
