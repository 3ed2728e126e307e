"""What schemathesis cannot know of these services. Loaded by scripts/check-http."""

import itertools
import re

import schemathesis

KEY = re.compile(r'([!#-~]([!-~]{0,253}[!#-~])?|"([ !#-\[\]-~]|\\["\\]){1,255}")')
used, numbers = set(), itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    """A key counts once: used again for other content it is refused, which says nothing about that content."""
    headers = case.headers or {}
    key = headers.get("Idempotency-Key")
    if not isinstance(key, str) or not KEY.fullmatch(key):
        return
    if key in used:
        headers["Idempotency-Key"] = key = f'"again-{next(numbers)}"'
    used.add(key)
