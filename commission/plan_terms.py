"""What a plan says, so that people can read it: its shares in sentences, its rates row by row, each beside the plan
before it.

A category that paid 3% and now pays 4% reads "3% -> 4%"; one that the plan before did not have is new.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from commission.models import Band, Category, Plan, PlanProduct, PlanRate
from commission.money import WHOLE_BP, format_bp
from commission.templatetags.money import money_text


@dataclass(frozen=True)
class Pays:
    """What a plan pays for a category or product: basis points, or minor units per unit, or nothing (excluded)."""

    rate_bp: int | None = None
    unit_amount: int | None = None

    @property
    def text(self) -> str:
        if self.unit_amount is not None:
            return _("%(amount)s per unit") % {"amount": money_text(self.unit_amount)}
        return _("excluded") if self.rate_bp is None else f"{format_bp(self.rate_bp)}%"


EXCLUDED = Pays()


@dataclass(frozen=True)
class PlanTerms:
    """What a plan pays: shares in basis points, by category (its key) and product number, bands by lower bound.

    A category that is not in `rates` is excluded by default, or has no rate yet.
    """

    owner_share_bp: int = 7_000
    house_share_bp: int = 0
    walk_in_share_bp: int = WHOLE_BP
    rates: Mapping[int, Pays] = field(default_factory=dict)
    products: Mapping[str, Pays] = field(default_factory=dict)
    bands: Mapping[int, int] = field(default_factory=dict)


def terms_of(plan: Plan) -> PlanTerms:
    rates = PlanRate.objects.filter(plan=plan).values_list("category", "rate_bp")
    products = PlanProduct.objects.filter(plan=plan).order_by("product_no")
    bands = Band.objects.filter(plan=plan).order_by("lower_amount")
    return PlanTerms(
        plan.owner_share_bp,
        plan.house_share_bp,
        plan.walk_in_share_bp,
        {category: Pays(rate_bp) for category, rate_bp in rates},
        {no: Pays(bp, unit) for no, bp, unit in products.values_list("product_no", "rate_bp", "unit_amount")},
        dict(bands.values_list("lower_amount", "rate_bp")),
    )


def write_terms(plan: Plan, terms: PlanTerms) -> None:
    """Writes the terms in place of those that the plan has. The caller knows that nothing uses it."""
    for share in ("owner_share_bp", "house_share_bp", "walk_in_share_bp"):
        setattr(plan, share, getattr(terms, share))
    plan.save(update_fields=["owner_share_bp", "house_share_bp", "walk_in_share_bp"])
    plan.rates.all().delete()
    plan.products.all().delete()
    plan.bands.all().delete()
    PlanRate.objects.bulk_create(
        PlanRate(plan=plan, category_id=category, rate_bp=pays.rate_bp, excluded=pays == EXCLUDED)
        for category, pays in terms.rates.items()
    )
    PlanProduct.objects.bulk_create(
        PlanProduct(plan=plan, product_no=product_no, rate_bp=pays.rate_bp, unit_amount=pays.unit_amount)
        for product_no, pays in terms.products.items()
    )
    Band.objects.bulk_create(
        Band(plan=plan, lower_amount=lower_amount, rate_bp=rate_bp) for lower_amount, rate_bp in terms.bands.items()
    )


# --- Reading -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One thing that a plan says, and what the plan before it said ("": nothing), if there was one (`compared`)."""

    name: str
    now: str
    before: str = ""
    compared: bool = False

    @property
    def change(self) -> str:
        """same, changed, new or gone."""
        if not self.compared or self.now == self.before:
            return "same"
        if not self.before:
            return "new"
        return "changed" if self.now else "gone"


@dataclass(frozen=True)
class Reading:
    """A plan as it is read: who gets which share, and what categories, products and bands pay."""

    shares: list[Line]
    categories: list[Line]
    products: list[Line]
    bands: list[Line]

    @property
    def differences(self) -> int:
        every = [*self.shares, *self.categories, *self.products, *self.bands]
        return sum(line.change != "same" for line in every)


def read(terms: PlanTerms, before: PlanTerms | None) -> Reading:
    """The terms in the active language, beside those of the plan before."""
    shares = [
        (_("The owner of the member serves"), _own_served),
        (_("Another clerk serves the member"), _split),
        (_("The member has no owner"), _unowned),
        (_("There is no member"), _walk_in),
    ]
    categories = {category.pk: category for category in Category.objects.all()}

    def rate(of: PlanTerms, key: Any) -> str:
        if key in of.rates:
            return of.rates[key].text
        return _("excluded (by default)") if categories[key].excluded else _("no rate yet")

    def bound(lower_amount: Any) -> str:
        return _("from %(amount)s on") % {"amount": money_text(lower_amount)}

    return Reading(
        [Line(name, told(terms), told(before) if before else "", before is not None) for name, told in shares],
        _lines(categories, categories, lambda key: str(categories[key]), rate, terms, before),
        _lines(terms.products, before.products if before else (), str, _product, terms, before),
        _lines(terms.bands, before.bands if before else (), bound, _band, terms, before),
    )


def _lines(
    keys: Any,
    keys_before: Any,
    name: Callable[[Any], str],
    text: Callable[[PlanTerms, Any], str],
    terms: PlanTerms,
    before: PlanTerms | None,
) -> list[Line]:
    return [
        Line(name(key), text(terms, key), text(before, key) if before else "", before is not None)
        for key in sorted({*keys, *keys_before})
    ]


def _product(terms: PlanTerms, product_no: Any) -> str:
    return terms.products[product_no].text if product_no in terms.products else ""


def _band(terms: PlanTerms, lower_amount: Any) -> str:
    return f"{format_bp(terms.bands[lower_amount])}%" if lower_amount in terms.bands else ""


def _own_served(_terms: PlanTerms) -> str:
    return _("The owner gets the whole commission.")


def _split(terms: PlanTerms) -> str:
    return _("The owner gets %(owner)s%%, the server %(server)s%%.") % {
        "owner": format_bp(terms.owner_share_bp),
        "server": format_bp(WHOLE_BP - terms.owner_share_bp),
    }


def _unowned(terms: PlanTerms) -> str:
    if not terms.house_share_bp:
        return _("The server gets the whole commission.")
    return _server_and_store(WHOLE_BP - terms.house_share_bp)


def _walk_in(terms: PlanTerms) -> str:
    if terms.walk_in_share_bp == WHOLE_BP:
        return _("The server gets the whole commission.")
    return _server_and_store(terms.walk_in_share_bp)


def _server_and_store(server_bp: int) -> str:
    if not server_bp:
        return _("The store keeps the whole commission.")
    return _("The server gets %(server)s%%, the store keeps %(store)s%%.") % {
        "server": format_bp(server_bp),
        "store": format_bp(WHOLE_BP - server_bp),
    }
