"""One trace of one request, drawn as text from what a collector received. Called by scripts/draw-trace."""

import argparse
import http.server
import os
import subprocess
import tempfile
import threading
import time
import urllib.request

from cluster import free_port, get, until


def fields(data):
    """The fields of a protobuf message: number and value, which is a number or bytes."""
    position = 0

    def varint():
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while position < len(data):
        tag = varint()
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            yield number, varint()
        else:
            length = {1: 8, 5: 4}.get(kind) or varint()
            raw = data[position:position + length]
            position += length
            yield number, int.from_bytes(raw, "little") if kind in (1, 5) else raw


def spans_in(body):
    """Spans of an ExportTraceServiceRequest (opentelemetry-proto, trace.proto)."""
    for _, resource_spans in fields(body):
        parts = list(fields(resource_spans))
        resource = next(value for number, value in parts if number == 1)
        service = "proxy" if b"proxy-service" in resource else "ingress"
        for scope in (value for number, value in parts if number == 2):
            for span in (value for number, value in fields(scope) if number == 2):
                of = dict(fields(span))
                yield {"trace": of[1].hex(), "id": of[2].hex(), "parent": of.get(4, b"").hex(), "name": of[5].decode(), "start": of[7], "end": of[8], "service": service}


def draw(spans, width=48):
    first, last = min(span["start"] for span in spans), max(span["end"] for span in spans)
    scale = width / max(last - first, 1)
    known = {span["id"] for span in spans}
    lines = [f"trace {spans[0]['trace']}, {(last - first) / 1e6:.1f} ms", ""]

    def tree(parent, depth):
        children = [span for span in spans if (span["parent"] == parent if parent else span["parent"] not in known)]
        for span in sorted(children, key=lambda span: span["start"]):
            start, length = int((span["start"] - first) * scale), max(int((span["end"] - span["start"]) * scale), 1)
            bar = (" " * start + "=" * length)[:width].ljust(width)
            name = "  " * depth + span["name"]
            lines.append(f"{span['service']:8} {name:38} |{bar}| {(span['start'] - first) / 1e6:7.2f} +{(span['end'] - span['start']) / 1e6:.2f} ms")
            tree(span["id"], depth + 1)

    tree(None, 0)
    return "\n".join(lines)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--services", required=True)
    services = arguments.parse_args().services
    received = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            received.extend(spans_in(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    redis, ingress, proxy = free_port(), free_port(), free_port()
    environment = {**os.environ, "BROKER_URL": f"redis://127.0.0.1:{redis}", "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
                   "OTEL_TRACES_SAMPLER_ARG": "1", "TERMINALS": "1", "SIMULATED_LATENCY": "50ms", "RUST_LOG": "warn"}
    with tempfile.TemporaryDirectory() as directory:
        start = lambda command, **more: subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **more)
        processes = [start(["redis-server", "--port", str(redis), "--dir", directory, "--save", ""])]
        for name, port in (("ingress-service", ingress), ("proxy-service", proxy)):
            processes.append(start([os.path.join(services, name)], env={**environment, "LISTEN_ADDR": f"127.0.0.1:{port}"}))
            until(f"{name} is ready", lambda port=port: get(f"http://127.0.0.1:{port}/readyz"))

        def call():
            request = urllib.request.Request(f"http://127.0.0.1:{ingress}/WeatherForecast/city", b'{"city":"Oslo"}', {"Content-Type": "application/json"})
            urllib.request.urlopen(request, timeout=10).read()

        call()
        time.sleep(0.2)
        # One worker, and two calls at once: the second waits.
        both = [threading.Thread(target=call) for _ in range(2)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
        time.sleep(2.5)
        for process in reversed(processes):
            process.kill()
            process.wait()
    traces = {}
    for span in received:
        traces.setdefault(span["trace"], []).append(span)
    waits = lambda spans: max(span["end"] - span["start"] for span in spans if span["name"] == "wait in queue")
    print(draw(max((spans for spans in traces.values() if len(spans) >= 7), key=waits)))


main()
