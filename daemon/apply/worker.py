"""The loop of one target: records in, merged into commit order, written in the target's own transactions."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from typing import assert_never

import pybreaker
import structlog

from connectors.contract import Destination, Sink, SinkType, TryAgain
from daemon.apply.policy import ending
from daemon.apply.requests import RowRequests
from daemon.apply.session import POLL_SECONDS, REPORT_SECONDS, Lost, Regrouped, Session
from daemon.apply.target_pins import TargetPins
from daemon.apply.two_way import two_way
from daemon.broker import KafkaUnavailable
from daemon.config.settings import Settings
from daemon.consume.consumer import LaneConsumer, NameTaken
from daemon.consume.versions import Versions
from daemon.errors import Gap, OperatorError, Unavailable
from daemon.routes import routings
from daemon.supervisor import Report
from daemon.watch import Watch
from schemas.topics import transactions_topic

PROBE_SECONDS = 1.0
FAILURES_UNTIL_OPEN = 3
log = structlog.get_logger(__name__)


class ApplyWorker:
    """Applies one source's changes to one target. `instance` tells this host from others that stand by."""

    def __init__(self, settings: Settings, name: str, sink_type: SinkType, instance: str | None = None) -> None:
        target = settings.targets[name]
        self._settings = settings
        self._target = target
        self._target_name = name
        self._host = self._instance = instance or socket.gethostname()
        routes, observes = routings(settings, name), settings.observes(name)
        self._sink: Sink = sink_type(
            Destination(
                name,
                target.url.get_secret_value(),
                target.source,
                routes,
                additive=target.auto_ddl == "additive",
                both_ways=two_way(settings, name),
                delete_limit=None if observes else target.delete_guard.limit,
                mirror=name in settings.services,
                audited=settings.audit.enabled and not observes,
                mirrored=settings.services[name].kept() if name in settings.services else (),
            )
        )
        self._pins = TargetPins(settings, name, self._sink)
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=FAILURES_UNTIL_OPEN, reset_timeout=PROBE_SECONDS, exclude=[OperatorError]
        )

    @property
    def name(self) -> str:
        return f"apply:{self._target_name}"

    def run(self, stop: threading.Event, report: Report) -> None:
        """See `daemon.supervisor.Worker`."""
        self._pins.look()  # another cluster has no group of this target, or another's: nobody would be given the lane
        target = self._target
        consumer = LaneConsumer(
            self._settings.kafka,
            self._target_name,
            transactions_topic(target.source),
            self._instance,
            session_seconds=target.session_timeout_seconds,
            buffer_bytes=target.buffer_bytes,
        )
        requests = RowRequests(self._settings.kafka, self._target_name, target.source)
        versions = Versions(self._settings.kafka, self._target_name, target.source)
        try:
            while not stop.is_set():
                self._stand_by(consumer, stop, report)
                if consumer.owned:
                    self._own(consumer, requests, versions, stop, report)
        except Unavailable:
            raise
        except NameTaken:
            # Ours again, it would drive out the other in its turn, and so on for ever.
            self._instance = f"{self._host}-{uuid.uuid4().hex[:8]}"
            raise
        except Exception as error:  # raised again, as the sentence that it deserves
            stopped = ending(error, self._target_name)
            if stopped is not error:
                log.error("apply failed", target=self._target_name, error=type(error).__name__)  # noqa: TRY400 the message may hold row values
            raise stopped from error
        finally:
            self._sink.close()
            requests.close()
            versions.close()
            consumer.close()

    def _stand_by(self, consumer: LaneConsumer, stop: threading.Event, report: Report) -> None:
        told = 0.0
        with Watch(self._pins.check, self._target.check_interval_seconds, f"{self.name} standby") as watch:
            while not stop.is_set() and not consumer.owned:
                if time.monotonic() - told > REPORT_SECONDS:
                    told = time.monotonic()
                    report("standby", None)
                watch.check()
                consumer.poll(1, POLL_SECONDS)

    def _own(
        self, consumer: LaneConsumer, requests: RowRequests, versions: Versions, stop: threading.Event, report: Report
    ) -> None:
        """One stretch of work, from the stored offsets until it ends, or the target or Kafka goes away."""
        try:
            stored = self._breaker.call(self._sink.claim)
            pinned = self._pins.pin()
            pinned.check()
            with Watch(pinned.check, self._target.check_interval_seconds, self.name) as watch:
                session = Session(
                    self._sink, self._target_name, self._target, self._settings.kafka, consumer, requests, versions,
                    stored, both_ways=self._settings.role(self._target_name) is not None,
                )  # fmt: skip
                session.work(stop, report, watch.check)
        except Lost:
            log.info("lane was given away", target=self._target_name)
        except Gap:
            self._pins.look()  # a topic that was made anew lacks offsets too, and is the cause that has to be told
            raise
        except Regrouped:
            pass  # told where it was done; it goes on from what the target has stored
        except pybreaker.CircuitBreakerError:
            self._wait(consumer, stop, report, "the target does not answer")
        except (Unavailable, TryAgain) as error:
            log.warning(_hindrance(error), target=self._target_name, error=str(error))
            self._sink.close()
            self._wait(consumer, stop, report, str(error))
        finally:
            self._sink.close()

    def _wait(self, consumer: LaneConsumer, stop: threading.Event, report: Report, why: str) -> None:
        """Keep the place in the group, read nothing, and probe again in a moment."""
        report("waiting", why)
        consumer.start({})
        until = time.monotonic() + PROBE_SECONDS
        while not stop.is_set() and time.monotonic() < until:
            consumer.poll(1, POLL_SECONDS)


def _hindrance(error: Unavailable | TryAgain) -> str:
    match error:
        case KafkaUnavailable():
            return "kafka is unavailable"
        case Unavailable():
            return "target is unavailable"
        case TryAgain():
            return "target is busy"
        case _:
            assert_never(error)
