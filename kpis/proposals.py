"""Preview, then apply, then undo: every change of owners that a manager makes is drafted as a Proposal first.

A draft is worked out and carried out in a transaction that is rolled back, so what it shows is what applying it does,
down to the pay that moves. It is applied as it was shown, or refused where the store has changed since. Four members
moved from 李娜 (60) to 王伟 (40) show 60 -> 56 and 40 -> 44 before anything is written.
"""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from django.db import transaction
from django.db.models import Max, Sum
from django.utils.translation import gettext as _

from commission.models import Attribution, Booking, Sale
from commission.rebinding import correct_since, hold_ledger
from kpis.models import Proposal
from kpis.store_books import BookMember, StoreBooks, store_books
from kpis.store_split import reasons, share_out, shareable
from portfolios.bindings import BindingChanges, BindingError, assign, end, plan_undo, undo
from portfolios.models import Binding, BindingBatch, Clerk, Store, User
from portfolios.months import MonthError, require_open
from portfolios.rebalance import CurvePoint, rebalance, rebalance_curve
from portfolios.split import SplitMember, spread, summarise

Kind = Proposal.Kind
# Keep a leaver's members with who served them, as long as the spend of those who take them stays this level (5%).
HAND_OVER_KEEP_BP = 500


class ProposalError(ValueError):
    """A change of owners that cannot be made as asked; the message says why and what to do."""


class StoreChanged(ProposalError):
    """The store is not as the proposal found it: it must be worked out anew."""


@dataclass(frozen=True)
class Options:
    """What a manager asks for. Which of these count depends on the kind.

    `takers`: clerk numbers that take members (empty: every clerk of the store with a weight). `members`: the primary
    keys to reassign. `to_list`: send the members to the unassigned list. `again`: split those with an owner too.
    `keep_within_bp`: keep members with who served them while the spread stays under it. `spread_bp`: the spread that a
    rebalance is to reach, with `counts_within_bp` for the counts.
    """

    takers: tuple[str, ...] = ()
    members: tuple[int, ...] = ()
    to_list: bool = False
    again: bool = True
    keep_within_bp: int | None = None
    spread_bp: int = 500
    counts_within_bp: int | None = None

    @classmethod
    def of(cls, proposal: Proposal) -> "Options":
        """What the proposal was drafted from."""
        asked = dict(proposal.options)
        return cls(**asked | {"takers": tuple(asked["takers"]), "members": tuple(asked["members"])})


def draft(
    kind: Proposal.Kind,
    store: Store,
    *,
    on: dt.date,
    options: Options,
    clerk: Clerk | None = None,
    note: str = "",
    by: User | None = None,
) -> Proposal:
    """Works out a change of owners from a date on and records it as it would be; nothing else is written.

    `clerk` is who hands over. Raises ProposalError, SplitError, BindingError or MonthError with what stands in the way.
    """
    require_open(on, _("The change of owners"))
    with transaction.atomic():
        hold_bindings()
        books = _books(kind, store, on, options, clerk)
        moves, notices = _moves(kind, books, options, clerk)
        takers = _takers(books, options, clerk)
        document = _document(books, moves, takers) | {"notices": notices}
        if options.keep_within_bp is not None:
            document["kept"] = _kept(books, moves, takers)
        with transaction.atomic():
            document["pay"], document["corrected"] = _pay_effect(kind, books, moves, on, by)
            transaction.set_rollback(True)
        return Proposal.objects.create(
            kind=kind,
            store=store,
            clerk=clerk,
            effective_on=on,
            note=note,
            options=asdict(options),
            document=document,
            basis=books.basis,
            drafted_by=by,
        )


def redraft(proposal: Proposal, *, by: User | None) -> Proposal:
    """The same asked anew, of the store as it is now."""
    return draft(
        Kind(proposal.kind),
        proposal.store,
        on=proposal.effective_on,
        options=Options.of(proposal),
        clerk=proposal.clerk,
        note=proposal.note,
        by=by,
    )


def apply_proposal(
    proposal: Proposal, *, by: User | None, progress: Callable[[int, int], None] | None = None
) -> BindingBatch:
    """Makes the moves of the proposal, as one batch in one transaction, and corrects the sales since its date.

    `progress` is told how many of the new bindings are written. Applied twice it is done once: the second gets the
    batch of the first. Raises StoreChanged where members, bindings, locks, clerks or weights are not what they were;
    MonthError where its month has closed since.
    """
    with transaction.atomic():
        hold_bindings()
        proposal = Proposal.objects.select_for_update(of=("self",)).select_related("store", "clerk").get(pk=proposal.pk)
        if proposal.batch:
            return proposal.batch
        require_open(proposal.effective_on, _("The change of owners"))
        options = Options.of(proposal)
        kind = Kind(proposal.kind)
        books = _books(kind, proposal.store, proposal.effective_on, options, proposal.clerk)
        if books.basis != proposal.basis:
            raise StoreChanged(
                _(
                    "Members, owners or clerks of store %(store)s have changed since this preview was made. Nothing "
                    "was applied: look at the new preview."
                )
                % {"store": proposal.store.store_no}
            )
        batch = BindingBatch.objects.create(
            source=f"{proposal.kind} {proposal.store.store_no}"[:200], note=proposal.note, recorded_by=by
        )
        changes = _carry_out(kind, books, moves_of(proposal), proposal.effective_on, batch, progress)
        correct_since(changes.since, source=batch.source, recorded_by=by)
        Proposal.objects.filter(pk=proposal.pk).update(batch=batch)
        return batch


def undo_batch(batch: BindingBatch, *, by: User | None, note: str = "") -> BindingBatch:
    """Takes a batch back as a whole, from its own dates on, and corrects the sales since; twice is done once.

    Raises BindingError where something built on it, MonthError where a month that it reaches into has closed.
    """
    with transaction.atomic():
        hold_bindings()
        done = BindingBatch.objects.filter(undoes=batch).first()
        if done:
            return done
        back = BindingBatch(source=f"undo {batch.source}"[:200], note=note, recorded_by=by, undoes=batch)
        changes = undo(batch, back)
        correct_since(changes.since, source=back.source, recorded_by=by)
        return back


def can_undo(batch: BindingBatch) -> bool:
    """Whether the batch can still be taken back: not done yet, nothing built on it, and no month of it has closed."""
    if BindingBatch.objects.filter(undoes=batch).exists():
        return False
    try:
        plan_undo(batch)
    except (BindingError, MonthError):
        return False
    return True


def hold_bindings() -> None:
    """Lets one change of owners happen at a time, and no ticket be booked meanwhile, until the transaction ends."""
    hold_ledger()
    list(Store.objects.select_for_update(no_key=True).order_by("pk").values_list("pk"))


def curve(store: Store, *, on: dt.date, options: Options) -> list[CurvePoint]:
    """What a rebalance of the store could do: points of moves and spread, fewest moves first."""
    books = store_books(store, on)
    takers = _takers(books, options, None)
    return rebalance_curve(
        _to_rebalance(books, takers),
        [books.clerks[pk].to_split for pk in takers],
        counts_within_bp=options.counts_within_bp,
    )


def moves_of(proposal: Proposal) -> dict[int, int | None]:
    """Each member's new clerk, by primary keys; None is the unassigned list."""
    return {member: to for member, _from, to in proposal.document["moves"]}


def _books(kind: Proposal.Kind, store: Store, on: dt.date, options: Options, clerk: Clerk | None) -> StoreBooks:
    if kind == Kind.HAND_OVER and clerk is None:
        raise ProposalError(_("A hand-over needs the clerk who hands over: choose one."))
    return store_books(store, on, also=[clerk] if clerk else [], chosen=options.members)


def _takers(books: StoreBooks, options: Options, clerk: Clerk | None) -> list[int]:
    """The clerks who take members, by primary key: those asked for, else all of the store with a weight.

    A clerk who hands over takes none.
    """
    known = {taker.clerk_no: pk for pk, taker in books.clerks.items() if clerk is None or pk != clerk.pk}
    unknown = sorted(set(options.takers) - set(known))
    if unknown:
        raise ProposalError(
            _("Clerk %(clerk)s has no posting as a clerk at store %(store)s on %(day)s: choose another clerk or date.")
            % {"clerk": ", ".join(unknown), "store": books.store.store_no, "day": books.on}
        )
    if options.takers:
        return [pk for clerk_no, pk in known.items() if clerk_no in options.takers]
    return [pk for pk in known.values() if books.clerks[pk].weight_percent]


def _moves(
    kind: Proposal.Kind, books: StoreBooks, options: Options, clerk: Clerk | None
) -> tuple[dict[int, int | None], list[str]]:
    """Each member that changes hands with its new clerk (None: the unassigned list), and what is worth saying."""
    if kind == Kind.REBALANCE:
        return _rebalanced(books, _takers(books, options, clerk), options)
    free = _free(kind, books, options, clerk)
    if not free:
        raise ProposalError(_nothing(kind))
    if options.to_list:
        moved: dict[int, int | None] = {member.pk: None for member in free if member.holder is not None}
        return moved, []
    takers = _takers(books, options, clerk)
    if not takers:
        raise ProposalError(
            _("No clerk of store %(store)s can take members on %(day)s: import a posting, or choose another date.")
            % {"store": books.store.store_no, "day": books.on}
        )
    if len(takers) == 1:
        given = dict.fromkeys((member.pk for member in free), takers[0])
    else:
        keep = options.keep_within_bp
        given = share_out(books, free, takers=takers, keep_within_bp=keep)
    return {pk: to for pk, to in given.items() if to != books.members[pk].owner}, []


def _free(kind: Proposal.Kind, books: StoreBooks, options: Options, clerk: Clerk | None) -> list[BookMember]:
    """The members that the change is about."""
    if kind == Kind.HAND_OVER:
        return [member for member in books.members.values() if clerk and member.holder == clerk.pk]
    if kind == Kind.REASSIGNMENT:
        gone = [pk for pk in options.members if pk not in books.members]
        if gone:
            raise ProposalError(
                _("%(count)d of the chosen members have closed cards on %(day)s: choose again without them.")
                % {"count": len(gone), "day": books.on}
            )
        return [books.members[pk] for pk in options.members]
    return shareable(books, again=kind == Kind.SPLIT and options.again)


def _nothing(kind: Proposal.Kind) -> str:
    if kind == Kind.HAND_OVER:
        return _("This clerk has no members on that date: there is nothing to hand over.")
    if kind == Kind.REASSIGNMENT:
        return _("No members are chosen: choose at least one.")
    if kind == Kind.UNASSIGNED:
        return _("Every member of this store has an owner on that date: there is nothing to share out.")
    return _("This store has no members on that date: there is nothing to split.")


def _to_rebalance(books: StoreBooks, takers: Collection[int]) -> list[SplitMember]:
    """The members of the takers' books; those of other stores count, and stay."""
    taking = {pk: books.clerks[pk] for pk in takers}
    return [
        member.to_split(taking, locked=member.locked or not member.of_store)
        for member in books.members.values()
        if member.owner in taking
    ]


def _rebalanced(
    books: StoreBooks, takers: Collection[int], options: Options
) -> tuple[dict[int, int | None], list[str]]:
    clerks = [books.clerks[pk].to_split for pk in takers]
    result = rebalance(
        _to_rebalance(books, takers), clerks, spread_bp=options.spread_bp, counts_within_bp=options.counts_within_bp
    )
    clerk_keys = {books.clerks[pk].clerk_no: pk for pk in takers}
    member_keys = {member.member_no: pk for pk, member in books.members.items()}
    moves: dict[int, int | None] = {member_keys[move.member_no]: clerk_keys[move.to_clerk] for move in result.moves}
    return moves, [result.notice] if result.notice else []


def _document(books: StoreBooks, moves: Mapping[int, int | None], takers: Collection[int]) -> dict[str, Any]:
    """What the preview shows. Clerks by number, the unassigned list apart; spreads are those of the takers."""
    before, after = books.holdings({}), books.holdings(moves)
    moved = Counter((books.members[pk].holder, to) for pk, to in moves.items())
    return {
        "moves": [[pk, books.members[pk].holder, to] for pk, to in sorted(moves.items())],
        "clerks": [
            {
                "clerk": pk,
                "clerk_no": clerk.clerk_no,
                "name": clerk.name,
                "weight_percent": clerk.weight_percent,
                "takes": pk in takers,
                "gives": sum(count for (source, _to), count in moved.items() if source == pk),
                "gets": sum(count for (_source, to), count in moved.items() if to == pk),
                "before": asdict(before[pk]),
                "after": asdict(after[pk]),
            }
            for pk, clerk in books.clerks.items()
        ],
        "unassigned": {"before": asdict(before[None]), "after": asdict(after[None])},
        "spread_bp": {"before": _spread_bp(books, {}, takers), "after": _spread_bp(books, moves, takers)},
    }


def _kept(books: StoreBooks, moves: Mapping[int, int | None], takers: Collection[int]) -> list[int]:
    """Of the moving members whom a taker served: how many go to who served them most, and how many there are."""
    taking = {pk: books.clerks[pk] for pk in takers}
    served = [
        (books.members[pk].served_most_by(taking), taking[to].clerk_no) for pk, to in moves.items() if to in taking
    ]
    return [sum(most == to for most, to in served), sum(bool(most) for most, _to in served)]


def _spread_bp(books: StoreBooks, moves: Mapping[int, int | None], takers: Collection[int]) -> float | None:
    """(max - min) / mean of the takers' spend per weight, in basis points; None where none of them has a weight."""
    clerks = [books.clerks[pk].to_split for pk in takers]
    if not any(clerk.weight_percent for clerk in clerks):
        return None
    numbers = {pk: books.clerks[pk].clerk_no for pk in takers}
    members = [member.to_split(books.clerks, locked=False) for member in books.members.values()]
    assignment = {}
    for member in books.members.values():
        holder = moves.get(member.pk, member.holder)
        assignment[member.member_no] = numbers.get(holder, "") if holder is not None else ""
    wide: Fraction = spread(summarise(assignment, members, clerks), clerks)
    return float(wide * 10_000)


def _pay_effect(
    kind: Proposal.Kind, books: StoreBooks, moves: Mapping[int, int | None], on: dt.date, by: User | None
) -> tuple[list[dict[str, Any]], int]:
    """Carries the moves out, and says whose commission of sales already booked moves by how much (minor units).

    The caller rolls it back. A date after the last ticket moves nothing.
    """
    batch = BindingBatch.objects.create(source="draft", recorded_by=by)
    changes = _carry_out(kind, books, moves, on, batch)
    last = Sale.objects.aggregate(last=Max("business_date"))["last"]
    if changes.since is None or last is None or changes.since > last:
        return [], 0
    before = Booking.objects.aggregate(last=Max("pk"))["last"] or 0
    corrected = correct_since(changes.since, source="draft", recorded_by=by)
    moved: Counter[int | None] = Counter()
    for party in ("owner", "server", "house"):
        rows = Attribution.objects.filter(booking__gt=before)
        if party == "house":
            moved[None] += rows.aggregate(amount=Sum("house_commission_amount"))["amount"] or 0
            continue
        sums = rows.filter(**{f"{party}__isnull": False}).values(party).order_by()
        for clerk, amount in sums.annotate(amount=Sum(f"{party}_commission_amount")).values_list(party, "amount"):
            moved[clerk] += amount
    clerks = Clerk.objects.in_bulk([clerk for clerk in moved if clerk is not None])
    pay = [
        {
            "clerk_no": clerks[pk].clerk_no if pk is not None else "",
            "name": clerks[pk].name if pk is not None else "",
            "amount": amount,
        }
        for pk, amount in moved.items()
        if amount
    ]
    return sorted(pay, key=lambda row: row["clerk_no"]), corrected


def _carry_out(
    kind: Proposal.Kind,
    books: StoreBooks,
    moves: Mapping[int, int | None],
    on: dt.date,
    batch: BindingBatch,
    progress: Callable[[int, int], None] | None = None,
) -> BindingChanges:
    named = {pk: to for pk, to in moves.items() if to is not None}
    freed = [pk for pk, to in moves.items() if to is None]
    # Who shares out the unassigned takes nothing away: an owner who is to come takes over on the day recorded.
    keep_later = kind == Kind.UNASSIGNED
    why: Binding.Reason | dict[int, Binding.Reason]
    if kind == Kind.HAND_OVER:
        why = Binding.Reason.LEAVER
    elif kind == Kind.REASSIGNMENT:
        why = Binding.Reason.REASSIGNMENT
    else:
        why = reasons(books, named)
    changes = assign(named, on=on, reason=why, batch=batch, keep_later=keep_later, progress=progress)
    return changes + end(freed, on=on, batch=batch)
