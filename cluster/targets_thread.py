"""An event loop in a thread of its own, for libraries that know no other way."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any


class LoopThread:
    """Keeps connections alive while the program does something else; ends with the program."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any], seconds: float) -> Any:
        """Do one thing there and wait for what it returns; nothing happens once the thread has ended.

        Raises
        ------
        TimeoutError
            If it takes longer.
        """
        if not self._thread.is_alive():
            work.close()
            return None
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(seconds)
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """End the thread and what still runs there; may be called twice."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(_cancel_others(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for _ in range(3):  # a transport is closed two rounds of the loop after it was told to
        await asyncio.sleep(0)
