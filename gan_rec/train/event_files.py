"""TensorBoard's event files: written record by record, and without the records that will be written again."""

import os
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event

from gan_rec.files import write_bytes


class EventFile:
    """A new event file in a folder. What is added has left this process when `add` returns: a kill loses nothing."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        suffix = f".{os.getpid()}.{time.perf_counter_ns()}"  # its own name has a resolution of a second
        self._writer = EventsWriter(str(folder / "events"), suffix)

    def add(self, step: int, *summaries) -> None:
        """Add summaries at a step."""
        for summary in summaries:
            self._writer.write_event(Event(wall_time=time.time(), step=step, summary=summary))
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


def forget(folder: Path, which: Callable[[str, int], bool]) -> None:
    """Leave out of the event files in a folder what `which(tag, step)` names; a file of nothing else is deleted."""
    for path in sorted(folder.glob("events.out.tfevents.*")):
        kept, dropped, summaries = [], 0, 0
        for record, event in _records(path.read_bytes()):
            if any(which(value.tag, event.step) for value in event.summary.value):
                dropped += 1
                continue
            kept.append(record)
            summaries += len(event.summary.value)
        if dropped and not summaries:
            path.unlink()
        elif dropped:
            write_bytes(path, b"".join(kept))


def read_events(folder: Path) -> Iterator[tuple[str, int]]:
    """Tag and step of everything in the event files of a folder, the oldest file first."""
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for _, event in _records(path.read_bytes()):
            yield from ((value.tag, event.step) for value in event.summary.value)


def _records(content: bytes) -> Iterator[tuple[bytes, Event]]:
    """TFRecords: length (8 bytes), its checksum (4), the event, its checksum (4); one that a kill cut short is none."""
    place = 0
    while place + 12 <= len(content):
        end = place + 12 + struct.unpack_from("<Q", content, place)[0] + 4
        if end > len(content):
            return
        yield content[place:end], Event.FromString(content[place + 12 : end - 4])
        place = end
