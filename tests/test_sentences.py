"""Sentences that make one text: a blank between English ones, none after a Chinese stop."""

import pytest
from django.template import Context, Template

from portfolios.sentences import joined


@pytest.mark.parametrize(
    ("sentences", "text"),
    [
        (("It is empty.", "Fill it."), "It is empty. Fill it."),
        (("为空。", "请填写。"), "为空。请填写。"),
        (("为空。", "Fill it.", "请填写！", "好"), "为空。Fill it. 请填写！好"),
        (("", "It is empty.", ""), "It is empty."),
        ((), ""),
    ],
)
def test_sentences_are_joined(sentences: tuple[str, ...], text: str) -> None:
    assert joined(*sentences) == text


def test_a_page_joins_them_alike() -> None:
    page = Template(
        '{% load sentences %}{% sentences %}{{ one }} <a href="?">{{ two }}</a> {{ one }}\n {{ two }}{% endsentences %}'
    )
    assert (
        page.render(Context({"one": "已对账。", "two": "查看 1 张。"}))
        == '已对账。<a href="?">查看 1 张。</a>已对账。查看 1 张。'
    )
    assert (
        page.render(Context({"one": "It ties.", "two": "<b>"}))
        == 'It ties. <a href="?">&lt;b&gt;</a> It ties.\n &lt;b&gt;'
    )
