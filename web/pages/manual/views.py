"""`/docs`: the docs that belong to this very build, from its own files.

Open to strangers, as the page of log-in is: they say how to get a link, how to take away a second factor that was lost,
and nothing of this installation. Until an administrator exists, only this machine is answered, as everywhere.
"""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, redirect, render_template, send_from_directory
from werkzeug.exceptions import NotFound
from werkzeug.security import safe_join
from werkzeug.wrappers import Response as AnyResponse

from web.auth.guard import open_to_all
from web.headers import CONTENT_SECURITY_POLICY

bp = Blueprint("manual", __name__, template_folder="templates")

SITE = Path(__file__).resolve().parents[2] / "manual"  # Where handbook/build.py writes it.
INDEX = "index.html"
# The theme's search writes one style into its own part of the page while it runs; its digest, as a browser names it.
SEARCH_STYLE = "'sha256-NwSx/R2V/U4jnW0Tq5pQ53Y/rzPVJ4dqE7D6UTA/J1k='"
POLICY = CONTENT_SECURITY_POLICY.replace("style-src 'self'", f"style-src 'self' {SEARCH_STYLE}")


@bp.get("/docs")
@open_to_all()
def home() -> AnyResponse:
    """To the address that the site's relative links start from."""
    return redirect("/docs/", 308)


@bp.get("/docs/")
@bp.get("/docs/<path:name>")
@open_to_all()
def page(name: str = "") -> AnyResponse:
    """A file of the site; a folder's address is its page. Names that leave the folder are not found."""
    if not (SITE / INDEX).is_file():
        return Response(render_template("manual/not_built.html", section=""))
    found = _file(name)
    if found is None and not name.endswith("/") and _file(f"{name}/") is not None:
        return redirect(f"/docs/{name}/", 308)
    if found is None:
        raise NotFound
    answer = send_from_directory(SITE, found, conditional=True)
    answer.headers["Content-Security-Policy"] = POLICY
    answer.headers["Cache-Control"] = "no-cache"  # Kept, and asked for anew: another build has another site.
    return answer


def _file(name: str) -> str | None:
    """The file that an address means, from the site's folder on; None for what is not there or leads out of it."""
    wanted = name + INDEX if name == "" or name.endswith("/") else name
    if "\0" in wanted or safe_join(str(SITE), wanted) is None:
        return None
    found = (SITE / wanted).resolve()  # A link within the folder may lead out of it.
    return wanted if found.is_relative_to(SITE.resolve()) and found.is_file() else None
