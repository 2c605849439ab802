"""Stopping early with the state saved: on a signal, or at the end of a time budget."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class StopRequest:
    """Long work calls `reason()` at points where it is safe to checkpoint and exit. `deadline` is on the
    `time.monotonic` clock; `signals` counts the signals that came in."""

    deadline: float | None = None
    requested: str | None = None  # the reason, once there is a request
    signals: int = 0

    def reason(self) -> str | None:
        """Why to stop now ("SIGTERM", "the time budget is used up"), or None."""
        if self.requested is None and self.deadline is not None and time.monotonic() >= self.deadline:
            self.requested = "the time budget is used up"
        return self.requested

    @contextmanager
    def listening(self, *, second_interrupts: bool = False) -> Iterator[None]:
        """Inside, SIGINT and SIGTERM request a stop; with `second_interrupts`, a SIGINT after another signal raises
        KeyboardInterrupt at once. Does nothing outside the main thread, which alone receives signals."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, frame: object) -> None:
            self.signals += 1
            self.requested = signal.Signals(number).name
            if second_interrupts and self.signals > 1 and number == signal.SIGINT:
                raise KeyboardInterrupt

        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def interrupt_on_sigterm() -> None:
    """From now on SIGTERM raises KeyboardInterrupt, as SIGINT does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
