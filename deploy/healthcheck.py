"""Asks the daemon of this container for /healthz: exit status 0 when it is well. The image has no curl."""

import os
import sys
from http.client import HTTPConnection, HTTPException

PORT = int(os.environ.get("PLACEMAT_HTTP__PORT", "9464"))
TIMEOUT_SECONDS = 3

try:
    connection = HTTPConnection("localhost", PORT, timeout=TIMEOUT_SECONDS)
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    sys.stdout.write(answer.read().decode())
    healthy = answer.status == 200
except (OSError, HTTPException) as error:
    sys.stdout.write(f"{error}\n")
    healthy = False
sys.exit(not healthy)
