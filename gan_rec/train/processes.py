"""Several processes, on one machine or many, that train together."""

import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import jax

from gan_rec.errors import UserError

_HEARTBEAT = 20  # seconds after which a process that says nothing counts as ended


@dataclass(frozen=True)
class Processes:
    """Who trains together.

    Args:
        coordinator: "HOST:PORT" of the first process, where all meet.
        count: how many.
        number: which of them this is, from 0.
        cluster: leave all three to what the cluster's environment says (Slurm, Open MPI, Kubernetes, Cloud TPU).
    """

    coordinator: str | None = None
    count: int | None = None
    number: int | None = None
    cluster: bool = False

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.cluster or self.coordinator is not None

    def check(self) -> None:
        """Raise UserError unless all that is needed is said, and possible."""
        own = (self.coordinator, self.count, self.number)
        if self.cluster and own != (None, None, None):
            raise UserError("cluster finds coordinator, processes and process_id by itself; give it or these three")
        if any(value is None for value in own) and own != (None, None, None):
            raise UserError(
                "several processes need all of coordinator (HOST:PORT), processes and process_id, got "
                f"{self.coordinator}, {self.count}, {self.number}"
            )
        if self.coordinator is None:
            return
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdigit():
            raise UserError(f"coordinator must be HOST:PORT, got {self.coordinator!r}")
        if self.count < 1 or not 0 <= self.number < self.count:
            raise UserError(f"process_id must be 0 to processes - 1, got {self.number} of {self.count}")

    def join(self) -> None:
        """Meet the others; must come before anything else is asked of JAX.

        Raises:
            UserError: they are not all there within two minutes, or the environment is of no cluster.
        """
        given = {"coordinator_address": self.coordinator, "num_processes": self.count, "process_id": self.number}
        how = {} if self.cluster else given
        jax.config.update("jax_enable_preemption_service", False)  # which takes SIGTERM and does not end
        try:
            jax.distributed.initialize(
                **how, initialization_timeout=120, heartbeat_timeout_seconds=_HEARTBEAT, shutdown_timeout_seconds=60
            )
        except (RuntimeError, ValueError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"the processes could not meet: {first}") from error

    def run(self, work: Callable[[], None]) -> None:
        """Join the others and work with them.

        Does not return after a mistake (code 2), after an error (1), or where another process ends (3): an ordinary
        end would wait for the others, who wait for this one.
        """
        if not self.several:
            work()
            return
        self.join()
        try:
            work()
        except UserError as error:
            _end(2, " ".join(str(error).split()))
        except jax.errors.JaxRuntimeError as error:
            first = str(error).splitlines()[0]
            _end(3, f"another process has ended or cannot be reached; start all again with --resume ({first})")
        except BaseException:
            traceback.print_exc()
            _end(1, f"process {jax.process_index()} has failed")
        jax.distributed.shutdown()


def _end(code: int, line: str) -> None:
    print(f"gan_rec: error: {line}", file=sys.stderr, flush=True)
    os._exit(code)
