"""Scorecards for tests: `scorecard("K1", 30_000, member_pay=(4_000, 8_000))` pays 300.00 at 100 points."""

from kpis.models import Scorecard, ScorecardMeasure
from kpis.scorecard import LOWER_IS_BETTER
from kpis.scorecard_models import Direction
from portfolios.models import OPEN_END, Store
from tests.small_chain import day


def scorecard(
    scorecard_no: str = "K1",
    full_amount: int = 30_000,
    *,
    role: str = "clerk",
    store: Store | None = None,
    since: str = "01-01",
    until: str = "",
    state: str = "issued",
    cap_bp: int = 12_000,
    **measures: tuple[int, int],
) -> Scorecard:
    """A scorecard with the weight and the target of each measure; amounts in fen, the rest as the targets are kept."""
    made = Scorecard.objects.create(
        scorecard_no=scorecard_no,
        role=role,
        store=store,
        valid_from=day(since),
        valid_to=day(until) if until else OPEN_END,
        full_amount=full_amount,
        state=state,
    )
    for measure, (weight_bp, target) in measures.items():
        ScorecardMeasure.objects.create(
            scorecard=made,
            measure=measure,
            weight_bp=weight_bp,
            target=target,
            cap_bp=cap_bp,
            direction=Direction.LOWER if measure in LOWER_IS_BETTER else Direction.HIGHER,
        )
    return made
