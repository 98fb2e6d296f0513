"""Certificates for HTTPS: those that the appliance makes itself, and the judgement of those that a team brings.

`authority` issues, `renewal` and `faults` judge (all pure, the clock is an argument), `names` asks the machine what it
is called, `folder` keeps the files.
"""

from appliance.certificates.authority import is_own as is_own
