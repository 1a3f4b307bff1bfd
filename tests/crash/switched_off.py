"""`python -m tests.crash.switched_off [RULE …]`: with a rule switched off, the tests that pin it fail.

Each rule is switched off in a copy of the tree, and its tests run there. It is proven when every one of them fails by
an assertion. `--baseline` runs them first in a copy in which nothing is changed, where all must pass. Ends with status
1 when a rule is not proven.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree import ElementTree

from daemon.cli.output import say, write_json
from tests.command import REPOSITORY
from tests.crash.rules import RULES, Rule

BY_ASSERTION = re.compile(r"assert |AssertionError|Failed: DID NOT RAISE")
"""How a failure that a test has asked for begins; everything else is a test that could not be run to its question."""
TESTS_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Ran:
    """One test: `how` is None when it passed, else the first line of why not."""

    test: str
    how: str | None
    asserted: bool = False


@dataclass(frozen=True, slots=True)
class Proof:
    """A rule that was switched off, and what became of its tests."""

    rule: str
    proven: bool
    seconds: float
    tests: list[Ran]


def main(arguments: Sequence[str]) -> int:
    given = parse(arguments)
    chosen: list[Rule] = given.rules
    broken = baseline(chosen) if given.baseline else []
    for ran in broken:
        say(f"{ran.test} fails with every rule as it is: {ran.how}")
    proofs = []
    for rule in chosen:
        proofs.append(proof := prove(rule))
        if not given.json:
            tell(proof)
    if given.json:
        write_json({"baseline": [asdict(ran) for ran in broken], "rules": [asdict(proof) for proof in proofs]})
    return 0 if not broken and all(proof.proven for proof in proofs) else 1


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """`rules` (all when none is named), `baseline` and `json`; ends the program for a rule that is not known."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.crash.switched_off",
        description=__doc__,
        epilog="rules: " + "; ".join(f"{rule.name}: {rule.sentence}" for rule in RULES),
    )
    parser.add_argument("rules", nargs="*", metavar="RULE", type=_named, help="all when none is named")
    parser.add_argument("--baseline", action="store_true", help="run the tests first with every rule as it is")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the text")
    given = parser.parse_args(arguments)
    given.rules = given.rules or list(RULES)
    return given


def _named(name: str) -> Rule:
    found = next((rule for rule in RULES if rule.name == name), None)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"no rule is called {name}: choose from {', '.join(one.name for one in RULES)}"
        )
    return found


def tell(proof: Proof) -> None:
    """One line."""
    failed = sum(ran.asserted for ran in proof.tests)
    others = "; ".join(f"{ran.test}: {ran.how or 'passed'}" for ran in proof.tests if not ran.asserted)
    say(
        f"{proof.rule:<24} {'proven' if proof.proven else 'NOT PROVEN':<10} {proof.seconds:>6.1f} s"
        f"  {failed} of {len(proof.tests)} failed by assertion{f': {others}' if others else ''}"
    )


def baseline(rules: Sequence[Rule]) -> list[Ran]:
    """The tests of these rules that do not pass with every rule as it is."""
    tests = list(dict.fromkeys(test for rule in rules for test in rule.tests))
    with copied() as tree:
        return [ran for ran in run(tree, tests) if ran.how is not None]


def prove(rule: Rule) -> Proof:
    """Switch off one rule in a copy of the tree, and run its tests there."""
    began = time.monotonic()
    with copied() as tree:
        switch_off(rule, tree)
        ran = run(tree, rule.tests)
    return Proof(rule.name, all(one.asserted for one in ran), round(time.monotonic() - began, 1), ran)


def switch_off(rule: Rule, tree: Path) -> None:
    file = tree / rule.file
    text = file.read_text(encoding="utf-8")
    assert text.count(rule.old) == 1, f"{rule.name}: its text is not once in {rule.file}"
    file.write_text(text.replace(rule.old, rule.new), encoding="utf-8")


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of the working tree, as git knows it; it goes away again."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, check=True, capture_output=True, text=True,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="placemat-rule-") as directory:
        for name in filter(None, listed.stdout.split("\0")):
            source, copy = REPOSITORY / name, Path(directory) / name
            if source.is_file():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, copy)
        yield Path(directory)


def run(tree: Path, tests: Sequence[str]) -> list[Ran]:
    """Run tests in a tree; one that gives no result did not come to its question."""
    report = tree / "report.xml"
    beside = REPOSITORY.parent / "shared" / "specs"
    named = {"PLACEMAT_SPECS": str(beside)} if beside.exists() and "PLACEMAT_SPECS" not in os.environ else {}
    subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "", "-p", "no:cacheprovider", f"--junitxml={report}", *tests],
        cwd=tree, check=False, capture_output=True, timeout=TESTS_SECONDS, env={**os.environ, **named},
    )  # fmt: skip
    found = results(report.read_text(encoding="utf-8")) if report.exists() else {}
    return [found.get(test, Ran(test, "it was not run")) for test in tests]


def results(report: str) -> dict[str, Ran]:
    """What a JUnit report of pytest says, by node id."""
    found = {}
    for case in ElementTree.fromstring(report).iter("testcase"):
        test = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
        failure, error = case.find("failure"), case.find("error")
        wrong = failure if failure is not None else error
        if wrong is None:
            skipped = case.find("skipped")
            found[test] = Ran(test, None if skipped is None else f"not run: {skipped.get('message')}")
        elif test not in found:  # what a broken test leaves behind may fail once more
            how = (wrong.get("message") or "").split("\n")[0][:200]
            found[test] = Ran(test, how, failure is not None and bool(BY_ASSERTION.match(how)))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
