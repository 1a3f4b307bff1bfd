"""The eight databases of the community platform, empty, as the demo starts with them."""

from __future__ import annotations

from connectors.notion.simulator.records import DataSource, Property
from connectors.notion.simulator.schema import of, relate_both_ways, relation
from connectors.notion.simulator.store import Store

KEY = "Sync Key"


def furnish(store: Store) -> dict[str, DataSource]:
    """By name. Relations lead from each to what it belongs to; Projects show their Opportunities too.

    Some properties are the people's own, with no column behind them: Team, Tags, Notes, Files.
    """
    found: dict[str, DataSource] = {}

    def add(name: str, **more: Property) -> DataSource:
        properties = {"Name": of("title"), KEY: of("rich_text")} | {
            one.replace("_", " "): own for one, own in more.items()
        }
        found[name] = store.add_database(name, properties)
        return found[name]

    organisations = add("Organisations", Kind=of("select"), ABN=of("rich_text"), Website=of("url"))
    projects = add(
        "Projects",
        Status=of("status", "Planned", "Active", "Paused", "Completed", "Archived"),
        Area=of("select", "Community", "Country", "Culture"),
        Lead=of("rich_text"),
        Budget=of("number"),
        Starts=of("date"),
        Ends=of("date"),
        Description=of("rich_text"),
        Team=of("people"),
        Tags=of("multi_select"),
        Edited=of("last_edited_time"),
    )
    opportunities = add(
        "Opportunities",
        Stage=of("select", "Identified", "Preparing", "Submitted", "Won", "Lost", "Withdrawn"),
        Amount=of("number"),
        Probability=of("number"),
        Deadline=of("date"),
        Funder=relation(organisations),
        Notes=of("rich_text"),
    )
    relate_both_ways(store, opportunities, "Project", projects, "Opportunities")
    people = add(
        "People",
        Email=of("email"),
        Phone=of("phone_number"),
        LinkedIn=of("url"),
        Source=of("select"),
        Organisation=relation(organisations),
        Last_contacted=of("date"),
        Contact_every=of("number"),
    )
    places = add("Places", Region=of("select"), Latitude=of("number"), Longitude=of("number"))
    add(
        "Actions",
        Project=relation(projects),
        Assignee=relation(people),
        Status=of("status", "Open", "In progress", "Done", "Cancelled"),
        Due=of("date"),
        Done_at=of("date"),
    )
    add(
        "Artifacts",
        Project=relation(projects),
        Place=relation(places),
        Kind=of("select"),
        Link=of("url"),
        Files=of("files"),
    )
    add(
        "Stories",
        Storyteller=of("rich_text"),
        Project=relation(projects),
        Content=of("rich_text"),
        Themes=of("multi_select"),
        Privacy=of("select", "Public"),
        Published=of("date"),
    )
    return found
