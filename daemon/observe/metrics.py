"""Every metric, in one place: base units in the name, few values per label, never a key or a value of a row.

A series exists only once its number is known: nothing starts as a made-up 0.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]  # one series more per counter, for a time nobody asks

CAPTURED_RECORDS = Counter(
    "placemat_captured_records_total", "Records that Kafka acknowledged, all topics of a source.", ["source"]
)
CAPTURED_BYTES = Counter("placemat_captured_bytes_total", "Bytes of acknowledged records, keys and values.", ["source"])
CAPTURED_TRANSACTIONS = Counter(
    "placemat_captured_transactions_total", "Transaction ends that Kafka acknowledged.", ["source"]
)
SKIPPED_RECORDS = Counter(
    "placemat_skipped_records_total", "Records that were in their topic already and were not sent again.", ["source"]
)
OVERSIZE_RECORDS = Counter(
    "placemat_oversize_records_total", "Records too large to publish, replaced by a placeholder.", ["source"]
)
SNAPSHOT_ROWS = Counter("placemat_snapshot_rows_total", "Rows published by the initial copy.", ["source"])
CAPTURE_CONFIRMED_LSN = Gauge(
    "placemat_capture_confirmed_lsn_bytes", "Position confirmed to the slot, in bytes of WAL.", ["source"]
)
SLOT_SAFE_BYTES = Gauge(
    "placemat_slot_safe_bytes", "WAL that may still be written before the slot is lost.", ["source"]
)
SLOT_SECONDS_LEFT = Gauge(
    "placemat_slot_seconds_left", "Time until the slot is lost, at the rate of the last minute.", ["source"]
)
CAPTURE_LAG_BYTES = Gauge(
    "placemat_capture_lag_bytes", "WAL written by the source and not yet confirmed to its slot.", ["source"]
)

OUTCOMES = Counter(
    "placemat_outcomes_total", "Events by what became of them, as the audit log has it.", ["target", "outcome"]
)
APPLIED_RECORDS = Counter(
    "placemat_applied_records_total", "Records whose outcome a target has committed.", ["target", "op"]
)
APPLIED_TRANSACTIONS = Counter(
    "placemat_applied_transactions_total", "Source transactions that a target has committed.", ["target"]
)
LATE_RECORDS = Counter(
    "placemat_late_records_total", "Records dropped because the target had them already.", ["target"]
)
APPLY_SECONDS = Histogram(
    "placemat_apply_seconds",
    "Commit in the source to commit in the target.",
    ["target"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3_600),
)
PARKED_KEYS = Gauge("placemat_parked_keys", "Keys that wait for an operator or for their row.", ["target"])
HELD_DELETES = Gauge("placemat_held_deletes", "Rows whose deletion waits for an operator's answer.", ["target"])
LAG_RECORDS = Gauge("placemat_lag_records", "Records in the topics that the target has not taken.", ["target"])
LAG_SECONDS = Gauge("placemat_lag_seconds", "Age of the oldest transaction not yet applied.", ["target"])
LAG_BYTES = Gauge("placemat_lag_bytes", "WAL between what is applied and the newest published commit.", ["target"])

PUSH_BACKLOG_KEYS = Gauge("placemat_push_backlog_keys", "Rows that a service has yet to be told.", ["target"])
PUSH_BACKLOG_SECONDS = Gauge("placemat_push_backlog_seconds", "Age of the oldest of those rows.", ["target"])
FETCH_UNREAD = Gauge("placemat_fetch_unread_records", "Records of a service that are to be read anew.", ["target"])

PAUSED_RECORDS = Gauge("placemat_paused_records", "Records that wait for a paused table.", ["target", "table"])

SWEEPS = Counter(
    "placemat_sweeps_total", "Tables of a service that were listed whole and compared with what was known.", ["target"]
)
SWEPT_RECORDS = Counter(
    "placemat_swept_records_total",
    "Records that a sweep has found: vanished or unknown, read anew, or made twice, and put into the trash.",
    ["target", "found"],
)
STRAY_RECORDS = Gauge(
    "placemat_stray_records", "Records that hold the key of another's row, and are left to people.", ["target"]
)

CONFLICTS_WAITING = Gauge(
    "placemat_conflicts_waiting", "Conflicts that wait for a person, and what the hub refuses.", ["hub"]
)
NOTIFICATIONS = Counter(
    "placemat_notifications_total", "Messages that told somebody of waiting conflicts.", ["hub", "channel"]
)
NOTIFICATION_FAILURES = Counter(
    "placemat_notification_failures_total", "Messages that did not arrive, after all attempts.", ["hub", "channel"]
)
WEBHOOKS = Counter(
    "placemat_webhooks_total", "Requests of services, and of strangers, by what became of them.", ["target", "outcome"]
)
AUDIT_LAG_ROWS = Gauge("placemat_audit_lag_rows", "Transactions of a target without audit entries.", ["target"])
AUDIT_HEADS_FAILING = Gauge(
    "placemat_audit_heads_failing", "1 while Kafka does not take the heads of the audit log.", ["target"]
)
AUDIT_LAG_SECONDS = Gauge("placemat_audit_lag_seconds", "Age of the oldest of those transactions.", ["target"])

GAP = Gauge("placemat_gap", "1 while the worker is stopped because changes are missing.", ["worker", "reason"])
WORKER_STATE = Gauge("placemat_worker_state", "1 for the state that the worker is in.", ["worker", "state"])
WORKER_RESTARTS = Counter("placemat_worker_restarts_total", "Starts after a failure.", ["worker"])
