"""From a person's change in the primary to an entry that names them, by `placemat run`."""

from __future__ import annotations

import psycopg

from tests.asking import ask
from tests.fix_site import Site
from tests.waiting import until

WORKSPACE = "00000000-0000-4000-8000-000000000001"


def test_a_change_in_the_primary_is_entered_with_who_made_it(site: Site) -> None:
    site.set("targets.empathy_ledger.tables", {"public.workspaces": {"local": ["updated_at"]}})
    key = site.config.parent / "audit.pem"
    assert site.placemat("audit", "key", str(key)).code == 0
    site.set("audit.signing_key", str(key))
    site.set("audit.topic", f"audit-{site.uid}")
    ended = site.placemat("init")
    assert ended.code == 0, ended.err
    site.spawn("run")
    with psycopg.connect(site.primary) as connection:
        connection.execute("INSERT INTO workspaces (id, slug, name) VALUES (%s, 'one', 'One')", [WORKSPACE])
        connection.execute("SELECT pg_logical_emit_message(true, 'placemat.actor', '{\"actor\": \"ada\"}')")
    with psycopg.connect(site.primary) as connection:
        connection.execute("SELECT pg_logical_emit_message(true, 'placemat.actor', 'grace')")
        connection.execute("UPDATE workspaces SET name = 'Two' WHERE id = %s", [WORKSPACE])
    entered = "SELECT 1 FROM placemat.audit_entries WHERE op = 'u' AND kind = 'event'"
    until(lambda: ask(site.state, entered), 60, what="the change entered")
    entries = site.placemat("audit", "show", "--entity", "workspaces", "--key", WORKSPACE, "--json").json["entries"]
    (updated,) = (one for one in entries if one["op"] == "u")
    assert (updated["who"], updated["fields"]) == ("grace", ["name"])
    assert (updated["before"], updated["after"]["name"]) == ({"name": "One"}, "Two")
    assert (updated["source"], updated["target"], updated["outcome"]) == (site.source, "empathy_ledger", "applied")
    assert [one["who"] for one in entries if one["op"] == "c"] == ["ada"]
    until(lambda: ask(site.state, "SELECT 1 FROM placemat.audit_checkpoints"), 30, what="a signature")
    verified = site.placemat("audit", "verify", "--json")
    assert verified.code == 0, verified.out
    assert verified.json["checkpoints"] >= 1
    standing = site.placemat("status", "--json").json
    assert standing["targets"]["empathy_ledger"]["audit"]["rows"] == 0
    assert "audit:empathy_ledger" in {worker["name"] for worker in standing["workers"]}
