"""Databases that live for one measurement: made by the project's own migrations, dropped at the end whatever happens.

A benchmark calls `run_in` from its main process; it starts the benchmark again in a process of its own, whose
DATABASE_URL is the new database, so that what is measured (memory too) is that process alone.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SERVER = "postgres://postgres@127.0.0.1/postgres"

sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("SECRET_KEY", "only-for-a-database-that-is-thrown-away")


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that the benchmarks share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--postgres",
        default=os.environ.get("DATABASE_URL", SERVER),
        help="a PostgreSQL server on which a database may be created (default DATABASE_URL, else %(default)s)",
    )
    parser.add_argument("--scale", type=float, default=1.0, help="1 is the full size, 0.01 a hundredth (default 1)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default 3)")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser


def run_in(vendor: str, options: argparse.Namespace) -> None:
    """Runs this script once more, inside a new database of that vendor."""
    # A polite end must still drop the database.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    with _postgresql(options.postgres) if vendor == "postgresql" else _sqlite() as url:
        done = subprocess.run([sys.executable, *sys.argv, "--inside"], env={**os.environ, "DATABASE_URL": url})
    if done.returncode:
        sys.exit(done.returncode)


@contextmanager
def _postgresql(server: str) -> Iterator[str]:
    import psycopg

    name = f"bench_{os.getpid()}_{int(time.time())}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        try:
            yield server.rpartition("/")[0] + "/" + name
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def _sqlite() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield f"sqlite:///{folder}/bench.sqlite3"


def make_tables() -> None:
    """Starts Django and migrates: every constraint, trigger and index of the product is in place."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and seconds of processor time: this process's and, on a server beside it, its backend's."""
    clock, processor = time.perf_counter(), _processor()
    work()
    return time.perf_counter() - clock, _processor() - processor


def _processor() -> float:
    from django.db import connection

    if connection.vendor != "postgresql":
        return time.process_time()
    connection.ensure_connection()
    backend = Path(f"/proc/{connection.connection.info.backend_pid}/stat")
    if not backend.exists():
        return float("nan")
    fields = backend.read_text().rpartition(")")[2].split()
    return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def print_medians(
    times: dict[str, list[tuple[float, float]]], measured_one: str, targets: dict[str, float] | None = None
) -> None:
    """A table of medians, and how often each other contender's time the measured one took."""
    medians = {
        name: [statistics.median(column) for column in zip(*rounds, strict=True)] for name, rounds in times.items()
    }
    mine = medians[measured_one]
    print(f"{'':24}{'seconds':>10}{'processor':>11}{'ratio':>9}{'of processor':>14}   target")
    for name, (clock, processor) in medians.items():
        ratios = f"{mine[0] / clock:8.3g}x{mine[1] / processor:13.3g}x" if name != measured_one else ""
        target = f"   at most {targets[name]}x" if targets and name in targets else ""
        print(f"{name:24}{clock:10.4f}{processor:11.4f}{ratios}{target}".replace("nanx", "  -").replace("nan", "  -"))


def peak_memory() -> int:
    """The most memory that this process has held, in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
