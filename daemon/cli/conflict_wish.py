"""From the options of `placemat conflicts resolve` to what a person wants."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.errors import OperatorError

if TYPE_CHECKING:
    from connectors.conflicts import Key, Rulings
    from daemon.conflicts.choice import Wish


@dataclass(frozen=True, slots=True)
class Asked:
    """As it was typed. `row`: `--keep` or `--delete`."""

    take: Sequence[str] = ()
    values: Sequence[str] = ()
    nulls: Sequence[str] = ()
    row: bool | None = None

    def check(self, *, bulk: bool) -> None:
        """Raises OperatorError (exit code 2) for what cannot be meant."""
        if len([one for one in self.take if "=" not in one]) > 1:
            raise OperatorError(
                "One side can be taken for all, and others by field.", "Say --take SIDE --take FIELD=SIDE", exit_code=2
            )
        if not (self.take or self.values or self.nulls or self.row is not None):
            raise OperatorError(
                "Say what shall stand.",
                "--take hub, --take SPOKE, --take FIELD=SIDE, --set FIELD=VALUE, --null FIELD, --keep or --delete",
                exit_code=2,
            )
        if bulk and (self.values or self.nulls or any("=" in one for one in self.take)):
            raise OperatorError(
                "Fields are decided one conflict at a time.", "With --all say --take SIDE, --keep or --delete.",
                exit_code=2,
            )  # fmt: skip

    @property
    def side(self) -> str | None:
        return next((one for one in self.take if "=" not in one), None)

    def wish(self, key: Key, rulings: Rulings) -> Wish:
        """Raises OperatorError (exit code 2) for a field that the table does not have or that names the row, and for a
        value that is none."""
        from daemon.conflicts.choice import Wish

        sides = dict(_pair("--take", one) for one in self.take if "=" in one)
        typed = dict(_pair("--set", one) for one in self.values)
        table, naming = key[0], json.loads(key[1])
        known = [name for name in rulings.fields(table) if name not in naming]
        for name in (*typed, *self.nulls):
            if name in naming:
                raise OperatorError(
                    f"Field {name} is the key of {table}: a decision cannot make the row another one.",
                    "Change it on either side, as any other.", exit_code=2,
                )  # fmt: skip
            if name not in known:
                raise OperatorError(f"{table} has no field {name}.", f"Choose of: {', '.join(known)}.", exit_code=2)
        values = {**rulings.canonical(table, typed), **dict.fromkeys(self.nulls)}
        return Wish(self.side, sides, values, self.row)


def _pair(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise OperatorError(f"{option} {text} names no field.", f"{option} FIELD=VALUE", exit_code=2)
    return name, value
