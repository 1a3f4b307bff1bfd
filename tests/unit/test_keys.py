"""What a person gives as a key, in the form of another key of its table."""

from __future__ import annotations

import pytest

from daemon.errors import OperatorError
from daemon.keys import key_like


@pytest.mark.parametrize(
    ("sample", "given", "key"),
    [
        ('{"id":1}', "12", {"id": 12}),
        ('{"id":1}', '{"id": "12"}', {"id": 12}),
        ('{"id":"1"}', "012", {"id": "012"}),
        ('{"id":"1"}', '{"id": 12}', {"id": "12"}),
        ('{"b":true}', "False", {"b": False}),
        ('{"k":1.5}', '{"k": 2.5}', {"k": 2.5}),
        ('{"b":1,"a":"x"}', '{"a": "y", "b": 2}', {"b": 2, "a": "y"}),
    ],
)
def test_a_key_has_the_form_and_the_order_of_others_of_its_table(sample: str, given: str, key: object) -> None:
    found = key_like(sample, given)
    assert (found, list(found)) == (key, list(key_like(sample, sample)))


@pytest.mark.parametrize(
    ("sample", "given", "told"),
    [
        ('{"id":1}', "one", "one is not of its column's type"),
        ('{"id":1}', '{"name": 1}', "is no key: it has the columns id"),
        ('{"a":1,"b":2}', "12", "12 is no key: it has the columns a, b"),
        ('{"b":true}', "perhaps", "not of its column's type"),
        ('{"id":1}', "999999999999999999999", "not of its column's type"),
        ('{"id":"1"}', '{"id": null}', "not of its column's type"),
    ],
)
def test_what_is_no_key_of_the_table_is_refused(sample: str, given: str, told: str) -> None:
    with pytest.raises(OperatorError, match=told) as refused:
        key_like(sample, given)
    assert refused.value.exit_code == 2
