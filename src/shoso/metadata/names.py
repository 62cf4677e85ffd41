"""Names for runs and models that come without one."""

from __future__ import annotations

import random
import re

_ADJECTIVES = re.findall(
    r"\w+",
    """
    amber ample azure balmy bold brave breezy bright brisk calm candid cedar chalky clear clever
    coral cosmic crisp dapper dawning deft dewy dusky eager early earnest easy elated fair fond
    fresh frosty gentle gilded glad golden hardy hazel hearty honest ivory jade jolly keen kind
    limber lively lucid lunar mellow merry mild misty modest neat nimble noble pale patient plucky
    polar proud quick quiet rapid ready robust rosy rustic sage serene silent silver smooth snowy
    solar sound steady stout sunny supple swift tender tidal tidy upbeat verdant vivid warm wary
    willing windy witty young zesty
    """,
)
_NOUNS = re.findall(
    r"\w+",
    """
    abbey alder anchor arbor aspen atoll badger barley basin bay beacon birch bison bridge brook
    canyon cedar cliff cloud clover cove crane creek crystal cypress delta dune elm ember falcon
    fern field finch fjord forest fox garden glacier glade gorge grove harbor heron hill inlet
    island juniper kettle lagoon lantern lark laurel lemon lily linden lotus lynx maple marsh meadow
    mesa moss oak oasis orchard osprey otter owl pagoda palm pebble pine plateau pond poppy prairie
    quartz raven reef ridge river robin saffron shrine sparrow spring spruce stone stream summit
    swan temple thicket thistle tulip valley walnut wharf willow wren
    """,
)


def random_name() -> str:
    """An adjective, a noun and a number, e.g. calm-heron-417; 20 characters at most, as MLflow's are."""
    return f"{random.choice(_ADJECTIVES)}-{random.choice(_NOUNS)}-{random.randrange(1000)}"  # noqa: S311
