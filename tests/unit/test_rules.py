"""The rules that can be switched off are those of today's code."""

from __future__ import annotations

import ast
import re

import pytest

from tests.command import REPOSITORY
from tests.crash.rules import RULES, Rule
from tests.crash.switched_off import Ran, parse, results

REPORT = """<testsuites><testsuite>
<testcase classname="tests.unit.test_a" name="test_passes"/>
<testcase classname="tests.unit.test_a" name="test_fails[a:3]"><failure message="assert 1 == 2&#10; x"/></testcase>
<testcase classname="tests.unit.test_a" name="test_is_cut"><failure message="Failed: Timeout (&gt;180.0s)"/></testcase>
<testcase classname="tests.unit.test_a" name="test_breaks"><failure message="NameError: name 'a'"/></testcase>
<testcase classname="tests.unit.test_a" name="test_is_not_set_up"><error message="AssertionError: no"/></testcase>
</testsuite></testsuites>"""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_names_what_is_there_once_and_leaves_code_that_runs(rule: Rule) -> None:
    text = (REPOSITORY / rule.file).read_text(encoding="utf-8")
    assert text.count(rule.old) == 1
    ast.parse(text.replace(rule.old, rule.new))
    for test in rule.tests:
        file, _, name = test.partition("::")
        defined = re.escape(name.partition("[")[0])
        assert re.search(rf"^def {defined}\(", (REPOSITORY / file).read_text(encoding="utf-8"), re.MULTILINE), test


def test_rules_have_names_of_their_own() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_every_rule_is_switched_off_when_none_is_named() -> None:
    assert parse(["--baseline"]).rules == list(RULES)
    assert parse(["no_skip"]).rules == [rule for rule in RULES if rule.name == "no_skip"]


def test_a_rule_that_is_not_known_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(["nothing"])
    assert "no rule is called nothing: choose from confirm_before_ack" in capsys.readouterr().err


def test_only_a_test_that_fails_by_assertion_proves_a_rule() -> None:
    found = results(REPORT)
    assert found["tests/unit/test_a.py::test_passes"].how is None
    failed = "tests/unit/test_a.py::test_fails[a:3]"
    assert found.pop(failed) == Ran(failed, "assert 1 == 2", asserted=True)
    assert [ran.test for ran in found.values() if ran.asserted] == []
