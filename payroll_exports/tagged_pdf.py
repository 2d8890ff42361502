"""A page of well-formed XHTML becomes a tagged PDF (PDF/UA-1), by the shortest way through WeasyPrint.

Page and style sheet say all: what a browser would know of each element, pictures inline, fonts by their files. The
same page and sheet are the same bytes. No Django is needed here, so a process that makes PDFs starts without it.
"""

import atexit
import zlib
from functools import cache
from xml.etree import ElementTree

from cssselect2 import ElementWrapper
from pydyf import PDF, Stream
from weasyprint import CSS, HTML, Document
from weasyprint.text.fonts import FontConfiguration
from weasyprint.urls import URLFetcher

_NOTHING = URLFetcher(allowed_protocols=())


class _Page(HTML):
    """What `HTML(string=page)` is, without two things that cost a payslip a seventh of its time.

    The parser of HTML is written in Python; that of XML is not. And the sheet of a browser's defaults puts six
    pseudo-elements, for notes, on every element: on each mark of a chart too.
    """

    def __init__(self, page: str) -> None:
        self.base_url = None
        self.url_fetcher = _NOTHING
        self.media_type = "print"
        self.etree_element = ElementTree.fromstring(page)
        self.wrapper_element = ElementWrapper.from_html_root(self.etree_element)

    def _ua_stylesheets(self, forms: bool = False) -> list[CSS]:
        return []


def tagged_pdf(*, page: str, stylesheet: str, identifier: bytes) -> bytes:
    """The PDF of a page; `identifier` is the file's own, 16 bytes.

    ElementTree.ParseError where the page is not well-formed: its template closes every element (`<br/>`) and escapes
    what it is given.
    """
    pdf: bytes = _Page(page).write_pdf(
        stylesheets=[_parsed(stylesheet)],
        font_config=_fonts(),
        pdf_variant="pdf/ua-1",
        pdf_version="1.7",
        pdf_identifier=identifier,
        finisher=_compress_once,
    )
    return pdf


@cache
def _fonts() -> FontConfiguration:
    """One for the life of a process: each new one would copy the font files."""
    # Its files are removed while the interpreter still can.
    atexit.register(_parsed.cache_clear)
    atexit.register(_fonts.cache_clear)
    return FontConfiguration()


@cache
def _parsed(stylesheet: str) -> CSS:
    """Kept: there are as many as there are languages."""
    return CSS(string=stylesheet, font_config=_fonts())


def _compress_once(_document: Document, pdf: PDF) -> None:
    """Compresses each stream here: pydyf would do it twice, for the file's identifier and for the file.

    At zlib's usual level, too: the highest one takes half as long again to save one byte in a hundred.
    """
    for stream in pdf.objects:
        if isinstance(stream, Stream) and stream.compress:
            stream.compress = False
            plain = stream.data.partition(b"\nstream\n")[2].removesuffix(b"\nendstream")
            stream.stream = [zlib.compress(plain)]
            stream.extra["Filter"] = "/FlateDecode"
