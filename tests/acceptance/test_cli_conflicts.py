"""`placemat conflicts` beside a running daemon: somebody is told, looks, decides, and both sides are equal."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.fix_linked import Linked, made_linked
from tests.fix_servers import Kafka, Postgres
from tests.fix_site import Site
from tests.people import a_workspace, made, put
from tests.receivers import Webhooks, webhooks
from tests.waiting import until


@pytest.fixture
def hook() -> Iterator[Webhooks]:
    with webhooks() as found:
        yield found


def edited_apart(linked: Linked) -> uuid.UUID:
    """A storyteller whose biography both sides have changed at the same time."""
    key = made(linked.hub, "storytellers", workspace_id=a_workspace(linked), name="Ruth")
    linked.rest(60)
    with linked.held():
        for side, words in ((linked.hub, "ours"), (linked.spoke, "theirs")):
            put(side, "storytellers", key, bio=words)
    linked.rest()
    return key


def test_somebody_is_told_and_decides_by_command(linked: Linked, hook: Webhooks) -> None:
    linked.route("storytellers", rules={"bio": "manual"}, title="name")
    linked.site.set("notify.webhook_url", hook.url)
    linked.init()
    process = linked.site.spawn("run")
    key = edited_apart(linked)

    message = until(lambda: hook.got)[0]
    assert (message["new"], message["conflicts"][0]["title"]) == (1, "Ruth")
    number = str(message["conflicts"][0]["id"])
    workers = linked.site.placemat("status", "--json").json["workers"]
    assert [one["state"] for one in workers if one["name"] == f"notify:{linked.site.source}"] == ["running"]

    conflicts = ("conflicts",)
    listed = linked.site.placemat(*conflicts, "list")
    assert f"Ruth (id={key})" in listed.out
    assert "1 waits." in listed.err
    shown = linked.site.placemat(*conflicts, "show", number)
    assert "ours" in shown.out
    assert "theirs" in shown.out
    tried = linked.site.placemat(*conflicts, "resolve", number, "--take", linked.spoke_name, "--dry-run")
    assert tried.err == f"Would decide conflict {number}.\n"
    assert linked.site.placemat(*conflicts, "list", "--json").json["count"] == 1
    done = linked.site.placemat(
        *conflicts, "resolve", number, "--take", linked.spoke_name, "--reason", "Theirs is newer."
    )
    assert (done.code, done.err) == (0, f"Decided conflict {number}.\n")
    linked.rest()
    for side in (linked.hub, linked.spoke):
        assert side.execute("SELECT bio FROM storytellers").fetchall() == [("theirs",)]
    after = linked.site.placemat(*conflicts, "show", number).out
    assert "Nothing waits any more." in after
    assert "(Theirs is newer.): bio = theirs" in after
    undone = linked.site.placemat(*conflicts, "undo", number)
    assert undone.code == 0, undone.err
    linked.rest()
    for side in (linked.hub, linked.spoke):
        assert side.execute("SELECT bio FROM storytellers").fetchall() == [("ours",)]
    assert process.poll() is None


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("show", "7"), 1, "There is no conflict 7."),
        (("resolve", "7", "--take", "hub"), 1, "There is no conflict 7."),
        (("undo", "7"), 1, "There is no conflict 7."),
        (("resolve", "--take", "hub"), 2, "Say which conflict to decide."),
        (("resolve", "7", "--all", "--take", "hub"), 2, "Say which conflict to decide."),
        (("resolve", "7"), 2, "Say what shall stand."),
        (("resolve", "7", "--keep", "--delete"), 2, "The row cannot stay and go."),
        (("list", "--target", "nobody"), 2, "There is no spoke nobody."),
        (("resolve", "--all", "--take", "hub"), 2, "This would decide 0 conflicts."),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    prepared: Linked, words: tuple[str, ...], code: int, sentence: str
) -> None:
    ended = prepared.site.placemat("conflicts", *words)
    assert (ended.code, ended.out) == (code, "")
    assert sentence in ended.err


@pytest.fixture(scope="module")
def prepared(
    postgres_server: Postgres, kafka_server: Kafka, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Linked]:
    with made_linked(postgres_server, kafka_server, tmp_path_factory.mktemp("conflicts")) as found:
        found.init()
        yield found


def test_a_hub_that_is_not_prepared_is_told_so(linked: Linked) -> None:
    ended = linked.site.placemat("conflicts", "list")
    assert (ended.code, "is not prepared" in ended.err) == (1, True)


def test_where_nothing_goes_both_ways_nothing_can_wait(site: Site) -> None:
    ended = site.placemat("conflicts", "list")
    assert (ended.code, "No table goes both ways" in ended.err) == (2, True)
