"""A page of well-formed XHTML becomes a tagged PDF to archive, by the shortest way through WeasyPrint.

It is PDF/A-3a and PDF/UA-1 in one: whole in itself, read aloud in order, with its figures attached as data. Page and
style sheet say all: what a browser would know of each element, pictures inline, fonts by their files. The same page,
sheet and data are the same bytes. No Django is needed here, so a process that makes PDFs starts without it.
"""

import atexit
import gc
import os
import zlib
from collections.abc import Sequence
from datetime import date, datetime, time
from functools import cache
from multiprocessing import parent_process
from threading import Thread
from typing import Any
from xml.etree import ElementTree

from cssselect2 import ElementWrapper
from pydyf import PDF, Array, Stream
from weasyprint import CSS, HTML, Attachment, Document
from weasyprint.text.fonts import FontConfiguration
from weasyprint.urls import URLFetcher

_NOTHING = URLFetcher(allowed_protocols=())
# How many new objects the collector of garbage waits for in a process that makes PDFs.
_ALLOCATIONS = 100_000


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


# A file inside the PDF, the data of what the page shows: its name, its bytes and the day that it is of.
Attached = tuple[str, bytes, date]


def tagged_pdf(*, page: str, stylesheet: str, identifier: bytes, attached: Sequence[Attached] = ()) -> bytes:
    """The PDF of a page; `identifier` is the file's own, 16 bytes.

    ElementTree.ParseError where the page is not well-formed: its template closes every element (`<br/>`) and escapes
    what it is given.
    """
    pdf: bytes = _Page(page).write_pdf(
        stylesheets=[_parsed(stylesheet)],
        font_config=_fonts(),
        pdf_identifier=identifier,
        finisher=_finish,
        **archived(attached),
    )
    return pdf


def end_with_parent() -> None:
    """For a process of a pool: it ends when the one that gives it pages is killed, instead of waiting for ever."""

    def wait() -> None:
        parent = parent_process()
        if parent:
            parent.join()
            os._exit(1)

    Thread(target=wait, daemon=True).start()


def archived(attached: Sequence[Attached]) -> dict[str, Any]:
    """What makes WeasyPrint write PDF/A-3a with these files inside."""
    return {
        "pdf_variant": "pdf/a-3a",
        "pdf_version": "1.7",
        "attachments": [
            Attachment(
                string=content,
                name=name,
                relationship="Data",
                created=datetime.combine(on, time()),
                modified=datetime.combine(on, time()),
            )
            for name, content, on in attached
        ],
    }


@cache
def _fonts() -> FontConfiguration:
    """One for the life of a process: each new one would copy the font files."""
    # With the first page, too: the collector of garbage would go through a page's boxes hundreds of times while it is
    # made, which is a tenth of the time. Now it comes every dozen pages or so, and memory stays flat.
    gc.set_threshold(max(gc.get_threshold()[0], _ALLOCATIONS), *gc.get_threshold()[1:])
    # Its files are removed while the interpreter still can.
    atexit.register(_parsed.cache_clear)
    atexit.register(_fonts.cache_clear)
    return FontConfiguration()


@cache
def _parsed(stylesheet: str) -> CSS:
    """Kept: there are as many as there are languages."""
    return CSS(string=stylesheet, font_config=_fonts())


def _finish(_document: Document, pdf: PDF) -> None:
    claim_accessible(pdf)
    _compress_once(pdf)


# PDF/A has a property explained that it does not know: the one that says "PDF/UA-1".
_UA = b"""<rdf:Description rdf:about="" xmlns:pdfuaid="http://www.aiim.org/pdfua/ns/id/" pdfuaid:part="1"/>
<rdf:Description rdf:about="" xmlns:pdfaExtension="http://www.aiim.org/pdfa/ns/extension/"
 xmlns:pdfaSchema="http://www.aiim.org/pdfa/ns/schema#" xmlns:pdfaProperty="http://www.aiim.org/pdfa/ns/property#">
<pdfaExtension:schemas><rdf:Bag><rdf:li rdf:parseType="Resource">
<pdfaSchema:schema>PDF/UA identification</pdfaSchema:schema>
<pdfaSchema:namespaceURI>http://www.aiim.org/pdfua/ns/id/</pdfaSchema:namespaceURI>
<pdfaSchema:prefix>pdfuaid</pdfaSchema:prefix>
<pdfaSchema:property><rdf:Seq><rdf:li rdf:parseType="Resource">
<pdfaProperty:name>part</pdfaProperty:name><pdfaProperty:valueType>Integer</pdfaProperty:valueType>
<pdfaProperty:category>internal</pdfaProperty:category>
<pdfaProperty:description>The part of ISO 14289 that the file keeps to</pdfaProperty:description>
</rdf:li></rdf:Seq></pdfaSchema:property></rdf:li></rdf:Bag></pdfaExtension:schemas></rdf:Description></rdf:RDF>"""


def claim_accessible(pdf: PDF) -> None:
    """Says in the metadata that the file is PDF/UA-1 too, and names each attached file once."""
    (metadata,) = (each for each in pdf.objects if isinstance(each, Stream) and each.extra.get("Type") == "/Metadata")
    metadata.stream = [part.replace(b"</rdf:RDF>", _UA) for part in metadata.stream]
    if "AF" in pdf.catalog:
        pdf.catalog["AF"] = Array(dict.fromkeys(pdf.catalog["AF"]))


def _compress_once(pdf: PDF) -> None:
    """Compresses each stream here: pydyf would do it twice, for the file's identifier and for the file.

    At zlib's usual level, too: the highest one takes half as long again to save one byte in a hundred.
    """
    for stream in pdf.objects:
        if isinstance(stream, Stream) and stream.compress:
            stream.compress = False
            plain = stream.data.partition(b"\nstream\n")[2].removesuffix(b"\nendstream")
            stream.stream = [zlib.compress(plain)]
            stream.extra["Filter"] = "/FlateDecode"
