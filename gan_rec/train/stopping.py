"""Ctrl-C while something is trained: the epoch is played to its end, so that a checkpoint can be kept."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def stopping_late(enabled: bool = True) -> Iterator[Callable[[], bool]]:
    """While this lasts, a first Ctrl-C only makes what is yielded, a function, say True; a second one is as ever.

    Args:
        enabled: else every Ctrl-C is as ever, as also in threads and where somebody else hears signals.
    """
    heard: list[int] = []
    ours = enabled and threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: False
        return

    def hear(number: int, frame) -> None:
        heard.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print("\ngan_rec: stopping after this epoch; Ctrl-C again stops at once", file=sys.stderr)

    signal.signal(signal.SIGINT, hear)
    try:
        yield lambda: bool(heard)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
