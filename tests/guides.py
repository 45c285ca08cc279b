"""The code blocks of a guide, for the tests that carry them out."""

import re


def blocks(text: str, language: str) -> list[str]:
    """The blocks of one language, in order; what is only shown is indented and not among them."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
