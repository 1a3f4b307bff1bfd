"""What a replay and a look at the past fold is on disk: memory does not grow with the number of keys."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.command import REPOSITORY

MIB = 1024 * 1024
_FOLD = """
import psutil
from daemon.recover.store import KeyStore, Seen
rss = psutil.Process().memory_info().rss
store = KeyStore(["t"])
body = b"x" * 600
for first in range(0, 200_000, 2_000):
    store.tables["t"].fold(
        Seen(0, b'{"id":%d}' % n, b'{"op":"c","after":{"id":%d,"body":"%b"}}' % (n, body))
        for n in range(first, first + 2_000)
    )
count = sum(len(chunk) for chunk in store.tables["t"].present(10**9, 500, 4 * 2**20))
print(count, psutil.Process().memory_info().rss - rss)
"""
_PAST = """
import psutil
from daemon.history.events import Seen
from daemon.history.past import Past
from schemas.position import Position
rss = psutil.Process().memory_info().rss
past = Past("t", 0)
envelope = b'{"op":"c","after":{"id":%d,"body":"' + b"x" * 600 + b'"},"source":{"ts_ms":1}}'
for first in range(0, 200_000, 2_000):
    past.take(Seen(0, n, Position(1, 9, n), b'{"id":%d}' % n, envelope % n) for n in range(first, first + 2_000))
past.settle()
print(sum(len(chunk) for chunk in past.chunks()), psutil.Process().memory_info().rss - rss)
"""


@pytest.mark.parametrize("fold", [_FOLD, _PAST], ids=["replay", "past"])
def test_200_000_keys_are_folded_in_less_than_32_mib(fold: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", fold], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split()
    assert int(done[0]) == 200_000
    assert int(done[1]) < 32 * MIB
