"""The act of the demo that is played in Notion, and what one can try there afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import psycopg

from daemon.embedded import demo_site
from daemon.embedded.demo_daemon import DemoDaemon
from daemon.embedded.notion.office import Office
from daemon.embedded.notion.person import text
from daemon.embedded.notion.report import NotionReport
from daemon.embedded.notion.show import Show
from daemon.embedded.notion.site import REQUESTS_PER_MINUTE
from daemon.embedded.settling import Settling


def perform(
    dsns: Mapping[str, str], office: Office, daemon: DemoDaemon, settling: Settling, say: Callable[[str], None]
) -> NotionReport:
    """Once Notion was told of everything, people change rows there and in the primary."""
    settling.quiet()
    with psycopg.connect(dsns["primary"]) as primary:
        workspace = demo_site.shown_workspace(primary)
    say(
        "Working in Notion: it is simulated, has all projects and opportunities and the rows of one workspace"
        f" ({office.counts['created']:,} pages were made so far), and takes {REQUESTS_PER_MINUTE} requests a minute"
        " as its larger plans do …"
    )
    return Show(dsns, office, workspace, daemon.placemat, say, daemon.check).perform(settling.quiet)


def hint(office: Office | None) -> str:
    """Commands that edit a project as a person does, and look for that in the Empathy Ledger."""
    page = next(iter(office.store.pages("Projects")), None) if office is not None else None
    if office is None or page is None:
        return ""
    return (
        f"  {office.ada.command(page.id, {'Lead': text('Told in Notion')})}\n"
        "  .venv/bin/placemat dev sql empathy_ledger"
        " \"SELECT id, name, lead FROM projects WHERE lead = 'Told in Notion'\"\n"
    )
