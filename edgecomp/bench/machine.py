"""A machine in words, from the files in which Linux describes it."""

#: Where boards with a device tree have their name.
BOARD_FILE = "/proc/device-tree/model"
CPU_FILE = "/proc/cpuinfo"

#: Lines of /proc/cpuinfo that name the processor, the more telling first.
_NAMES = ("model name", "Model", "Hardware")
#: Lines that tell processors of one name apart; ARM has only these.
_NUMBERS = ("cpu family", "model", "stepping", "CPU implementer", "CPU part", "CPU variant")


def machine_in_words(board: str, cpuinfo: str) -> str:
    """``Intel(R) Xeon(R) Processor, cpu family 6, model 207, stepping 2, 2 processors``.

    Args:
        board: contents of the board's file, "" where there is none.
        cpuinfo: contents of /proc/cpuinfo.
    """
    values: dict[str, str] = {}
    processors = 0
    for line in cpuinfo.splitlines():
        key, colon, value = (part.strip() for part in line.partition(":"))
        if colon and value:
            values.setdefault(key, value)
        processors += key == "processor"
    name = board.strip("\0 \n") or next((values[n] for n in _NAMES if n in values), "")
    numbers = [f"{key} {values[key]}" for key in _NUMBERS if key in values]
    count = [f"{processors} processor{'s' * (processors > 1)}"] if processors else []
    return ", ".join([*([name] if name else []), *numbers, *count]) or "unknown"
