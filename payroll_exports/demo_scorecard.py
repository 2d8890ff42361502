"""The demo's scorecard: 600.00 at 100 points for every clerk of the chain, of six measures, from one month on.

It begins in the last month that the demo closes, so that its payslips carry the bonus: a clerk with 93 points gets
558.00.
"""

from kpis.models import Scorecard, ScorecardMeasure
from kpis.scorecard_changes import issue, write_measures
from kpis.scorecard_models import Direction
from portfolios.models import Month

FULL_AMOUNT = 60_000
# Measure, weight in percent, and target as the measure is counted.
TERMS = (
    ("member_pay", 30, 7_000),
    ("retention", 20, 8_500),
    ("spend", 20, 26_000),
    ("effective_new", 10, 4),
    ("lapsed_share", 10, 1_200),
    ("upkeep", 10, 8_000),
)


def issue_scorecard(month: Month) -> Scorecard:
    """Issues the clerks' scorecard from the first day of an open month on; the one that is there already stays."""
    number = f"KPI-{month}"
    found = Scorecard.objects.filter(scorecard_no=number).first()
    if found:
        return found
    draft = Scorecard.objects.create(scorecard_no=number, valid_from=month.starts_on, full_amount=FULL_AMOUNT)
    measures = [
        ScorecardMeasure(
            measure=measure,
            weight_bp=weight * 100,
            target=target,
            direction=Direction.LOWER if measure == "lapsed_share" else Direction.HIGHER,
        )
        for measure, weight, target in TERMS
    ]
    write_measures(draft, measures)
    return issue(draft)
