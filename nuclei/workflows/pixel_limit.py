"""How many pixels threads work on at the same time, so that images of any size fit into memory."""

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager

PIXELS = 16e6
"""Pixels of the images that the network and what follows work on at a time: about 4 GB of memory."""


class PixelLimit:
    """Lets threads work on at most `PIXELS` pixels together, or on one image that is larger."""

    def __init__(self) -> None:
        self._busy = 0  # pixels in work
        self._freed = threading.Condition()  # when there are fewer
        self._turn = threading.Lock()  # held while waiting for that
        self._stopped = False

    @contextmanager
    def room_for(self, pixels: int) -> Iterator[None]:
        """Wait until an image of so many `pixels` is the only one, or fits beside those in work.

        Raises CancelledError after `stop`.
        """
        with self._turn, self._freed:  # in turn: smaller images would overtake a large one again and again
            self._freed.wait_for(lambda: self._stopped or not self._busy or self._busy + pixels <= PIXELS)
            if self._stopped:
                raise CancelledError
            self._busy += pixels
        try:
            yield
        finally:
            with self._freed:
                self._busy -= pixels
                self._freed.notify_all()

    def stop(self) -> None:
        """Let the images that wait, and all that come, end with CancelledError."""
        with self._freed:
            self._stopped = True
            self._freed.notify_all()
