"""A container's HEALTHCHECK: healthcheck.py [port] [path], default $REVEILLE_HTTP_PORT and /livez.

Exit status 0 when the answer is 200. It runs every few seconds in every container, so it imports
next to nothing: 0.05 s of CPU, where `reveille healthcheck` takes 0.5 s for the whole command line.
"""

import http
import http.client
import os
import sys

TIMEOUT_SECONDS = 5


def main(arguments: list[str]) -> int:
    """0 for alive, 1 for anything else, with the reason for `docker inspect`."""
    port = int(arguments[0] if arguments else os.environ.get("REVEILLE_HTTP_PORT", "8080"))
    path = arguments[1] if len(arguments) > 1 else "/livez"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        sys.stdout.write(f"no answer from port {port}: {error}\n")
        return 1
    sys.stdout.write(f"{path} answered {status}\n")
    return 0 if status == http.HTTPStatus.OK else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
