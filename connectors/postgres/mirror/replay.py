"""The mirror of a service beside its live worker, as `placemat replay` writes it."""

from __future__ import annotations

from collections.abc import Mapping

from connectors.postgres.replay import PostgresReplay

_FORGET = """
UPDATE placemat.remotes SET sent = '{}', remote_id = coalesce(asked.remote_id, remotes.remote_id),
    alive = coalesce(asked.remote_id, remotes.remote_id) IS NOT NULL
FROM unnest(%(keys)s::text[], %(ids)s::text[]) AS asked (key, remote_id)
WHERE remotes.table_name = %(table)s AND remotes.key = asked.key
"""
_KNOW = """
INSERT INTO placemat.remotes (table_name, key, remote_id, sent)
SELECT %(table)s, key, remote_id, '{}' FROM unnest(%(keys)s::text[], %(ids)s::text[]) AS asked (key, remote_id)
WHERE remote_id IS NOT NULL ON CONFLICT DO NOTHING
"""
_QUEUE = """
INSERT INTO placemat.queue AS q (table_name, key) SELECT %(table)s, unnest(%(keys)s::text[])
ON CONFLICT (table_name, key) DO UPDATE SET changes = q.changes + 1, due = clock_timestamp()
"""


class MirrorReplay(PostgresReplay):
    """See `connectors.contract.RetellTarget`."""

    def retell(self, table: str, records: Mapping[bytes, str | None]) -> None:
        values = {"table": table, "keys": [key.decode() for key in records], "ids": list(records.values())}
        connection = self._session()
        with self._translated():
            for statement in (_FORGET, _KNOW, _QUEUE):
                connection.execute(statement, values)
            connection.execute("NOTIFY placemat_queue")
