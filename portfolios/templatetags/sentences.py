"""Sentences that stand behind each other in a page's text."""

import re

from django import template
from django.utils.safestring import SafeString, mark_safe

from portfolios.sentences import WIDE_STOPS

register = template.Library()

# Also where the sentence is a link.
_ROOM = re.compile(rf"([{''.join(WIDE_STOPS)}](?:</\w+>)*)\s+")


@register.simple_block_tag
def sentences(content: SafeString) -> SafeString:
    """What the block holds, without the blanks after Chinese stops, which bring their own room.

    What is in the block is escaped already; blanks alone are taken out of it.
    """
    return mark_safe(_ROOM.sub(r"\1", content))
