"""Several people at once, each task on a database connection of its own; `shared_database` lets them meet."""

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
