"""`clan-tf` that says NETWORK and ends when anything looks for another host: network.py VERB ..."""

import os
import sys

EVENTS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request", "socket.sendto")


def watch(event: str, arguments: tuple) -> None:
    """An audit hook. Sockets in the file system aren't the network."""
    if event in EVENTS and not (event == "socket.connect" and isinstance(arguments[1], str | bytes)):
        os.write(2, f"NETWORK: {event} {arguments!r}\n".encode())
        os._exit(99)


sys.addaudithook(watch)

from clan_tf.cli.main import run  # noqa: E402

run()
