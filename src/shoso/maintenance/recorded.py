"""What rows record: every version of a registered model, and where something is, its password with it.

Plans and claims keep locations without the password.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from sqlalchemy import Connection

from shoso.core.locations import has_password, has_user, without_password
from shoso.maintenance.estate import Estate
from shoso.maintenance.plans import Item
from shoso.metadata import holdings, references
from shoso.metadata.connect import Database
from shoso.metadata.holdings import Kind, Wanted
from shoso.metadata.references import Version


async def versions(database: Database) -> AsyncIterator[list[Version]]:
    """Every version of a registered model, a page at a time. Raises TrackingError."""
    after = Version("", "", 0)
    while found := await database.read(references.versions, after):
        yield found
        after = found[-1]


async def location(estate: Estate, item: Item) -> str:
    """Where an item is, in the words of its row: to be opened, and neither kept nor shown."""
    if item.kind not in {*Kind} or not has_user(item.location):
        return item.location
    return await estate.database.read(_recorded, Kind(item.kind), item.id, item.location)


def with_login(uri: str, recorded: str) -> str:
    """A URI of the same storage, with the password of the location that is recorded there."""
    if not has_password(recorded):
        return uri
    scheme, _, rest = uri.partition("://")
    login = recorded.partition("://")[2].partition("/")[0]
    return f"{scheme}://{login}/{rest.partition('/')[2]}"


def _recorded(conn: Connection, kind: Kind, id_: str, location: str) -> str:
    """That location, in the words of the row, if it names it still."""
    found = [one.location or "" for one in holdings.page(conn, kind, Wanted([id_]))]
    return next((one for one in found if without_password(one) == location), location)
