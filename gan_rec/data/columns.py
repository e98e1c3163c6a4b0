"""Which column holds users, items, ratings and timestamps."""

import re
from dataclasses import dataclass

from gan_rec.errors import UserError

_NAMES = {
    "user": "user users userid uid customer customerid buyer reviewer reviewerid member memberid visitorid",
    "item": "item items itemid iid movie movieid artist artistid product productid parentasin asin isbn bookid "
    "businessid songid trackid newsid sku",
    "rating": "rating ratings userrating bookrating score stars label weight click overall count playcount",
    "time": "timestamp time date datetime ts unixtime unixreviewtime createdat",
    "part": "xlabel",
}
_ROLES = {name: role for role, names in _NAMES.items() for name in names.split()}
_PLAIN = {"user", "userid", "item", "itemid", "rating", "timestamp", "time", "xlabel"}  # nothing else is meant by these


@dataclass(frozen=True)
class Columns:
    """Names of the columns that the caller has given; None is found out."""

    user: str | None = None
    item: str | None = None
    rating: str | None = None
    time: str | None = None

    def given(self) -> dict[str, str]:
        """Only those that were given."""
        return {role: name for role, name in vars(self).items() if name is not None}


def role_of(name: str) -> str | None:
    """What a column of this name holds: user, item, rating, time, part (of a split), or None."""
    return _ROLES.get(_letters(name))


def _letters(name: str) -> str:
    """A column's name without its type, capitals, blanks and signs."""
    return re.sub(r"[^a-z0-9]", "", name.split(":")[0].lower())


def assign(header: list[str], columns: Columns, file: str) -> tuple[dict[str, int], list[str]]:
    """The position of each role in a header, and notes on what was guessed.

    Raises:
        UserError: a column that was asked for is not there or asked for twice, or there are fewer than two.
    """
    plain = [name.split(":")[0] for name in header]
    roles: dict[str, int] = {}
    for role, name in columns.given().items():
        if name not in plain and name not in header:
            raise UserError(f"{file} has no column {name!r}; its columns are {', '.join(plain)}")
        roles[role] = plain.index(name) if name in plain else header.index(name)
    if len(header) < 2:
        raise UserError(f"{file} has the column {', '.join(plain)} only; users and items are needed")
    twice = [name for name in columns.given().values() if list(columns.given().values()).count(name) > 1]
    if twice:
        raise UserError(f"{file}: column {twice[0]!r} was given for two roles; each needs a column of its own")
    taken = set(roles.values())
    notes = []
    for position, name in enumerate(plain):
        role = role_of(name)
        if role and role not in roles and position not in taken:
            roles[role] = position
            if _letters(name) not in _PLAIN:
                notes.append(f"{file}: column {name!r} is taken for the {role}s, by its name")
    for role in ("user", "item"):
        if role not in roles:
            roles[role] = next(i for i in range(len(header)) if i not in roles.values())
            notes.append(f"{file}: column {plain[roles[role]]!r} is taken for the {role}s, by its place")
    ignored = [name or "one without a name" for i, name in enumerate(plain) if i not in roles.values()]
    if ignored:
        notes.append(f"{file}: columns not used: {', '.join(ignored)}")
    return roles, notes
