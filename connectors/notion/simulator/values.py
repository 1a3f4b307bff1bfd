"""Values of properties as requests give them: read, checked and put into the form in which they are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from connectors.notion.simulator.errors import ApiError, not_found, validation
from connectors.notion.simulator.reading import Fields, Given
from connectors.notion.simulator.records import KINDS, READ_ONLY, File, Kind, Option, Property, Value
from connectors.notion.simulator.settings import Settings
from connectors.notion.simulator.store import Store
from connectors.notion.simulator.texts import color_of, read_texts
from connectors.notion.simulator.times import read_date

OPTION_LENGTH = 100


@dataclass
class Values:
    """Reads the values of one request. Options that are new are kept aside until the whole request is good."""

    store: Store
    settings: Settings

    def __post_init__(self) -> None:
        self.new_options: list[tuple[Property, Option]] = []
        self._read: Mapping[Kind, Callable[[Given, Property], Value]] = {
            "title": lambda given, _: read_texts(given, self.settings),
            "rich_text": lambda given, _: read_texts(given, self.settings),
            "number": lambda given, _: self._number(given),
            "select": self._one_option,
            "status": self._one_option,
            "multi_select": self._options,
            "date": lambda given, _: None if given.value is None else read_date(given),
            "checkbox": lambda given, _: given.boolean(),
            "url": lambda given, _: self._line(given, self.settings.url_length),
            "email": lambda given, _: self._line(given, self.settings.contact_length),
            "phone_number": lambda given, _: self._line(given, self.settings.contact_length),
            "relation": self._relation,
            "people": lambda given, _: self._people(given),
            "files": lambda given, _: self._files(given),
        }

    def read(self, given: Given, property_: Property) -> Value:
        """Raises ApiError where Notion would refuse the value."""
        members = given.members()
        kinds = [kind for kind in KINDS if kind in members]
        if property_.kind in READ_ONLY:
            raise validation(f"{property_.name} is a {property_.kind} property, which can not be updated.")
        if kinds and property_.kind not in kinds:
            raise validation(f"{property_.name} is expected to be {property_.kind}.")
        fields = given.fields(property_.kind, "type")
        if "type" in fields:
            fields["type"].one_of(property_.kind)
        return self._read[property_.kind](fields[property_.kind], property_)

    def settle(self) -> None:
        """The request is good: an option that was not known is in the schema from now on (Notion: property values)."""
        for property_, option in self.new_options:
            property_.options.append(option)

    def _number(self, given: Given) -> Value:
        if given.value is not None and (isinstance(given.value, bool) or not isinstance(given.value, int | float)):
            raise given.refuse("a number or `null`")
        return given.value

    def _line(self, given: Given, most: int) -> Value:
        """Notion, property values: empty is null, not ""."""
        if given.value is None:
            return None
        if not given.text(most):
            raise given.refuse("populated or `null`")
        return given.text(most)

    def _one_option(self, given: Given, property_: Property) -> Value:
        return None if given.value is None else self._option(given, property_)

    def _options(self, given: Given, property_: Property) -> Value:
        found = [self._option(one, property_) for one in given.items(self.settings.items)]
        return tuple(dict.fromkeys(found))

    def _option(self, given: Given, property_: Property) -> str:
        """Notion, property values: an unknown option of a select is added, one of a status is an error."""
        fields = given.fields("id", "name", "color", "description")
        known = [*property_.options, *(option for owner, option in self.new_options if owner is property_)]
        if "name" not in fields:
            id_ = fields["id"].text()
            if id_ not in {option.id for option in known}:
                raise validation(f'Invalid {property_.kind} option. Option with ID "{id_}" does not exist.')
            return id_
        name = fields["name"].text(OPTION_LENGTH)
        found = next((option for option in known if option.name == name), None)
        if found is not None:
            return found.id
        if property_.kind == "status":
            raise validation(f'Invalid status option. Status option "{name}" does not exist".')
        if not name:
            raise fields["name"].refuse("populated")
        if "," in name:
            raise validation(f"Invalid select option, commas not allowed: {name}")
        option = Option(self.store.new_id(), name, color_of(fields["color"]))
        self.new_options.append((property_, option))
        return option.id

    def _relation(self, given: Given, property_: Property) -> Value:
        found = [self._related(one.fields("id"), property_) for one in given.items(self.settings.items)]
        return tuple(dict.fromkeys(found))

    def _related(self, fields: Fields, property_: Property) -> str:
        id_ = fields["id"].id()
        page = self.store.by_id.get(id_)
        if page is None:
            raise self._no_page(id_)
        if property_.related is not None and page.data_source != property_.related.data_source:
            raise validation(f"{property_.name} relates to another data source than that of the page {id_}.")
        return id_

    def _no_page(self, id_: str) -> ApiError:
        missing = not_found("page", id_)
        return missing if self.settings.missing_relation == 404 else validation(missing.message)

    def _people(self, given: Given) -> Value:
        found: list[str] = []
        for one in given.items(self.settings.items):
            id_ = one.fields("id", "object")["id"].id()
            if id_ not in self.store.users:
                raise validation(f"Could not find user with ID: {id_}.")
            found.append(id_)
        return tuple(dict.fromkeys(found))

    def _files(self, given: Given) -> Value:
        return tuple(self._file(one) for one in given.items(self.settings.items))

    def _file(self, given: Given) -> File:
        fields = given.fields("name", "type", "external", "file", "file_upload")
        if "file_upload" in fields:
            raise not_found("file_upload", fields["file_upload"].fields("id")["id"].text())
        name = fields["name"].text(OPTION_LENGTH)
        if "file" in fields:
            return File(name, fields["file"].fields("url", "expiry_time")["url"].text(), hosted=True)
        return File(name, fields["external"].fields("url")["url"].text(self.settings.url_length))
