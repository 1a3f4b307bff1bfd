"""The rules on which delivery rests, each with the change that switches it off and the tests that must then fail."""

from __future__ import annotations

from tests.crash.rules.apply import APPLY
from tests.crash.rules.audit import AUDIT
from tests.crash.rules.both_ways import BOTH_WAYS
from tests.crash.rules.capture import CAPTURE
from tests.crash.rules.fetch import FETCH
from tests.crash.rules.http import HTTP
from tests.crash.rules.push import PUSH
from tests.crash.rules.resolution import RESOLUTION
from tests.crash.rules.rule import Rule

RULES = (*CAPTURE, *APPLY, *RESOLUTION, *BOTH_WAYS, *AUDIT, *HTTP, *PUSH, *FETCH)

__all__ = ["RULES", "Rule"]
