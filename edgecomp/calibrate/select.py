"""Which of many samples are used: evenly spread over all of them."""


def spread(available: int, wanted: int) -> list[int]:
    """At most ``wanted`` indices of ``available`` ones, evenly spread, increasing.

    A prefix would take the first classes of a data set that is sorted by class.
    """
    if wanted >= available:
        return list(range(available))
    return [index * available // wanted for index in range(wanted)]
