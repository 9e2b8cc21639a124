"""How many pixels threads work on at the same time."""

import threading
import time
from concurrent.futures import CancelledError

from nuclei.workflows.pixel_limit import PixelLimit


def test_images_are_predicted_in_turn_and_not_after_the_end():
    """A large image that waits for room is not passed by smaller ones; what waits at the end is dropped."""
    limit, order = PixelLimit(), []

    def predict(pixels):
        try:
            with limit.room_for(pixels):
                order.append(pixels)
        except CancelledError:
            order.append(-pixels)

    def start(*sizes):
        for size in sizes:
            threads.append(threading.Thread(target=predict, args=[size]))
            threads[-1].start()
            while not limit._turn.locked():
                time.sleep(0.001)

    threads = []
    with limit.room_for(10e6):
        start(20e6, 1e6)
        time.sleep(0.05)
        assert not order, "there would be room for the small one"
    for thread in threads:
        thread.join()
    assert order == [20e6, 1e6]
    with limit.room_for(10e6):
        start(30e6)
        limit.stop()
        threads[-1].join()
    assert order[2:] == [-30e6]
