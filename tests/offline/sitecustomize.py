"""Takes the network away from tests, and from every Python process that they start.

Python imports a module of this name at its start, if the path holds one (see conftest.py). No name
but this machine's own is looked up, as on a machine without a network; what was asked for goes to
the file that the environment variable ASKED_NAMES names.
"""

import os
import socket
import sys


def _refuse_names(event: str, args: tuple[object, ...]) -> None:
    if event not in ("socket.getaddrinfo", "socket.gethostbyname"):
        return
    name = args[0].decode() if isinstance(args[0], bytes) else str(args[0])
    # An address in numbers needs no network to be looked up; None is this machine.
    if name in ("None", "", "localhost", _OWN) or not name.strip("0123456789abcdef.:%"):
        return
    if path := os.environ.get("ASKED_NAMES"):
        with open(path, "a") as file:
            file.write(f"{name}\n")
    raise socket.gaierror(socket.EAI_NONAME, f"tests have no network: {name}")


_OWN = socket.gethostname()
sys.addaudithook(_refuse_names)
