"""Several people at once, each task on a database connection of its own; `shared_database` lets them meet."""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connection
from django.utils.translation import override


def at_once(*tasks: Callable[[], Any]) -> list[Any]:
    """Runs each task on a connection of its own, all at once; returns what each returned, or raised."""

    def run_one(task: Callable[[], Any]) -> Any:
        try:
            with override("en"):
                return task()
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(run_one, tasks))


def apart(test: Callable[..., None]) -> Callable[..., None]:
    """Runs a whole test on a connection of its own, so that what it makes is there for the tasks it starts."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        (error,) = at_once(functools.partial(test, *args, **kwargs))
        if error is not None:
            raise error

    return run
