"""What certificates are refused for."""

from __future__ import annotations


class CertificateError(Exception):
    """A certificate cannot be made or used; the text has the reason and the way out."""

    code = "certificate"
