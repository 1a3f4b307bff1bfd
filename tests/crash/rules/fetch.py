"""Rules of how a service is read: what is stored of it and when, what is twice there, and what has gone unseen."""

from __future__ import annotations

from tests.crash.rules.rule import Rule

_FETCH = "tests/integration/test_fetch.py"
_LAG = "tests/acceptance/test_notion_lag.py"
_BACKLOG = "tests/integration/test_push_backlog.py"
_SWEEP = "tests/integration/test_fetch_sweep.py"
_OUTAGE = "tests/integration/test_fetch_outage.py"
_STORE = "connectors/postgres/mirror/fetch_store.py"
_FETCHER = "daemon/fetch/fetcher.py"
_TELLING = "daemon/fetch/telling.py"
_STRAYS = "daemon/fetch/strays.py"

FETCH = (
    Rule(
        "read_over_written",
        "What was read before our own write is no news.",
        _STORE,
        "coalesce((SELECT written_at > ",
        "coalesce((SELECT false AND written_at > ",
        (f"{_FETCH}::test_a_read_that_began_before_our_own_write_is_no_news",),
    ),
    Rule(
        "query_overrules",
        "What a query shows otherwise than it was known just now is read by itself.",
        _STORE,
        "if known == (True,):",
        "if known == ():",
        (
            f"{_FETCH}::test_a_query_that_shows_what_was_before_is_not_believed",
            f"{_LAG}::test_what_we_have_written_is_not_undone_by_a_query_that_does_not_show_it_yet",
        ),
    ),
    Rule(
        "edit_put_off",
        "Only what nobody but the service has told of waits to be read together.",
        _FETCHER,
        "if one.table == table and one.told}",
        "if one.table == table}",
        (f"{_BACKLOG}::test_what_people_do_to_records_that_we_have_just_written_is_not_put_off",),
    ),
    Rule(
        "settled_too_early",
        "A page is read again as long as somebody may have edited it within the minute that it tells.",
        "connectors/notion/settled.py",
        "told < datetime.fromisoformat(remote.version) + AFTER:",
        "told < datetime.fromisoformat(remote.version):",
        ("tests/unit/test_notion_settled.py::test_a_page_whose_minute_is_over_only_just_is_not",),
    ),
    Rule(
        "query_too_early",
        "A query that may not show yet what was told confirms nothing.",
        _FETCHER,
        "if began - some[id_].since < LAG_US]",
        "if began - some[id_].since < 0]",
        (f"{_BACKLOG}::test_what_we_have_written_to_is_read_together_once_queries_show_it_and_else_by_itself",),
    ),
    Rule(
        "read_while_open",
        "Nothing is stored of a record that is being written to.",
        _STORE,
        "SELECT EXISTS (SELECT FROM placemat.intents",
        "SELECT false AND EXISTS (SELECT FROM placemat.intents",
        (f"{_FETCH}::test_nothing_is_stored_of_a_record_that_is_being_written_to",),
    ),
    Rule(
        "cursor_ahead",
        "Through where a service was read is stored once all of it was.",
        "daemon/fetch/polling.py",
        "if page.cursor is not None:",
        'if page.cursor == "":',
        (f"{_OUTAGE}::test_a_look_that_breaks_off_leaves_the_cursor_where_it_was",),
    ),
    Rule(
        "told_before_read",
        "Nothing is told of a table before it was looked through.",
        "connectors/postgres/mirror/leases.py",
        """READ_THROUGH = "EXISTS (SELECT FROM placemat.cursors WHERE name = 'poll:' || queue.table_name)\"""",
        'READ_THROUGH = "true"',
        (f"{_SWEEP}::test_nothing_is_told_of_a_table_before_it_was_looked_through",),
    ),
    Rule(
        "two_are_one",
        "A row has one record.",
        _TELLING,
        "elif key is not None and owners.setdefault(key.text, one.id) == one.id:",
        "elif key is not None:",
        (
            f"{_FETCH}::test_edits_copies_and_the_trash_are_read",
            f"{_SWEEP}::test_a_second_page_of_ours_goes_and_makes_no_row",
        ),
    ),
    Rule(
        "several_read",
        "One worker reads.",
        _STORE,
        "return row is not None and bool(row[0])\n\n    def now",
        "return row is not None\n\n    def now",
        (f"{_FETCH}::test_only_one_reads",),
    ),
    Rule(
        "ended_at_a_limit",
        "A listing that ends at its limit goes on.",
        "connectors/notion/source.py",
        'return replace(at, since=last, next=None, last="")',
        "return None",
        (f"{_SWEEP}::test_a_listing_ends_at_no_limit",),
    ),
    Rule(
        "twice_is_a_row",
        "A second record that we have made is no row that people have made.",
        _TELLING,
        "(one.ours or not seen)",
        "(not seen)",
        (f"{_SWEEP}::test_a_second_page_of_ours_goes_and_makes_no_row",),
    ),
    Rule(
        "work_thrown_away",
        "A second record that somebody has edited is left to people.",
        _STRAYS,
        "remote.ours and remote.untouched",
        "remote.ours",
        (
            f"{_SWEEP}::test_what_people_did_before_a_second_page_was_seen_counts_too",
            f"{_SWEEP}::test_a_second_page_that_people_have_edited_is_left_to_them",
        ),
    ),
    Rule(
        "copy_thrown_away",
        "What people have made is left to them.",
        _STRAYS,
        "remote.ours and remote.untouched",
        "True",
        (f"{_SWEEP}::test_a_copy_where_people_make_no_rows_is_listed_until_they_have_taken_it_away",),
    ),
    Rule(
        "thrown_away_unseen",
        "A second record is read right before it goes.",
        _STRAYS,
        "elif not stray(remote, one.key).ours:",
        "elif not one.ours:",
        (f"{_SWEEP}::test_a_second_page_that_people_have_edited_is_left_to_them",),
    ),
    Rule(
        "thrown_away_while_open",
        "No record goes while a request of its row is open.",
        _STRAYS,
        "if standing.busy:",
        "if standing.busy and standing.wanted:",
        (f"{_SWEEP}::test_nothing_goes_while_a_request_of_its_row_is_open",),
    ),
    Rule(
        "last_thrown_away",
        "The last record of a row that is wanted stays.",
        _STRAYS,
        "return not standing.wanted",
        "return True",
        (
            f"{_SWEEP}::test_the_last_page_of_a_row_never_goes[trash]",
            f"{_SWEEP}::test_the_last_page_of_a_row_never_goes[delete_forever]",
        ),
    ),
    Rule(
        "thrown_away_untold",
        "What was put into the trash is in the audit log, whoever has died over it.",
        _STRAYS,
        "if one.trashing:",
        "if not one.ours:",
        (
            f"{_SWEEP}::test_who_dies_after_the_request_leaves_one_that_the_next_one_records",
            f"{_SWEEP}::test_a_reply_that_is_lost_is_looked_for_and_not_repeated",
        ),
    ),
    Rule(
        "hidden_is_gone",
        "What is not shared with us any more is not deleted.",
        "connectors/notion/sink.py",
        "return self._hidden(table) or Done(None, found.ids.theirs)",
        "return Done(None, found.ids.theirs)",
        (f"{_SWEEP}::test_what_is_not_shared_any_more_is_not_deleted",),
    ),
    Rule(
        "moved_is_there",
        "A record that is in another database by now is none of the table's.",
        "connectors/notion/sink.py",
        "moved = not self._entities[table].holds(found.body)",
        "moved = False",
        (f"{_SWEEP}::test_what_has_gone_or_come_unseen_is_found",),
    ),
    Rule(
        "vanished_unseen",
        "What a whole listing lacks is read.",
        "connectors/postgres/mirror/comparing.py",
        "WHERE table_name = %s AND alive AND",
        "WHERE table_name = %s AND NOT alive AND",
        (
            f"{_SWEEP}::test_what_has_gone_or_come_unseen_is_found",
            f"{_SWEEP}::test_what_people_take_away_where_they_have_no_say_is_put_back[trash]",
        ),
    ),
    Rule(
        "not_put_back",
        "A row of a table that goes one way is told again where its record is gone.",
        _STORE,
        "if outward and one.gone and was_there:",
        "if outward and one.gone and not row[0]:",
        (
            f"{_SWEEP}::test_what_people_take_away_where_they_have_no_say_is_put_back[trash]",
            f"{_SWEEP}::test_what_people_take_away_where_they_have_no_say_is_put_back[delete_forever]",
        ),
    ),
    Rule(
        "listed_before_told",
        "What waits to be told goes before a listing.",
        "daemon/fetch/listing.py",
        "not (self._mirror.idle() or",
        "not (self._mirror.now() or",
        (f"{_SWEEP}::test_what_waits_to_be_told_goes_before_a_listing_unless_that_is_long_overdue",),
    ),
)
