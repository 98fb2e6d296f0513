"""What `henge reload` does inside the supervisor: the settings are read again, and what has changed is applied.

Everything that can be refused is tried first: a file that cannot be used or an address that is taken changes nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass

from appliance.accepted import settings_fd
from appliance.changes import ReloadAsked, Report, changes
from appliance.config import Config
from appliance.errors import CannotStart
from appliance.keeper import Keeper
from appliance.launch import Inheritance
from appliance.listeners import LISTENERS, OpenListeners, reopen_listeners
from appliance.processes import load_tree, processes_of
from appliance.supervisor import Subtree

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A reload that nothing stands in the way of any more."""

    config: Config
    tree: Subtree
    report: Report
    opened: OpenListeners
    settings_fd: int

    def discard(self) -> None:
        self.opened.close()
        os.close(self.settings_fd)


@dataclass(slots=True, eq=False)
class Reloading:
    """The settings that count now, and the way to others. prepare() may be called from any thread, apply() from the
    keeper's alone, one after the other."""

    config: Config
    tree_target: str
    load: Callable[[], Config]  # Raises: ConfigError.
    listeners: OpenListeners
    inheritance: Inheritance
    keeper: Keeper

    def prepare(self, asked: ReloadAsked) -> Prepared:
        """Raises: ConfigError, CannotStart."""
        config = self.load()
        tree = load_tree(self.tree_target, config)
        rows = list(processes_of(tree))
        if {row.name for row in rows} != set(self.keeper.records):
            raise CannotStart("with these settings other processes run; stop the appliance and start it again")
        found = changes(self.config, config, rows)
        affected = {name for change in found for name in change.processes}
        moved = [each for each in LISTENERS if each.setting in {change.setting for change in found}]
        opened = reopen_listeners(self.listeners, config, {name for row in rows for name in row.sockets}, moved)
        unmoved = {
            key: value for key, value in self.listeners.addresses.items() if key not in {m.setting for m in moved}
        }
        try:
            fd = settings_fd(config, {**unmoved, **opened.addresses})
        except OSError as error:
            opened.close()
            raise CannotStart(f"the settings cannot be handed to the processes: {error.strerror or error}") from error
        return Prepared(
            config=config,
            tree=tree,
            report=Report(
                changes=found,
                restarting=[row.name for row in rows if asked.all or row.name in affected],
                addresses={each.setting: _text(opened, each.setting) for each in moved},
            ),
            opened=opened,
            settings_fd=fd,
        )

    def apply(self, prepared: Prepared) -> Report:
        """Let everything that starts from now on have what was prepared, and restart whoever has to."""
        report = prepared.report
        for change in report.changes:
            log.info("%s was %r and is now %r", change.setting, change.old, change.new)
        self.config = prepared.config
        self.listeners.replace([each for each in LISTENERS if each.setting in report.addresses], prepared.opened)
        self.inheritance.sockets = dict(self.listeners.sockets)
        old_fd, self.inheritance.settings_fd = self.inheritance.settings_fd, prepared.settings_fd
        os.close(old_fd)
        self.keeper.reload(report.restarting, prepared.tree)
        return report


def _text(opened: OpenListeners, setting: str) -> str | None:
    address = opened.addresses.get(setting)
    return str(address) if address is not None else None
