"""Counts, once the load has ended and the target has caught up."""

from __future__ import annotations

from collections.abc import Sequence

from daemon.embedded.witness.effects import compare_effects
from daemon.embedded.witness.records import compare_records, count_returned
from daemon.embedded.witness.report import Tally, WitnessReport
from daemon.embedded.witness.rows import compare_rows
from daemon.embedded.witness.tables import canonical_connection, witnessed
from daemon.embedded.witness.topics import read_topics


def count(
    primary_dsn: str, target_dsn: str, bootstrap_servers: str, topics: Sequence[str], *, own_role: str | None = None
) -> WitnessReport:
    """Compare the journal, the topics (one per witnessed table) and the target, from the time of `install` on.

    Where tables go both ways, `own_role` is that under which the daemon writes into the primary. As long as nobody but
    the daemon changes the target, it has nothing to write there: each of its changes in the journal is one of its own
    that came back.

    What is still on its way counts as lost. Large values stay in the databases and in the topics: memory does not
    grow with the number of changes. Raises psycopg.Error or KafkaException when a server does not answer, KeyError
    for a topic of a table that is not witnessed, ValueError for a record that is none of a capture's.
    """
    tally = Tally()
    with canonical_connection(primary_dsn) as primary, canonical_connection(target_dsn) as target:
        tables = witnessed(primary)
        partitions = read_topics(primary, bootstrap_servers, topics, tables)
        compare_records(primary, partitions, tally)
        if own_role is not None:
            count_returned(primary, own_role, tally)
        compare_effects(primary, target, tally)
        for table in tables.values():
            compare_rows(primary, target, table, tally)
    return tally.report()
