"""`python -m connectors.notion.simulator --port 8420`: runs until it is interrupted."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading

from connectors.notion.simulator.settings import Settings
from connectors.notion.simulator.simulator import TOKEN, NotionSimulator


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m connectors.notion.simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--token", default=TOKEN, help="the bearer token of the one connection")
    parser.add_argument("--seed", type=int, default=1, help="ids are the same for the same seed")
    parser.add_argument("--per-minute", type=int, default=180, help="requests that a connection may send in 60 s")
    parser.add_argument("--webhook-delay", type=float, default=30, help="seconds until an event is sent")
    parser.add_argument("--subscribe", metavar="URL", help="send webhooks there, with the handshake taken as done")
    given = parser.parse_args()
    settings = Settings(seed=given.seed, connection_per_minute=given.per_minute, webhook_delay=given.webhook_delay)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with NotionSimulator(settings, delivers=True, token=given.token, host=given.host, port=given.port) as simulator:
        if given.subscribe:
            simulator.webhooks.subscribe(given.subscribe)
            simulator.webhooks.confirm(simulator.webhooks.token)
        sources = {name: source.id for name, source in simulator.sources.items()}
        person = simulator.store.add_personal_token(simulator.people.first)
        said = {"url": simulator.url, "data_sources": sources, "person_token": person}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
        ended.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
