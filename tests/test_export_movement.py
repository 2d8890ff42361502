"""`export_movement`: the file to the letter, of an open month and of a closed one, and what it says when it can't."""

import os
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from kpis.member_states import member_states
from kpis.movement import freeze
from portfolios.models import Clerk, Month, Store
from tests.books import Chain, close

pytestmark = pytest.mark.django_db

HEADER = (
    "month,clerk_no,store_no,opening,enrolled,transferred_in,transferred_out,closed,closing,active_opening,"
    "newly_active,reactivated,active_in,active_out,lapsed,active_closing,tier_a,tier_b\n"
)


@pytest.fixture
def chain() -> Chain:
    """C1 loses a member to C2 on 03-10 and enrols one; C3 is posted, without a member; one waits unassigned."""
    chain = Chain()
    store = chain.store()
    first, second = chain.clerk(store), chain.clerk(store)
    chain.clerk(store)
    moved, enrolled = chain.member(store), chain.member(store, since="3-5")
    chain.bind(moved, first, until="3-10")
    chain.bind(moved, second, since="3-10")
    chain.bind(enrolled, first, since="3-5")
    chain.bind(chain.member(store), first)
    chain.member(store)
    chain.buy(moved, "2-1", 900)
    chain.buy(enrolled, "3-5", 100)
    return chain


MARCH = HEADER + (
    "2026-03,C1,S1,2,1,0,1,0,2,1,1,0,0,1,0,1,0,0\n"
    "2026-03,C2,S1,0,0,1,0,0,1,0,0,0,1,0,0,1,1,0\n"
    "2026-03,C3,S1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0\n"
)


def test_an_open_month_as_it_stands(chain: Chain, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "movement.csv"
    call_command("export_movement", "2026-03", "--out", str(path))
    assert path.read_bytes() == MARCH.encode()
    told = capsys.readouterr().err
    assert told.startswith(f"2026-03: the movement of 3 clerks is in {path}. The month is open")
    assert os.listdir(tmp_path) == ["movement.csv"]


def test_a_closed_month_as_it_was_frozen(chain: Chain, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    march = Month.objects.get(pk=202603)
    freeze(member_states(march))
    close(march)
    member = chain.member(Store.objects.get())
    chain.bind(member, Clerk.objects.get(clerk_no="C3"))
    chain.clerk(Store.objects.get())
    path = tmp_path / "movement.csv"
    call_command("export_movement", "2026-03", "--out", str(path))
    assert path.read_text() == MARCH
    assert f"3 clerks, as frozen when the month was closed, is in {path}." in capsys.readouterr().err


def test_standard_output(chain: Chain, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    call_command("export_movement", "2026-03", "--out", "-")
    assert capfdbinary.readouterr().out == MARCH.encode()


def test_clerks_are_ordered_by_number(tmp_path: Path) -> None:
    chain = Chain()
    store = chain.store()
    for number in range(11):
        clerk = chain.clerk(store)
        clerk.clerk_no = f"{(number * 7) % 11:03}"
        clerk.save()
    path = tmp_path / "movement.csv"
    call_command("export_movement", "2026-03", "--out", str(path))
    assert [line.split(",")[1] for line in path.read_text().splitlines()[1:]] == [f"{n:03}" for n in range(11)]


def test_a_clerk_without_a_home_store_has_an_empty_one(tmp_path: Path) -> None:
    chain = Chain()
    chain.bind(chain.member(chain.store()), chain.clerk())
    path = tmp_path / "movement.csv"
    call_command("export_movement", "2026-03", "--out", str(path))
    assert path.read_text().splitlines()[1] == "2026-03,C1,,1,0,0,0,0,1" + ",0" * 9


@pytest.mark.parametrize(
    ("month", "message"),
    [
        ("2026-13", "'2026-13' is not a month: write it as YYYY-MM"),
        ("march", "'march' is not a month"),
        ("2031-01", "Month 2031-01 is not known"),
    ],
)
def test_an_unknown_month_is_refused(chain: Chain, tmp_path: Path, month: str, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        call_command("export_movement", month, "--out", str(tmp_path / "movement.csv"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("where", ["", "nowhere/movement.csv"])
def test_a_file_that_cannot_be_written_is_named(chain: Chain, tmp_path: Path, where: str) -> None:
    with pytest.raises(CommandError, match=f"{tmp_path / where} could not be written: (Is a|No such)"):
        call_command("export_movement", "2026-03", "--out", str(tmp_path / where))
    assert os.listdir(tmp_path) == []


def test_books_that_do_not_carry_over_leave_the_old_file(chain: Chain, tmp_path: Path) -> None:
    february = Month.objects.get(pk=202602)
    freeze(member_states(february))
    close(february)
    path = tmp_path / "movement.csv"
    path.write_text("before")
    member = chain.member(Store.objects.get())
    chain.bind(member, chain.clerk(), since="2-2")
    with pytest.raises(CommandError, match="C4 Clerk 4: opening is 1, but closing of the month before was frozen at 0"):
        call_command("export_movement", "2026-03", "--out", str(path))
    assert path.read_text() == "before"
