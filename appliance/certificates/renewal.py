"""When a certificate that the appliance made has to be made anew."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from cryptography import x509

from appliance.certificates.authority import general_name, names_of

RENEWED_BEFORE = dt.timedelta(days=30)


def needs_renewal(certificate: x509.Certificate, names: Sequence[str], now: dt.datetime) -> str:
    """Why; empty, if it need not. names: those that the machine is reached by.

    A name that the machine no longer has is no reason: it may be back tomorrow.
    """
    ends, begins = certificate.not_valid_after_utc, certificate.not_valid_before_utc
    if now < begins:
        return f"it begins on {begins:%Y-%m-%d}, and the clock of this machine says {now:%Y-%m-%d}"
    if now >= ends - RENEWED_BEFORE:
        return f"it ends on {ends:%Y-%m-%d}"
    known = set(names_of(certificate))
    lacking = [name for name in names if str(general_name(name).value) not in known]
    return f"it is not made out for {', '.join(lacking)}" if lacking else ""
