"""Which cost table a build uses: the user's, and the one that comes with edgecomp."""

import logging
import pathlib
import re

from edgecomp.device.target import Target
from edgecomp.errors import EdgecompError
from edgecomp.resources import resource_folder
from edgecomp.schedules.cost_table import (
    CostTable,
    read_table,
    read_table_for,
    why_other_target,
)

logger = logging.getLogger(__name__)

#: Value of the option for no table at all.
NO_TABLE = "none"


def table_for(target: Target, given: str = "") -> CostTable | None:
    """The table a build chooses by, None where nothing was measured.

    Args:
        target: the device.
        given: the user's file, "none" for no table, "" for the one that comes with edgecomp.

    Raises:
        EdgecompError: FILE_MISSING, COST_TABLE_INVALID about the user's file.
    """
    if given == NO_TABLE:
        return None
    shipped = shipped_table(target)
    if not given:
        return shipped
    own = read_table_for(pathlib.Path(given), target)
    return shipped.joined(own) if shipped else own


def shipped_table(target: Target) -> CostTable | None:
    """The table of ``targets/tuned`` that was measured on the target's processor."""
    folder = resource_folder("targets") / "tuned"
    for path in sorted(folder.glob(f"{target.name}*.json")):
        try:
            table = read_table(path)
        except EdgecompError as error:
            logger.warning("%s", error)
            continue
        reason = why_other_target(table.header, target)
        if not reason:
            return table
        logger.info("%s is not used: %s", path.name, reason)
    return None


def table_name(target: Target) -> str:
    """File name of a target's table; of the host's with its processor's name."""
    parts = [target.name]
    if target.name == "host":
        parts.append(re.sub(r"[^a-z0-9]+", "-", target.core.name.lower()).strip("-"))
    return "-".join(part for part in parts if part) + ".json"
