"""Payslips as PDF: what stands on the page, how it looks, and that the same payslip is the same file.

The pages in tests/reference/ are rewritten, after a change of the layout that is meant, with

    python -m tests.test_payslip_pdf

Look at them before you commit them.
"""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    import django

    os.environ.setdefault("SECRET_KEY", "only-for-the-tests-of-this-run")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()

import django
import pikepdf
import pypdfium2
import pytest
from fontTools.ttLib import TTFont
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageDraw, ImageFont
from weasyprint import CSS, HTML
from weasyprint.text.fonts import FontConfiguration

from kpis.charts import Part, kind_bar, text_width, waterfall
from kpis.movement_pictures import ACTIVE_MEMBERS, PORTFOLIO
from payroll_exports.line_codes import LineCode, line_name
from payroll_exports.payslip_pdf import (
    GETA,
    PayslipDocument,
    PayslipError,
    PayslipLine,
    font_file,
    page_of,
    render_payslip,
    render_payslips,
)
from payroll_exports.tagged_pdf import archived, claim_accessible
from tests.payslips import HARD, HARD_LINES, LINES, MOVEMENT, NO_MEMBERS, YEAR, payslip

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "tests/reference"
LARGEST_PDF = 60_000


def text_of(pdf: bytes) -> str:
    """The text of all pages with single spaces."""
    pages = pypdfium2.PdfDocument(pdf)
    return " ".join(" ".join(page.get_textpage().get_text_range().split()) for page in pages)


def picture_of(pdf: bytes, scale: float = 1.25) -> Image.Image:
    """The first page in grey, at 90 dots per inch for a scale of 1.25."""
    return pypdfium2.PdfDocument(pdf)[0].render(scale=scale, grayscale=True).to_pil()


@pytest.fixture(scope="module")
def chinese() -> bytes:
    return render_payslip(payslip())


@pytest.fixture(scope="module")
def english() -> bytes:
    return render_payslip(payslip("en"))


# --- What stands on the page


def test_a_chinese_payslip_says_who_when_where_and_how_much(chinese: bytes) -> None:
    text = text_of(chinese)
    assert "工资条 · 2026年10月" in text
    assert "李娜 康宁大药房 中山路店 工号 C0017 · 门店 S03 · 2026-10-01 至 2026-10-31" in text
    assert "9,466.53 应发合计（元）" in text
    assert "核对码 7F3K-9QXD-21MA" in text
    assert "第 1 页，共 1 页" in text


def test_an_english_payslip_says_who_when_where_and_how_much(english: bytes) -> None:
    text = text_of(english)
    assert "Payslip · October 2026" in text
    assert "Li Na Kangning Pharmacy, Zhongshan Road Clerk C0017 · store S03 · 2026-10-01 to 2026-10-31" in text
    assert "9,466.53 To be paid, gross (CNY)" in text
    assert "Verification code 7F3K-9QXD-21MA" in text
    assert "Page 1 of 1" in text


def test_lines_stand_in_groups_with_their_counts_amounts_and_sums(chinese: bytes, english: bytes) -> None:
    assert (
        "Base Base salary 31 days 4,800.00 4,800.00 "
        "From my members Own members, served 214 3,124.55 Own members, served by another 63 587.21 3,711.76 "
        "From covering Covered for another clerk 48 214.90 214.90 "
        "Others Members without an owner 5 18.90 Walk-ins 87 403.12 Accelerator 360.00 782.02 "
        "Corrections Clawback for returns 3 ▼ −42.15 ▼ −42.15 "
        "To be paid 9,466.53"
    ) in text_of(english)
    assert (
        "基本 基本工资 31 天 4,800.00 4,800.00 "
        "来自我的会员 自有会员·本人服务 214 3,124.55 自有会员·他人服务 63 587.21 3,711.76 "
        "代他人服务 代他人服务 48 214.90 214.90 "
        "其他 无归属会员 5 18.90 非会员 87 403.12 阶梯提成 360.00 782.02 "
        "更正 退货扣回 3 ▼ −42.15 ▼ −42.15 "
        "应发 9,466.53"
    ) in text_of(chinese)


def test_every_line_code_has_its_line_on_the_page() -> None:
    text = text_of(render_payslip(replace(HARD, language="en")))
    assert (
        "Corrections Late tickets 2 8.80 Clawback for returns 17 ▼ −842.15 Corrections of earlier months 1 ▼ −42.00 "
        "Held while in question 1 ▼ −12.60 Adjustments 30.00 ▼ −857.95 "
        "Carried Carried from last month ▼ −120.00 Carried to next month 1,104.49 984.49 To be paid 2,787.10"
    ) in text
    assert all(line_name(line.line_code, "en") in text for line in HARD_LINES)


def test_beside_the_month_stands_the_year_to_date() -> None:
    text = text_of(render_payslip(payslip("en", year_lines=YEAR)))
    assert (
        "Year to date Base Base salary 31 days 4,800.00 4,800.00 48,000.00 "
        "From my members Own members, served 214 3,124.55 29,110.43 "
        "Own members, served by another 63 587.21 3,711.76 6,012.77"
    ) in text
    # What was in March and is not in October stands in the last column alone.
    assert "Clawback for returns 3 ▼ −42.15 −319.85 Corrections of earlier months ▼ −42.15 −42.00" in text
    assert "To be paid 9,466.53 91,938.05" in text


def test_a_group_without_lines_is_not_shown() -> None:
    nothing = (PayslipLine("BASE", 31, 480000), PayslipLine("COVERED", 0, 0))
    text = text_of(render_payslip(payslip("en", lines=nothing, movement=NO_MEMBERS, previous_lines=None)))
    assert "Sum (CNY) Base Base salary 31 days 4,800.00 4,800.00 To be paid 4,800.00 A question?" in text


def test_a_payslip_of_nothing_at_all_is_still_a_payslip() -> None:
    text = text_of(render_payslip(payslip("en", lines=(), movement=NO_MEMBERS, previous_lines=None)))
    assert "0.00 To be paid, gross (CNY)" in text
    assert "Where the variable pay came from" not in text


def test_negative_pay_has_a_true_minus_a_mark_and_brick_ink() -> None:
    pdf = render_payslip(payslip("en", lines=(PayslipLine("CLAWBACK", 2, -123456),), previous_lines=None))
    assert "▼ −1,234.56 To be paid, gross (CNY)" in text_of(pdf)
    picture = pypdfium2.PdfDocument(pdf)[0].render(scale=2).to_pil().convert("RGB")
    hero = picture.crop((picture.width // 2, 0, picture.width, picture.height // 6))
    assert (0xB4, 0x41, 0x2F) in {colour for _count, colour in hero.getcolors(1_000_000)}


def test_the_bar_tells_where_the_variable_pay_came_from(english: bytes) -> None:
    assert (
        "Taken back −42.15 Own, served 3,124.55 Own, absent 587.21 Covered 214.90 "
        "Walk-in, unowned 422.02 Bonus and other 360.00"
    ) in text_of(english)


def test_what_is_carried_on_is_not_taken_back_yet() -> None:
    # -213.00 -842.15 -42.00 -12.60 -120.00 are taken, 1,104.49 of it only next month.
    assert "Taken back −125.26" in text_of(render_payslip(replace(HARD, language="en")))


def test_the_portfolio_goes_from_opening_to_closing(english: bytes, chinese: bytes) -> None:
    assert (
        "Opening 118 Enrolled +7 Transferred in +12 Transferred out −3 Closed −1 Closing 133 All members "
        "Opening 81 Newly active +6 Reactivated +4 In +8 Out −2 Lapsed −7 Closing 90 Active members "
        "Tier A 6 Tier B 19 Together 25 Key members at the end"
    ) in text_of(english)
    assert "期初 118 新办 +7 转入 +12 转出 −3 销卡 −1 期末 133" in text_of(chinese)
    assert "A 级 6 B 级 19 合计 25" in text_of(chinese)


def test_one_sentence_says_what_changed_most_since_last_month(english: bytes, chinese: bytes) -> None:
    assert (
        "Against last month 432.21 more than last month, above all by "
        "Own members, served +443.35 and Accelerator +80.00."
    ) in text_of(english)
    assert "比上月多 432.21，主要因为自有会员·本人服务 +443.35、阶梯提成 +80.00。" in text_of(chinese)


@pytest.mark.parametrize(
    ("previous", "sentence"),
    [
        (LINES, "The same amount as last month."),
        ((PayslipLine("BASE", 31, 946653),), "The same amount as last month, above all by Base salary −4,666.53 and"),
        (
            (*LINES, PayslipLine("KPI", 0, 5000)),
            "50.00 less than last month, above all by KPI bonus −50.00.",
        ),
    ],
)
def test_the_sentence_for_months_that_are_alike_or_worse(previous: tuple[PayslipLine, ...], sentence: str) -> None:
    assert sentence in text_of(render_payslip(payslip("en", previous_lines=previous)))


def test_a_first_payslip_compares_with_nothing() -> None:
    assert "Against last month" not in text_of(render_payslip(payslip("en", previous_lines=None)))


def test_another_currency_is_named_by_its_code() -> None:
    text = text_of(render_payslip(payslip(currency="USD")))
    assert "金额（USD）" in text
    assert "元" not in text


def test_names_are_text_and_not_markup() -> None:
    assert "<b>Li</b> & Söhne" in text_of(render_payslip(payslip("en", clerk_name="<b>Li</b> & Söhne")))


def test_every_line_code_has_a_name_in_both_languages() -> None:
    for code in LineCode:
        english, chinese = line_name(code, "en"), line_name(code, "zh-hans")
        assert english != chinese
        assert english.isascii()
    with pytest.raises(ValueError, match="BONUS"):
        line_name("BONUS", "en")


# --- What is refused


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"language": "fr"}, "no payslip in 'fr'"),
        ({"paid_amount": 946654}, "the lines sum to 946653 but 946654 is to be paid"),
        ({"lines": (PayslipLine("BONUS", 0, 5),)}, "unknown line code 'BONUS'"),
        ({"movement": {**MOVEMENT, "closing": 134}}, "make 133, but closing is 134"),
        ({"movement": {**MOVEMENT, "lapsed": 6}}, "make 91, but active_closing is 90"),
        ({"movement": {name: MOVEMENT[name] for name in PORTFOLIO}}, "the movement lacks active_closing"),
    ],
)
def test_figures_that_disagree_are_refused_with_clerk_and_month(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(PayslipError, match=reason) as refusal:
        payslip(**changes)  # type: ignore[arg-type]
    assert str(refusal.value).startswith("Payslip 2026-10 of clerk C0017: ")


def test_a_stored_payslip_reads_back_as_it_was() -> None:
    for document in (HARD, payslip("en", previous_lines=None, year_lines=YEAR)):
        assert PayslipDocument.from_dict(json.loads(json.dumps(document.to_dict()))) == document


# --- The file


def test_the_same_payslip_is_the_same_bytes(chinese: bytes) -> None:
    render_payslip(HARD)
    assert render_payslip(payslip()) == chinese


@pytest.mark.parametrize("document", [payslip(), payslip("en"), HARD])
def test_the_short_way_draws_what_weasyprint_draws_by_itself(document: PayslipDocument) -> None:
    """Its own parser of HTML and its own sheet of a browser's defaults: the same objects, byte by byte."""
    page, fonts = page_of(document), FontConfiguration()
    pdf = HTML(string=page["page"]).write_pdf(
        stylesheets=[CSS(string=page["stylesheet"], font_config=fonts)],
        font_config=fonts,
        pdf_identifier=page["identifier"],
        finisher=lambda _document, pdf: claim_accessible(pdf),
        **archived(page["attached"]),
    )
    assert uncompressed(render_payslip(document)) == uncompressed(pdf)


def uncompressed(file: bytes) -> bytes:
    plain = io.BytesIO()
    with pikepdf.open(io.BytesIO(file)) as pdf:
        pdf.save(
            plain,
            compress_streams=False,
            stream_decode_level=pikepdf.StreamDecodeLevel.generalized,
            object_stream_mode=pikepdf.ObjectStreamMode.disable,
            static_id=True,
        )
    return plain.getvalue()


def test_the_processes_that_make_the_files_need_no_django() -> None:
    look = "import sys; from payroll_exports.tagged_pdf import tagged_pdf; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], cwd=ROOT).returncode == 0


def test_another_figure_is_another_file(chinese: bytes) -> None:
    assert render_payslip(payslip(verification_code="7F3K-9QXD-21MB")) != chinese


def test_a_payslip_is_its_own_archive_copy_with_its_lines_as_data(english: bytes) -> None:
    with pikepdf.open(io.BytesIO(english)) as pdf:
        (intent,) = pdf.Root.OutputIntents
        assert str(intent.S) == "/GTS_PDFA1"
        assert b"sRGB" in intent.DestOutputProfile.read_bytes()
        (attached,) = pdf.Root.AF
        assert (str(attached.UF), str(attached.AFRelationship)) == ("lines.json", "/Data")
        data = json.loads(pdf.attachments["lines.json"].get_file().read_bytes())
        assert all("/FontFile2" in font for font in embedded_fonts(pdf))
    assert (data["clerk_no"], data["month"], data["paid_amount"]) == ("C0017", "2026-10", "9466.53")
    assert data["lines"][1] == {
        "line_code": "OWN_SERVED",
        "line_name": "Own members, served",
        "quantity": 214,
        "amount": "3124.55",
    }
    assert [line["line_code"] for line in data["lines"]] == [line.line_code for line in LINES]


def embedded_fonts(pdf: pikepdf.Pdf) -> list[pikepdf.Object]:
    found = [each for each in pdf.objects if isinstance(each, pikepdf.Dictionary) and "/FontDescriptor" in each]
    assert found
    return [font.FontDescriptor for font in found]


@pytest.mark.parametrize(("language", "tag"), [("zh-hans", "zh-Hans"), ("en", "en")])
def test_a_payslip_is_tagged_and_names_its_language_and_title(language: str, tag: str) -> None:
    with pikepdf.open(io.BytesIO(render_payslip(payslip(language)))) as pdf:
        assert str(pdf.Root.Lang) == tag
        assert bool(pdf.Root.MarkInfo.Marked)
        assert bool(pdf.Root.ViewerPreferences.DisplayDocTitle)
        title = "2026年10月工资条：李娜（C0017）" if tag == "zh-Hans" else "Payslip October 2026: Li Na (C0017)"
        assert str(pdf.docinfo["/Title"]) == title
        assert str(pdf.docinfo["/CreationDate"]) == "D:20261031"
        with pdf.open_metadata() as metadata:
            assert metadata["pdfuaid:part"] == "1"
            assert (metadata["pdfaid:part"], metadata["pdfaid:conformance"]) == ("3", "A")
        kinds = [str(element.S) for element in elements(pdf.Root.StructTreeRoot)]
    assert {"/H1", "/H2", "/Table", "/TH", "/TD", "/P"} <= set(kinds)
    assert kinds.count("/Figure") == 3


def test_a_picture_has_its_words(english: bytes) -> None:
    with pikepdf.open(io.BytesIO(english)) as pdf:
        words = [str(element.Alt) for element in elements(pdf.Root.StructTreeRoot) if str(element.S) == "/Figure"]
    assert words == ["Where the variable pay came from", "Members of the portfolio", "Active members of the portfolio"]


def elements(node: pikepdf.Object) -> Iterator[pikepdf.Object]:
    """All structure elements under a node."""
    for kid in node.K if isinstance(node.get("/K"), pikepdf.Array) else []:
        if isinstance(kid, pikepdf.Dictionary) and "/S" in kid:
            yield kid
            yield from elements(kid)


def test_only_the_two_faces_of_the_payslip_are_used_and_both_are_embedded() -> None:
    with pikepdf.open(io.BytesIO(render_payslip(HARD))) as pdf:
        fonts = [font for page in pdf.pages for font in page.obj.Resources.Font.values()]
        names = sorted(str(font.BaseFont).partition("+")[2] for font in fonts)
        assert names == ["Payslip", "Payslip-Bold"]
        for font in fonts:
            assert len(font.DescendantFonts[0].FontDescriptor.FontFile2.read_bytes()) > 1000


@pytest.mark.parametrize("language", ["zh-hans", "en"])
def test_even_the_fullest_payslip_is_one_small_page(language: str) -> None:
    pdf = render_payslip(replace(HARD, language=language))
    assert len(pdf) <= LARGEST_PDF
    assert len(pypdfium2.PdfDocument(pdf)) == 1


def test_nothing_on_the_page_is_beyond_the_typesetter(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING"):
        render_payslip(HARD)
    assert caplog.messages == []


# --- How it looks


@pytest.mark.parametrize("language", ["zh-hans", "en"])
def test_the_page_looks_like_its_reference(language: str) -> None:
    picture = picture_of(render_payslip(payslip(language)))
    reference = Image.open(REFERENCE / f"payslip-{language}.png")
    assert picture.size == reference.size
    difference = ImageChops.difference(picture, reference)
    # Pango and the rasteriser may differ by a shade at the edges of strokes from one release to the next.
    strong = sum(difference.histogram()[64:]) / (picture.width * picture.height)
    assert strong < 0.002, f"{strong:.2%} of the dots differ; see the top of this file if that is meant"


def normal(picture: Image.Image) -> Image.Image:
    """The ink of a picture, cropped and brought to one size."""
    box = picture.point(lambda value: 255 * (value < 128)).getbbox()
    return picture.crop(box).resize((40, 40)).convert("L")


def distance(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of two pictures, 0 to 255."""
    histogram = ImageChops.difference(one, other).histogram()
    return sum(value * count for value, count in enumerate(histogram)) / sum(histogram)


def test_the_glyphs_on_the_page_are_those_of_the_characters() -> None:
    """The name as drawn, character by character, against the same characters drawn from the font by other code."""
    name = "李娜䶮㛃𬱖"
    page = pypdfium2.PdfDocument(render_payslip(payslip(clerk_name=name)))[0]
    scale = 6
    picture = page.render(scale=scale, grayscale=True).to_pil()
    words = page.get_textpage()
    found = words.search(name[:2]).get_next()
    assert found is not None
    face = ImageFont.truetype(str(font_file("Bd")), 150)
    for place, character in enumerate(name):
        left, bottom, right, top = words.get_charbox(found[0] + place)
        height = page.get_height()
        box = (left * scale - 2, (height - top) * scale - 2, right * scale + 2, (height - bottom) * scale + 2)
        drawn = normal(picture.crop(tuple(round(edge) for edge in box)))
        expected, tofu = (Image.new("L", (300, 300), 255) for _ in range(2))
        ImageDraw.Draw(expected).text((50, 50), character, font=face, fill=0x1C)
        ImageDraw.Draw(tofu).text((50, 50), "\U0010ffff", font=face, fill=0x1C)
        assert distance(drawn, normal(expected)) < 20, character
        assert distance(drawn, normal(tofu)) > 50, character


def test_a_character_that_the_font_lacks_is_marked_and_named() -> None:
    text = text_of(render_payslip(payslip("en", clerk_name="𠮷田𠮷", store_name="Happy 😀")))
    assert f"{GETA}田{GETA} Happy {GETA}" in text
    assert f"{GETA} stands for a character that the typeface lacks: U+20BB7, U+1F600." in text


def test_all_figures_and_signs_are_equally_wide() -> None:
    for weight in ("Rg", "Bd"):
        with TTFont(font_file(weight), lazy=True) as font:
            assert len({font["hmtx"][font.getBestCmap()[ord(sign)]][0] for sign in "0123456789+−"}) == 1


def test_regular_and_bold_draw_the_same_characters_and_all_of_gb2312() -> None:
    drawable = []
    for weight in ("Rg", "Bd"):
        with TTFont(font_file(weight), lazy=True) as font:
            drawable.append(font.getBestCmap().keys())
    assert drawable[0] == drawable[1]
    double_bytes = (bytes([row, cell]) for row in range(0xB0, 0xF8) for cell in range(0xA1, 0xFF))
    assert {ord(text) for pair in double_bytes if (text := pair.decode("gb2312", "ignore"))} <= drawable[0]


# --- Many at once


def test_processes_give_the_same_bytes_in_the_same_order(chinese: bytes) -> None:
    documents = [payslip(), payslip("en"), HARD]
    assert list(render_payslips(documents, processes=2)) == list(render_payslips(documents, processes=1))


@pytest.mark.parametrize("processes", [1, 2])
def test_documents_are_taken_as_they_are_needed(processes: int) -> None:
    taken = 0

    def documents() -> Iterator[PayslipDocument]:
        nonlocal taken
        while taken < 100:
            taken += 1
            yield payslip("en", lines=LINES[:1], movement=NO_MEMBERS, previous_lines=None)

    pages = render_payslips(documents(), processes)
    assert next(pages)[0] == 0
    assert taken <= 4 * processes + 1
    pages.close()  # type: ignore[attr-defined]


def test_few_payslips_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr("payroll_exports.payslip_pdf.ProcessPoolExecutor", refuse)
    assert [place for place, _pdf in render_payslips([payslip("en")] * 2)] == [0, 1]


# --- The charts by themselves

amounts = st.integers(-(10**7), 10**7)
KINDS = ("neutral", "own-served", "own-absent", "covered", "others", "plain", "loss")


@given(st.lists(amounts, min_size=len(KINDS), max_size=len(KINDS)))
def test_a_bar_fills_its_width_in_proportion_with_labels_apart(values: list[int]) -> None:
    parts = [Part(kind, "标签", value, f"{value}") for kind, value in zip(KINDS, values, strict=True)]
    bar = kind_bar(id="a", title="", desc="", parts=parts, width=672)
    if not any(values):
        assert bar is None
        return
    assert bar is not None
    total = sum(map(abs, values))
    shown = {mark.figure: mark for mark in bar.marks}
    assert set(shown) == {f"{value}" for value in values if value}
    for value in filter(None, values):
        mark = shown[f"{value}"]
        if values.count(value) == 1:
            assert float(mark.width) == pytest.approx(abs(value) / total * 672, abs=0.1)
        assert (float(mark.x) >= float(bar.zero_x) - 0.1) == (value > 0) or float(mark.width) <= 0.2
    starts = [float(mark.label_x) for mark in bar.marks]
    assert all(later - earlier > 21 for earlier, later in pairwise(starts))
    assert starts[0] >= 0
    assert starts[-1] <= 672


def test_labels_too_long_for_one_row_take_two_and_stay_inside() -> None:
    """On a clerk's page the bar is 372 wide; its six English labels in one row would begin 80 to the left of it."""
    labels = ("Own, served", "Own, absent", "Covered", "Walk-in, unowned", "Late and corrected", "Taken back")
    values = (37967, 73332, 25467, 9187, 380, -7333)
    kinds = ("own-served", "own-absent", "covered", "others", "plain", "loss")
    parts = [Part(*part, "1,000.00") for part in zip(kinds, labels, values, strict=True)]
    bar = kind_bar(id="a", title="", desc="", parts=parts, width=372)
    assert bar is not None
    assert {mark.label_y for mark in bar.marks} == {"46", "76"}
    ends = [float(mark.label_x) + text_width(mark.label) for mark in bar.marks]
    assert min(float(mark.label_x) for mark in bar.marks) >= 0
    assert max(ends) <= 372
    for row in ("46", "76"):
        beside = [(float(mark.label_x), end) for mark, end in zip(bar.marks, ends, strict=True) if mark.label_y == row]
        assert all(start > end for (_start, end), (start, _end) in pairwise(beside))
    # The line to a label of the lower row is 4 to its left, and meets no label of the upper one.
    upper = [(float(mark.label_x), end) for mark, end in zip(bar.marks, ends, strict=True) if mark.label_y == "46"]
    for mark in bar.marks:
        line = float(mark.label_x) - 4
        assert mark.label_y == "46" or not any(start <= line <= end for start, end in upper)


@given(st.integers(0, 5000), st.lists(st.integers(0, 500), min_size=2, max_size=2), st.data())
def test_a_waterfall_leads_from_opening_to_closing(opening: int, gains: list[int], data: st.DataObject) -> None:
    loss = data.draw(st.integers(0, opening + sum(gains)))
    closing = opening + sum(gains) - loss
    changes = [Part("own-served", "+", gain, f"+{gain}") for gain in gains] + [Part("loss", "-", -loss, f"-{loss}")]
    chart = waterfall(
        id="a",
        title="",
        desc="",
        opening=Part("neutral", "Opening", opening, str(opening)),
        changes=changes,
        closing=Part("neutral", "Closing", closing, str(closing)),
        label_width=80,
        figure_width=46,
        width=240,
    )
    assert len(chart.marks) == 2 + sum(bool(part.value) for part in changes)
    assert chart.marks[0].x == chart.marks[-1].x == chart.zero_x
    assert all(80 <= float(mark.x) <= float(mark.x) + float(mark.width) <= 240 for mark in chart.marks)
    if closing and loss:
        before = chart.marks[-2]
        assert float(chart.marks[-1].x) + float(chart.marks[-1].width) == pytest.approx(float(before.x), abs=1.1)


def test_the_books_of_the_movement_are_those_that_are_exported() -> None:
    assert {*PORTFOLIO, *ACTIVE_MEMBERS, "tier_a", "tier_b"} == set(MOVEMENT)


def _render_into(queue: Any, documents: list[PayslipDocument]) -> None:
    django.setup()
    queue.put([pdf for _place, pdf in render_payslips(documents, processes=2)])


def test_a_process_that_may_have_no_children_makes_them_itself(english: bytes) -> None:
    context = get_context("spawn")
    queue = context.Queue()
    worker = context.Process(target=_render_into, args=(queue, [payslip("en")]), daemon=True)  # as Celery's are
    worker.start()
    assert queue.get(timeout=120) == [english]
    worker.join(60)
    assert worker.exitcode == 0


# Draws payslips in two other processes until it is killed, and says when the first one is there.
ENDLESS = """
import itertools, django
if __name__ == "__main__":
    django.setup()
    from payroll_exports.payslip_pdf import render_payslips
    from tests.payslips import payslip
    for _place, _pdf in render_payslips(itertools.repeat(payslip()), processes=2):
        print("one", flush=True)
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="a process's children are listed by Linux")
def test_the_processes_of_one_that_is_killed_end_too(tmp_path: Path) -> None:
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS)
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, env=environment, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == b"one\n"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    # Two that draw, and the one that Python has watch over what they share.
    assert len(children) == 3
    process.kill()
    process.wait()
    process.stdout.close()
    while any(Path(f"/proc/{child}").exists() for child in children):
        time.sleep(0.05)


if __name__ == "__main__":
    REFERENCE.mkdir(exist_ok=True)
    for language in ("zh-hans", "en"):
        path = REFERENCE / f"payslip-{language}.png"
        picture_of(render_payslip(payslip(language))).save(path, optimize=True)
        print(f"{path} written; look at it.")
