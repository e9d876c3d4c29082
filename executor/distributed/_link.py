"""The one user of Dask's client."""

from __future__ import annotations

import contextlib
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import dask.config
from distributed import Client

from ._ledger import CANCEL, WORKERS, Ledger
from ._refusals import NotSupportedByEngine
from ._remote import Ticket, run

_quieting = threading.Lock()  # Dask's configuration is one for the process, and is put back as it was

Outcome = Callable[[str, "bytes | None", "BaseException | None"], None]


class _OwnClient(Client):
    """A client that stops its event loop also where Dask forgets to: never connected, or not any more."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        try:
            super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]
        except BaseException:
            # Nothing of it is to be left to the garbage collector: that would close it in whatever thread it runs, and
            # there wait for a lock which the next client holds until its own thread has begun.
            if self.status == "closed":  # it was started
                self._stop_loop()
            else:
                with contextlib.suppress(Exception):
                    self.close()
            raise

    def close(self, *arguments: Any, **options: Any) -> Any:
        was_closed = self.status == "closed"
        super().close(*arguments, **options)  # type: ignore[no-untyped-call]
        if was_closed:
            self._stop_loop()

    def _stop_loop(self) -> None:
        loop: Any = self.loop
        with contextlib.suppress(RuntimeError):  # closed already
            loop.add_callback(loop.stop)


def open_client(address_or_client: Any, security: Any) -> tuple[Any, bool]:
    """The client, and whether it is ours to close."""
    if isinstance(address_or_client, Client):
        if security is not None:
            raise ValueError("security= is for a connection made here; this client has its own")
        if address_or_client.asynchronous:
            raise NotSupportedByEngine("an asynchronous client", "give it one made with asynchronous=False")
        return address_or_client, False
    here = address_or_client is None and dask.config.get("scheduler-address", None) is None
    # Without any address Dask starts a cluster on this machine: of processes, as a process pool has them, and
    # without a port for browsers.
    local = {"processes": True, "threads_per_worker": 1, "dashboard_address": None} if here else {}
    return _OwnClient(address_or_client, security=security, set_as_default=False, **local), True


@contextlib.contextmanager
def _quiet(size: int) -> Iterator[None]:
    """Large arguments are the caller's business: Dask would warn, with advice for its own interface."""
    if size < 1_000_000:
        yield
        return
    with _quieting, dask.config.set({"distributed.admin.large-graph-warning-threshold": sys.maxsize}):
        yield


class Link:
    """Sends calls to one scheduler and hears what becomes of them.

    ``on_outcome(key, payload, error)`` and ``on_event(event)`` are called in the thread of Dask's event loop.
    The other methods may be called from any thread but that one.
    """

    def __init__(
        self, client: Any, owned: bool, on_outcome: Outcome, on_event: Callable[[dict[str, Any]], None]
    ) -> None:
        self._client = client
        self._owned = owned
        self._on_outcome = on_outcome
        self._topic = f"executor-{uuid.uuid4().hex}"
        self._install_ledger()
        client.subscribe_topic(self._topic, lambda event: on_event(event[1]))

    def _install_ledger(self) -> None:
        try:
            self._client.register_plugin(Ledger())
        except Exception as problem:
            raise RuntimeError(
                f"the scheduler at {self.address} does not take the plugin of this executor: {problem}. "
                "Install executor-pool[dask] where the scheduler runs, in the same version as here, "
                "and leave Dask's setting distributed.scheduler.pickle at True"
            ) from problem

    @property
    def address(self) -> str:
        return str(self._client.scheduler.address)

    @property
    def connected(self) -> bool:
        return bool(self._client.status == "running")

    def send(self, key: str, call: bytes, attempts: int, dependencies: Iterable[Any], priority: float) -> Any:
        """Dask's future of the call.  Its outcome is told even when it has been released by then."""
        ticket = Ticket(self._client.id, self._topic, attempts)
        with _quiet(len(call)):
            remote = self._client.submit(
                run,
                call,
                ticket,
                *dependencies,
                key=key,
                priority=priority,
                fifo_timeout=0,  # calls of one priority in the order of their submission
                retries=0,  # Dask's retries follow an exception of the task's own, which ours never do
                pure=False,
            )
        self._client.loop.add_callback(self._follow, key, remote)
        return remote

    async def _follow(self, key: str, remote: Any) -> None:
        try:
            payload = await self._client.gather(remote, asynchronous=True)
        except BaseException as error:  # a lost connection comes as a CancelledError
            self._on_outcome(key, None, error)
        else:
            self._on_outcome(key, payload, None)

    def forbid(self, keys: list[str]) -> set[str]:
        """Forbid these calls to begin; the ones that have begun already."""
        question = getattr(self._client.scheduler, CANCEL)
        return set(self._client.sync(question, keys=keys, client=self._client.id, topic=self._topic))

    def workers(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._client.sync(getattr(self._client.scheduler, WORKERS), topic=self._topic)
        return rows

    def close(self) -> None:
        if self._owned:
            self._client.close()
        elif self.connected:
            self._client.unsubscribe_topic(self._topic)
