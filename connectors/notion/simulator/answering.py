"""From a request to its answer: what the service does, and what goes wrong on demand."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Mapping
from uuid import uuid4

from connectors.notion.simulator import errors
from connectors.notion.simulator.api import Api, Call
from connectors.notion.simulator.errors import ApiError, Body
from connectors.notion.simulator.exchange import UNKNOWN, Answer, Exchange, Request, Seen
from connectors.notion.simulator.faults import Fault, Faults
from connectors.notion.simulator.oauth import OAuth
from connectors.notion.simulator.rates import BLOCKED, CONNECTION, Rates
from connectors.notion.simulator.records import Connection
from connectors.notion.simulator.store import Store

JSON_TYPE = "application/json; charset=utf-8"
GATEWAY = b"<html><head><title>502 Bad Gateway</title></head></html>"
ENDED = Answer(0, b"", {}, "none")


class Answering:
    """Thread-safe. `log` is in the order in which answers were ready; `number` and `at` are of the arrival."""

    def __init__(self, store: Store, oauth: OAuth, rates: Rates, faults: Faults) -> None:
        self._store = store
        self._oauth = oauth
        self._rates = rates
        self._faults = faults
        self._api = Api(store)
        self._numbers = itertools.count(1)
        self.stopping = threading.Event()
        self.log: list[Seen] = []
        self.observers: list[Callable[[Exchange], None]] = []

    def answer(self, request: Request) -> Answer:
        at, number = self._store.clock(), next(self._numbers)
        route, ids = request.route()
        fault = self._faults.pick(request.method, route, request.path)
        if fault is not None and fault.kind == "slow_before":
            self.stopping.wait(fault.seconds)
        turn = _Turn(request, route, ids, fault)
        answer, body = (ENDED, None) if fault and fault.kind == "cut_before" else self._answered(turn)
        whole = answer.part == "all"
        seen = Seen(
            number,
            at,
            request.method,
            request.path,
            route,
            turn.connection.bot.id if turn.connection else None,
            answer.status if whole else None,
            fault.kind if fault else None,
            turn.done,
            turn.request_id,
        )
        self._note(seen, turn, body)
        return answer

    def _note(self, seen: Seen, turn: _Turn, body: Body | None) -> None:
        with self._store.lock:
            self.log.append(seen)
            exchange = Exchange(seen, turn.ids, turn.request.query, turn.given, body)
            for observer in self.observers:
                observer(exchange)

    def _answered(self, turn: _Turn) -> tuple[Answer, Body | None]:
        try:
            if turn.fault is not None:
                _before(turn.fault)
            with self._store.lock:
                body = self._carry_out(turn)
            turn.done = True
            if turn.fault is not None:
                _after(turn.fault, turn.route, body)
        except ApiError as error:
            return _refused(error, turn.request_id), error.body(turn.request_id)
        except _Gateway:
            return Answer(502, GATEWAY, {"Content-Type": "text/html"}), None
        if turn.location is not None:
            return Answer(302, b"", {"Location": turn.location}), None
        answer = Answer(200, _json(body), _headers(turn.request_id))
        return _delivered(answer, turn.fault), body

    def _carry_out(self, turn: _Turn) -> Body:
        request, store = turn.request, self._store
        if turn.route == UNKNOWN:
            raise errors.invalid_url()
        if turn.route == "oauth_authorize":
            turn.location = self._oauth.authorize(request.query)
            return {}
        authorization = request.headers.get("authorization")
        if turn.route.startswith("oauth_"):
            return self._oauth.answer(turn.route, authorization, request.body(store.settings.body_bytes))
        scheme, _, token = (authorization or "").partition(" ")
        turn.connection = store.connection_of(token) if scheme == "Bearer" else None
        if turn.connection is None:
            raise errors.unauthorized()
        self._rates.admit(turn.connection.bot.id, turn.route, store.clock())
        version = request.headers.get("notion-version")
        if version not in store.settings.versions:
            raise errors.missing_version(version)
        body = request.body(store.settings.body_bytes)
        turn.given = body.value if request.content else None
        return self._api.endpoints[turn.route](Call(turn.connection, version, turn.ids, request.query, body))


class _Turn:
    """What becomes known of one request on its way."""

    def __init__(self, request: Request, route: str, ids: Mapping[str, str], fault: Fault | None) -> None:
        self.request = request
        self.route = route
        self.ids = ids
        self.fault = fault
        self.request_id = str(uuid4())
        self.connection: Connection | None = None
        self.given: object = None
        self.done = False
        self.location: str | None = None


class _Gateway(Exception):
    """502: what is in front of the service answers."""


def _before(fault: Fault) -> None:
    """Raises where the request is refused and nothing is done."""
    match fault.kind:
        case "failed":
            raise _failure(fault.status)
        case "throttled":
            raise errors.throttled(CONNECTION, fault.retry_after)
        case "blocked":
            raise errors.throttled(BLOCKED, None)
        case "overloaded":
            raise errors.overloaded(fault.retry_after)
        case "block_limit":
            raise errors.full(1000)
        case "expired":
            raise errors.unauthorized()
        case "conflict":
            raise errors.conflict()
        case "refused":
            raise errors.validation("body failed validation: the simulator was told to refuse it.")
        case _:
            return


def _after(fault: Fault, route: str, body: Body) -> None:
    """Raises where what was done is answered as a failure."""
    match fault.kind:
        case "saved_503":
            raise errors.unavailable(_committed(route, body))
        case "saved_503_silent":
            raise errors.unavailable(None)
        case "failed_after":
            raise _failure(fault.status)
        case _:
            return


def _committed(route: str, body: Body) -> Body:
    """Notion, status codes: the id of what was made, or the ids of what was appended."""
    if route == "create_page":
        return {"committed_resource_id": body["id"]}
    results = body.get("results")
    if route == "append_children" and isinstance(results, list):
        return {"committed_child_ids": [one["id"] for one in results]}
    return {}


def _failure(status: int) -> ApiError | _Gateway:
    if status == 502:
        return _Gateway()
    code, message = errors.OF_STATUS[status]
    return ApiError(status, code, message)


def _refused(error: ApiError, request_id: str) -> Answer:
    headers = _headers(request_id)
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    return Answer(error.status, _json(error.body(request_id)), headers)


def _delivered(answer: Answer, fault: Fault | None) -> Answer:
    match fault.kind if fault else None:
        case "cut_after":
            return answer.but("none")
        case "cut_within":
            return answer.but("half")
        case "slow_after":
            return answer.but(wait=fault.seconds if fault else 0)
        case _:
            return answer


def _headers(request_id: str) -> dict[str, str]:
    return {"Content-Type": JSON_TYPE, "x-notion-request-id": request_id}


def _json(body: Body) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
