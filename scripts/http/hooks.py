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


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Whether a failure counts. The claimer of an idle proxy holds all terminals, so that its own forecast finds none."""
    is_busy = response.status_code == 503 and response.json()["type"] == "/problems/overloaded"
    return not (is_busy and type(failure).__name__ == "ServerError")
