"""One run of one check, whatever happens: the shell around every probe."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from checks import forms
from checks.model import Result, State
from checks.probes import ProbeContext, probe
from checks.probes.findings import Findings
from checks.probes.options import OptionError, one_line

OVERRUN_S = 0.5
"""A probe keeps within its time-out by itself and then says what it was waiting for; one that does not is cut off this
much later."""

_log = logging.getLogger(__name__)


async def run_probe(kind: str, options: Mapping[str, Any], context: ProbeContext) -> Result:
    """Run a check once. Never raises but for cancellation, and takes at most context.timeout_s + OVERRUN_S."""
    findings = Findings(context)
    try:
        typed = forms.validate_options(kind, options)
        async with asyncio.timeout(context.timeout_s + OVERRUN_S):
            return await probe(kind).run(typed, context)
    except TimeoutError:
        findings.fault(State.UNKNOWN, f"the run did not end within {context.timeout_s + OVERRUN_S:g} s and was cut off")
    except OptionError as error:
        findings.fault(State.UNKNOWN, f"option {error.field}: {error.message}")
    except Exception as error:  # noqa: BLE001  A probe's own mistake must not end the scheduler; it is shown and logged.
        _log.exception("the %s probe of check %s failed", kind, context.check_id or "(none)")
        findings.fault(State.UNKNOWN, f"the probe itself failed: {type(error).__name__}: {one_line(str(error))}")
    return findings.result()
