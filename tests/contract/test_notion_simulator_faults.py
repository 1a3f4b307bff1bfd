"""What goes wrong on demand: each fault leaves the store and the caller as the real one would."""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any

import httpx
import pytest

from connectors.notion.simulator import Fault
from tests.fix_notion import Simulate, Simulated
from tests.notion_calls import calls_to, title
from tests.waiting import until


def create(notion: Simulated) -> httpx.Response:
    return notion.calls.create(notion.source("Projects"), {"Name": title("Garden")})


def made(notion: Simulated) -> int:
    return len(notion.simulator.store.pages("Projects"))


@pytest.mark.parametrize(("kind", "pages"), [("cut_before", 0), ("cut_after", 1), ("cut_within", 1)])
def test_the_connection_is_cut(notion: Simulated, kind: Any, pages: int) -> None:
    notion.simulator.faults.add(Fault(kind, route="create_page"))

    with pytest.raises(httpx.TransportError):
        create(notion)

    (seen,) = notion.simulator.log
    assert made(notion) == notion.simulator.done("create_page") == pages
    assert (seen.status, seen.fault) == (None, kind)
    assert create(notion).status_code == 200


def test_503_after_the_write_tells_what_was_saved(notion: Simulated) -> None:
    notion.simulator.faults.add(Fault("saved_503", route="create_page"))

    answer = create(notion)

    (page,) = notion.simulator.store.pages("Projects")
    assert answer.status_code == 503
    assert answer.json()["additional_data"] == {
        "retry_guidance": ["Read the object again", "Do not repeat the write"],
        "committed_resource_id": page.id,
    }


def test_503_after_blocks_were_appended_tells_their_ids(notion: Simulated) -> None:
    page = create(notion).json()["id"]
    notion.simulator.faults.add(Fault("saved_503", route="append_children"))
    paragraph = {"paragraph": {"rich_text": [{"text": {"content": "one"}}]}}

    told = notion.calls.patch(f"blocks/{page}/children", {"children": [paragraph]}).json()["additional_data"]

    children = notion.calls.get(f"blocks/{page}/children").json()["results"]
    assert told["committed_child_ids"] == [one["id"] for one in children]


def test_503_after_the_write_may_say_nothing_of_it(notion: Simulated) -> None:
    notion.simulator.faults.add(Fault("saved_503_silent"), Fault("failed", status=503))

    silent, failed = create(notion), create(notion)

    assert silent.status_code == failed.status_code == 503
    assert {**silent.json(), "request_id": ""} == {**failed.json(), "request_id": ""}
    assert made(notion) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize(("kind", "pages"), [("failed", 0), ("failed_after", 1)])
def test_the_service_fails_before_or_after_the_write(notion: Simulated, status: int, kind: Any, pages: int) -> None:
    notion.simulator.faults.add(Fault(kind, status=status))

    answer = create(notion)

    assert answer.status_code == status
    assert made(notion) == pages
    assert answer.headers["Content-Type"].startswith("text/html" if status == 502 else "application/json")


@pytest.mark.parametrize(
    ("kind", "status", "code", "wait"),
    [
        ("throttled", 429, "rate_limited", "7"),
        ("overloaded", 529, "service_overload", "7"),
        ("blocked", 429, "rate_limited", None),
        ("block_limit", 403, "restricted_resource", None),
        ("expired", 401, "unauthorized", None),
        ("conflict", 409, "conflict_error", None),
    ],
)
def test_the_service_refuses(notion: Simulated, kind: Any, status: int, code: str, wait: str | None) -> None:
    notion.simulator.faults.add(Fault(kind, retry_after=7))

    answer = create(notion)

    assert (answer.status_code, answer.json()["code"], answer.headers.get("Retry-After")) == (status, code, wait)
    assert made(notion) == 0


@pytest.mark.parametrize("kind", ["slow_before", "slow_after"])
def test_a_client_that_does_not_wait_does_not_learn_what_was_done(notion: Simulated, kind: Any) -> None:
    notion.simulator.faults.add(Fault(kind, seconds=30))
    hasty = calls_to(notion.simulator, timeout=httpx.Timeout(30, read=0.05))

    with hasty, pytest.raises(httpx.ReadTimeout):
        hasty.create(notion.source("Projects"), {"Name": title("Garden")})
    until(lambda: notion.simulator.faults.struck)
    notion.simulator.stop()

    assert made(notion) == 1


def test_a_fault_strikes_the_requests_that_it_is_meant_for(notion: Simulated) -> None:
    page = create(notion).json()["id"]
    notion.simulator.faults.add(
        Fault("failed", method="GET", path=page, nth=2, times=2), Fault("overloaded", route="get_me", times=None)
    )

    reads = [notion.calls.get(f"pages/{page}").status_code for _ in range(5)]
    mine = [notion.calls.get("users/me").status_code for _ in range(3)]

    assert reads == [200, 500, 500, 200, 200]
    assert mine == [529] * 3


def test_what_comes_by_chance_is_the_same_for_the_same_seed(contracted: Simulate) -> None:
    def struck(seed: int) -> list[int]:
        notion = contracted(seed=seed)
        notion.simulator.faults.add(Fault("failed", probability=0.3, times=None))
        return [notion.calls.get("users/me").status_code for _ in range(40)]

    first = struck(1)
    assert first == struck(1) != struck(2)
    assert 4 < first.count(500) < 20


def test_what_the_log_says_was_done_is_what_is_there_however_many_write_at_once(contracted: Simulate) -> None:
    notion = contracted(connection_per_minute=1000)
    kinds: list[Any] = ["cut_before", "cut_after", "cut_within", "saved_503", "failed", "failed_after", "throttled"]
    notion.simulator.faults.add(*(Fault(kind, probability=0.08, times=None) for kind in kinds))

    def write(_: int) -> int:
        with contextlib.suppress(httpx.TransportError):
            return create(notion).status_code
        return 0

    with ThreadPoolExecutor(6) as pool:
        statuses = Counter(pool.map(write, range(150)))

    assert made(notion) == notion.simulator.done("create_page") > statuses[200] > 0
    assert notion.simulator.counts() == {"create_page": 150}
    assert notion.simulator.statuses() == {status or None: count for status, count in statuses.items()}


def test_503_after_a_write_never_strikes_a_read(notion: Simulated) -> None:
    notion.simulator.faults.add(Fault("saved_503", times=None))

    assert notion.calls.get("users/me").status_code == 200


def test_a_body_that_does_not_arrive_whole_is_no_request(notion: Simulated) -> None:
    host, port = notion.simulator.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"POST /v1/pages HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""

    assert notion.simulator.log == []


@pytest.mark.parametrize("header", [{"Transfer-Encoding": "chunked"}, {"Content-Length": "many"}])
def test_a_body_whose_length_is_not_told_is_not_read(notion: Simulated, header: dict[str, str]) -> None:
    host, port = notion.simulator.url.removeprefix("http://").split(":")
    with contextlib.closing(HTTPConnection(host, int(port))) as connection:
        connection.putrequest("POST", "/v1/pages")
        for name, value in header.items():
            connection.putheader(name, value)
        connection.endheaders()
        assert connection.getresponse().status == 411

    assert notion.simulator.log == []


def test_a_simulator_that_is_started_again_has_the_same_address_and_pages(notion: Simulated) -> None:
    page, url = create(notion).json(), notion.simulator.url
    notion.simulator.stop()
    with pytest.raises(httpx.TransportError):
        notion.calls.get("users/me")

    notion.simulator.start()

    assert notion.simulator.url == url
    assert notion.calls.get(f"pages/{page['id']}").json() == page
