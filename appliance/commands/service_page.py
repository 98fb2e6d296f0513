"""The page of the appliance that the package runs as a service, for whoever sits before the machine.

The service's folder is its own. Its page is open to this machine; only the link that makes the first administrator
has to be fetched with the rights of the machine's administrator, whom polkit asks for a password.
"""

from __future__ import annotations

import http.client
import subprocess
from pathlib import Path

from appliance.config import load
from appliance.errors import CannotStart
from appliance.packaged import command, environment_for_others
from appliance.readyfile import web_url

SERVICE_DATA = Path("/var/lib/henge")
SERVICE_SETTINGS = Path("/etc/henge/henge.toml")
NOT_SET_UP_HEADER = "Henge-Not-Set-Up"  # Of the log-in page, while nobody is administrator.
PAGE_TIMEOUT_S = 5.0
PASSWORD_TIMEOUT_S = 120.0


def page_of_service() -> str:
    """Raises: CannotStart, when it does not answer or nobody gave the password; ConfigError."""
    address = load(data_dir=SERVICE_DATA, file=SERVICE_SETTINGS, environ={}).web.listen
    page = web_url(address)
    if page is None or address is None:
        raise CannotStart(f"the service has no page: web.listen is empty in {SERVICE_SETTINGS}")
    connection = http.client.HTTPConnection(page.removeprefix("http://"), timeout=PAGE_TIMEOUT_S)
    try:
        connection.request("GET", "/login")
        is_set_up = connection.getresponse().headers.get(NOT_SET_UP_HEADER) is None
    except (OSError, http.client.HTTPException) as error:
        raise CannotStart(f"the service does not answer on {page} ({error}); see: systemctl status henge") from error
    finally:
        connection.close()
    return page if is_set_up else _first_link()


def _first_link() -> str:
    """`henge link` with the rights to read the service's folder."""
    argv = ["pkexec", *command("link", "--data", str(SERVICE_DATA))]
    try:
        answer = subprocess.run(
            argv,
            env=environment_for_others(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PASSWORD_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotStart(f"pkexec cannot ask for the administrator's password: {error}; {_by_hand()}") from error
    if answer.returncode != 0:
        raise CannotStart(f"the link of the first run was not given: {answer.stderr.strip()}; {_by_hand()}")
    return answer.stdout.strip()


def _by_hand() -> str:
    return f"open what this prints: sudo henge link --data {SERVICE_DATA}"
