"""/metrics, /healthz and /readyz of a real server on a free port."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from daemon.errors import OperatorError
from daemon.observe.board import Board
from daemon.observe.http import ObserveServer


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.fixture
def server(board: Board) -> Iterator[ObserveServer]:
    made = ObserveServer("127.0.0.1", 0, board)
    yield made
    made.close()


def get(server: ObserveServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def get_json(server: ObserveServer, path: str) -> tuple[int, Any]:
    status, body = get(server, path)
    return status, json.loads(body)


def test_ready_is_who_runs_or_stands_by(server: ObserveServer, board: Board) -> None:
    assert get_json(server, "/readyz") == (503, {"ok": False, "workers": {}})
    board.enter("capture:primary", None)
    board.enter("apply:empathy_ledger", None)
    board.report("capture:primary", "running")
    assert get(server, "/readyz")[0] == 503
    board.report("apply:empathy_ledger", "standby")
    assert get(server, "/readyz")[0] == 200
    board.report("apply:empathy_ledger", "failed", "The door is locked. Try: Unlock it.")
    status, body = get_json(server, "/readyz")
    assert (status, body["workers"]["apply:empathy_ledger"]) == (
        503,
        {"state": "failed", "detail": "The door is locked. Try: Unlock it."},
    )


def test_health_is_lost_with_a_thread_that_died_unsaid_and_not_with_a_worker_that_said_why(
    server: ObserveServer, board: Board
) -> None:
    thread = threading.Thread(target=lambda: None)
    board.enter("apply:empathy_ledger", thread)
    thread.start()
    thread.join()
    assert get_json(server, "/healthz") == (503, {"ok": False, "ailing": ["apply:empathy_ledger"]})
    board.report("apply:empathy_ledger", "failed", "It said why.")
    assert get_json(server, "/healthz") == (200, {"ok": True, "ailing": []})


def test_metrics_show_the_state_of_each_worker(server: ObserveServer, board: Board) -> None:
    board.enter("apply:metrics_test", None)
    board.report("apply:metrics_test", "waiting", "kafka is away")
    status, text = get(server, "/metrics?name=x")
    assert status == 200
    assert 'placemat_worker_state{state="waiting",worker="apply:metrics_test"} 1.0' in text
    assert 'placemat_worker_state{state="running",worker="apply:metrics_test"} 0.0' in text


def test_no_lag_is_exported_before_one_is_known(server: ObserveServer) -> None:
    assert "placemat_lag_records{" not in get(server, "/metrics")[1]


def test_another_path_is_not_found(server: ObserveServer) -> None:
    assert get(server, "/")[0] == 404


def test_a_port_that_is_taken_is_told(server: ObserveServer, board: Board) -> None:
    with pytest.raises(OperatorError, match=f"Port {server.port} of 127.0.0.1 is taken") as refused:
        ObserveServer("127.0.0.1", server.port, board)
    assert "PLACEMAT_HTTP__PORT" in refused.value.try_


def test_an_address_that_is_not_ours_is_told(board: Board) -> None:
    with pytest.raises(OperatorError, match=r"Nothing can listen on port 0 of 192\.0\.2\.1"):
        ObserveServer("192.0.2.1", 0, board)
