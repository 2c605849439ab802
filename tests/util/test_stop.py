"""Requests to stop: signals, the time budget, interrupts at once."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from cqlib.util.stop import StopRequest, interrupt_on_sigterm


@pytest.fixture(autouse=True)
def handlers():
    """The handlers of signals are the same after each test."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    yield
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_signal_is_a_request():
    stop = StopRequest()
    with stop.listening():
        assert stop.reason() is None
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    assert stop.reason() == "SIGINT" and stop.signals == 2


def test_a_second_interrupt_does_not_wait():
    stop = StopRequest()
    with stop.listening(second_interrupts=True):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert stop.signals == 3


def test_sigterm_interrupts_as_ctrl_c_does():
    before = signal.getsignal(signal.SIGTERM)
    try:
        interrupt_on_sigterm()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_time_budget_is_a_reason():
    assert StopRequest(deadline=time.monotonic() + 60).reason() is None
    stop = StopRequest(deadline=time.monotonic())
    assert stop.reason() == stop.requested == "the time budget is used up"
    with stop.listening(second_interrupts=True):
        signal.raise_signal(signal.SIGINT)  # the first signal: what is being saved is not cut short
    assert stop.requested == "SIGINT"


def test_outside_of_the_main_thread_handlers_stay():
    before, inside = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with StopRequest().listening():
            inside.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == [before]
