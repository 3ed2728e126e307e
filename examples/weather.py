"""The work of examples/worker.py: made-up weather. Whoever has other work replaces this file.

A handler is given the request's `data` and the job (`id`, `attempt`, `deadline`, `is_cancelled`). It returns the answer's
JSON, raises Fault for what callers are told, and anything else for a dead letter. What blocks belongs into
asyncio.to_thread: the lease is renewed beside it.
"""
import datetime, hashlib, json


class Fault(Exception):
    """An end that callers are told of: a code of docs/wire.md and a sentence without addresses or an upstream's words."""

    def __init__(self, code, detail):
        super().__init__(detail)
        self.code, self.data = code, json.dumps({"code": code, "detail": detail})


async def handle(data, job):
    city, location, days = read(data)
    today = datetime.datetime.now(datetime.timezone.utc)

    def draw(day, what, most):
        text = f"{city.casefold()}/{today.date() + datetime.timedelta(day)}/{what}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % (10 * most + 1) / 10

    if days is None:
        return json.dumps({
            "city": city, "location": location, "requestId": job.id, "forecastTime": today.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "temperature": draw(0, "temperature", 30), "condition": "Partly Cloudy", "humidity": int(draw(0, "humidity", 100)),
            "windSpeed": draw(0, "wind", 12)})
    forecast = []
    for day in range(days):
        celsius = draw(day, "temperature", 30)
        date = (today + datetime.timedelta(day)).date().isoformat()
        forecast.append({"date": date, "temperatureC": round(celsius), "temperatureF": round(celsius * 9 / 5 + 32),
                         "summary": "Partly Cloudy"})
    return json.dumps(forecast)


def read(data):
    """City, location and days of a request; an ingress has looked at them before."""
    try:
        question = json.loads(data.decode())
        data.decode().encode()
    except (ValueError, RecursionError):
        raise Fault("invalid", "the data is not readable JSON") from None
    if not isinstance(question, dict):
        raise Fault("invalid", "must be a JSON object")
    city, location, days = (question.get(name) for name in ("city", "location", "days"))
    for name, text, most in (("city", city, 100), ("location", location or "", 200)):
        if not isinstance(text, str) or len(text) > most or not text.isprintable() or name == "city" and not text.strip():
            raise Fault("invalid", f"/{name} must be a string of at most {most} visible characters")
    if days is not None and (type(days) is not int or not 1 <= days <= 16):
        raise Fault("invalid", "/days must be a whole number from 1 to 16")
    return city.strip(), (location or "").strip() or None, days
