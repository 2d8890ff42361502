"""Sentences that make one text."""

# Chinese stops bring their own room.
WIDE_STOPS = ("。", "！", "？", "；", "：")


def joined(*sentences: object) -> str:
    """The sentences as one text, with a blank after each in English and none in Chinese; empty ones are left out.

    "It is empty.", "Fill it." -> "It is empty. Fill it."; "为空。", "请填写。" -> "为空。请填写。"
    """
    text = ""
    for sentence in filter(None, map(str, sentences)):
        text += sentence if not text or text.endswith(WIDE_STOPS) else f" {sentence}"
    return text
