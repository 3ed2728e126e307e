"""Boards drawn from what a real Prometheus saw while a load test ran and things went wrong. Called by scripts/draw-dashboards."""

import argparse
import glob
import json
import math
import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from html import escape

from cluster import Cluster, get

# Seconds from the start of the load: what happens.
NORMAL, OVERLOAD, KILL, RESTART, STOP, CONT, END = 0, 30, 60, 75, 85, 89, 110
COLORS = ["#1f77b4", "#e6842a", "#2ca05a", "#d13b3b", "#8b63c4", "#8c6d4f", "#d45fa8", "#5f6b76", "#a8a51f", "#17a6b8"]
THRESHOLDS = {"green": "#2b8a4b", "orange": "#d9822b", "red": "#c23030"}
CELL, ROW = 50, 30


def trickle(cluster, stop):
    """What there is little of: calls that do not wait, keys that come again, cancellations."""
    count = 0
    while not stop.wait(0.15):
        count += 1
        try:
            url = cluster.ingresses[count % 2][0]
            headers = [{"Prefer": "respond-async"}, {"Prefer": "wait=1"}, {"Idempotency-Key": f"key-{count // 9}"}][count % 3]
            request = urllib.request.Request(f"{url}/WeatherForecast/city", b'{"city":"Oslo"}', {"Content-Type": "application/json", **headers})
            with urllib.request.urlopen(request, timeout=10) as answer:
                location = answer.headers.get("location")
            if location and count % 6 == 0:
                urllib.request.urlopen(urllib.request.Request(url + location, method="DELETE"), timeout=10).read()
        except OSError:
            pass


def run(services, load_test):
    """Runs the load with its events; returns the cluster's Prometheus, still up, and the time span."""
    environment = {"TERMINALS": "16", "SIMULATED_LATENCY": "20ms..60ms", "RUST_LOG": "error", "REQUEST_TIMEOUT": "4s", "LEASE": "3s"}
    with Cluster(services, ingresses=2, proxies=3, environment=environment) as cluster:
        time.sleep(3)
        begin = time.time()
        stop = threading.Event()
        thread = threading.Thread(target=trickle, args=(cluster, stop))
        thread.start()
        loads = []

        def load(rate, seconds):
            for url, _ in cluster.ingresses:
                loads.append(subprocess.Popen([load_test, "open", "--url", url, "--rate", str(rate), "--duration", f"{seconds}s", "--connections", "2000"],
                                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

        until = lambda second: time.sleep(max(0, begin + second - time.time()))
        load(300, END)
        until(OVERLOAD)
        load(700, KILL - OVERLOAD - 10)
        until(KILL)
        cluster.proxies[0][1].kill()
        subprocess.run(["redis-cli", "-p", str(cluster.redis_port), "XADD", "weather-requests", "*", "garbage", "1"], stdout=subprocess.DEVNULL, check=True)
        until(RESTART)
        url = cluster.proxies[0][0]
        port = url.rsplit(":", 1)[1]
        again = {**os.environ, **environment, "BROKER_URL": f"redis://127.0.0.1:{cluster.redis_port}", "LISTEN_ADDR": f"127.0.0.1:{port}", "ADMIN_TOKEN": "only-for-this-check"}
        cluster.start([os.path.join(services, "proxy-service")], env=again)
        until(STOP)
        cluster.redis.send_signal(signal.SIGSTOP)
        until(CONT)
        cluster.redis.send_signal(signal.SIGCONT)
        until(END)
        stop.set()
        thread.join()
        for process in loads:
            process.wait()
        time.sleep(2)
        end = time.time()
        for path in sorted(glob.glob("monitoring/dashboards/*.json")):
            name = os.path.basename(path).removesuffix(".json")
            with open(f"docs/dashboards/{name}.svg", "w") as file:
                file.write(board(cluster, json.load(open(path)), begin, end))
            print(f"docs/dashboards/{name}.svg")


def shown(value, unit):
    """A value as a person reads it."""
    if value is None or math.isnan(value):
        return "–"
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "s":
        return "0" if value == 0 else f"{value * 1000:.3g} ms" if abs(value) < 1 else f"{value:.3g} s"
    if unit == "bytes":
        return f"{value / 2**20:.3g} MiB"
    suffix = {"reqps": "/s", "ops": "/s"}.get(unit, "")
    if abs(value) >= 1000:
        return f"{value / 1000:.3g}k{suffix}"
    return f"{value:.3g}{suffix}"


def series_of(cluster, panel, begin, end):
    found = []
    for target in panel["targets"]:
        expression = target["expr"].replace("$__rate_interval", "5s").replace("$operation", ".*")
        for one in cluster.query_range(expression, begin, end):
            label = target["legendFormat"]
            for key, value in one["metric"].items():
                label = label.replace("{{" + key + "}}", value)
            points = [(float(at), float(value)) for at, value in one["values"]]
            found.append((label or panel["title"], [(at, value) for at, value in points if not math.isnan(value)]))
    found = [(label, points) for label, points in found if points]
    # Of many lines, those that lie on the axis say nothing.
    moved = [(label, points) for label, points in found if any(value for _, value in points)]
    return moved if len(found) > 4 and moved else found


def board(cluster, document, begin, end):
    panels = document["panels"]
    height = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in panels) * ROW + 60
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {24 * CELL} {height}" font-family="Helvetica, Arial, sans-serif" font-size="12">',
             f'<rect width="100%" height="100%" fill="#f4f5f7"/><text x="10" y="28" font-size="20" fill="#222">{escape(document["title"])}</text>',
             f'<text x="10" y="46" fill="#555">0–30 s: half of capacity; 30–50 s: 1.6 times capacity; 60–75 s: one of three workers killed; 85–89 s: Redis stopped</text>']
    for panel in panels:
        place = panel["gridPos"]
        x, y, w, h = place["x"] * CELL + 3, place["y"] * ROW + 56, place["w"] * CELL - 6, place["h"] * ROW - 6
        if panel["type"] == "row":
            parts.append(f'<text x="{x + 4}" y="{y + 19}" font-size="15" fill="#333">{escape(panel["title"])}</text>')
            continue
        found = series_of(cluster, panel, begin, end)
        draw = stat if panel["type"] == "stat" else graph
        parts.append(f'<g transform="translate({x},{y})">{draw(panel, found, w, h, begin, end)}</g>')
    return "\n".join(parts) + "\n</svg>\n"


def stat(panel, found, w, h, *_):
    unit = panel["fieldConfig"]["defaults"]["unit"]
    value = found[0][1][-1][1] if found else None
    color = "#5f6b76"
    for step in panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", []):
        if value is not None and (step["value"] is None or value >= step["value"]):
            color = THRESHOLDS[step["color"]]
    return (f'<rect width="{w}" height="{h}" rx="3" fill="{color}"/><text x="10" y="20" fill="#fff">{escape(panel["title"])}</text>'
            f'<text x="{w / 2}" y="{h / 2 + 22}" text-anchor="middle" font-size="30" fill="#fff">{escape(shown(value, unit))}</text>')


def nice(top):
    if top <= 0:
        return 1.0
    scale = 10 ** math.floor(math.log10(top))
    return next(step * scale for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * scale >= top * 0.999)


def graph(panel, found, w, h, begin, end):
    defaults = panel["fieldConfig"]["defaults"]
    unit, stacked = defaults["unit"], defaults["custom"]["stacking"]["mode"] == "normal"
    left, top, right, bottom = 62, 28, w - 12, h - 52
    parts = [f'<rect width="{w}" height="{h}" rx="3" fill="#fff" stroke="#d8dbe0"/><text x="10" y="19" font-weight="bold" fill="#333">{escape(panel["title"])}</text>']
    highest = 0.0
    if stacked:
        sums = {}
        for _, points in found:
            for at, value in points:
                sums[round(at)] = sums.get(round(at), 0) + value
        highest = max(sums.values(), default=0)
    else:
        highest = max((value for _, points in found for _, value in points), default=0)
    ceiling = nice(highest)
    to_x = lambda at: left + (at - begin) / (end - begin) * (right - left)
    to_y = lambda value: bottom - value / ceiling * (bottom - top)
    for part in range(5):
        value = ceiling * part / 4
        parts.append(f'<line x1="{left}" x2="{right}" y1="{to_y(value):.1f}" y2="{to_y(value):.1f}" stroke="#e6e8eb"/>'
                     f'<text x="{left - 6}" y="{to_y(value) + 4:.1f}" text-anchor="end" font-size="10" fill="#666">{escape(shown(value, unit))}</text>')
    for second in range(0, int(end - begin) + 1, 20):
        parts.append(f'<text x="{to_x(begin + second):.1f}" y="{bottom + 13}" text-anchor="middle" font-size="10" fill="#666">{second} s</text>')
    base = {}
    for number, (label, points) in enumerate(found):
        color = COLORS[number % len(COLORS)]
        if stacked:
            line = []
            for at, value in points:
                base[round(at)] = base.get(round(at), 0) + value
                line.append((at, base[round(at)]))
            points = line
        # Where nothing was known there is no line.
        path, last = "", None
        for at, value in points:
            path += f'{"L" if last is not None and at - last < 2.5 else "M"}{to_x(at):.1f},{to_y(min(value, ceiling)):.1f}'
            last = at
        parts.append(f'<path d="{path}" fill="none" stroke="{color}" stroke-width="1.5"/>')
    x, y = 10, h - 24
    for number, (label, points) in enumerate(found[:10]):
        text = f"{label} {shown(max(value for _, value in points), unit)}"
        wide = 16 + 5.6 * len(text)
        if x + wide > w - 4:
            x, y = 10, y + 14
        if y > h - 4:
            break
        parts.append(f'<rect x="{x}" y="{y - 8}" width="9" height="9" fill="{COLORS[number % len(COLORS)]}"/><text x="{x + 12}" y="{y}" font-size="10" fill="#444">{escape(text)}</text>')
        x += wide + 8
    if not found:
        parts.append(f'<text x="{w / 2}" y="{h / 2}" text-anchor="middle" fill="#999">nothing in this time</text>')
    return "".join(parts)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--services", required=True)
    arguments.add_argument("--load-test", required=True)
    options = arguments.parse_args()
    os.makedirs("docs/dashboards", exist_ok=True)
    run(options.services, options.load_test)


main()
