"""Real services on free ports, watched by a real Prometheus. Each process ends with the `with` block."""

import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def get(url, data=None, headers=None, timeout=10):
    request = urllib.request.Request(url, data=data, headers=headers or {})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return answer.read().decode()


def until(what, holds, seconds=30):
    end = time.monotonic() + seconds
    while True:
        try:
            if holds():
                return
        except OSError:
            pass
        if time.monotonic() > end:
            raise SystemExit(f"not within {seconds} s: {what}")
        time.sleep(0.2)


class Cluster:
    """A redis-server, ingresses, proxies, and a Prometheus that scrapes them each second with the repository's rules."""

    def __init__(self, services, ingresses=1, proxies=1, environment=None):
        self.services, self.environment = services, environment or {}
        self.counts = (ingresses, proxies)
        self.processes = []

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory()
        self.redis_port = free_port()
        self.redis = self.start_redis()
        ingresses, proxies = self.counts
        self.ingresses = [self.service("ingress-service") for _ in range(ingresses)]
        self.proxies = [self.service("proxy-service") for _ in range(proxies)]
        for url, _ in self.ingresses + self.proxies:
            until(f"{url} is ready", lambda url=url: get(f"{url}/readyz"))
        self.start_prometheus()
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.kill()
            process.wait()
        self.directory.cleanup()

    def start(self, command, **more):
        log = open(os.path.join(self.directory.name, f"{len(self.processes)}.log"), "w")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **more)
        self.processes.append(process)
        return process

    def start_redis(self):
        return self.start(["redis-server", "--port", str(self.redis_port), "--save", "", "--appendonly", "yes", "--maxmemory", "256mb",
                           "--dir", self.directory.name, "--bind", "127.0.0.1"])

    def service(self, name):
        port = free_port()
        environment = {**os.environ, **self.environment, "BROKER_URL": f"redis://127.0.0.1:{self.redis_port}", "LISTEN_ADDR": f"127.0.0.1:{port}",
                       "ADMIN_TOKEN": "only-for-this-check"}
        return f"http://127.0.0.1:{port}", self.start([os.path.join(self.services, name)], env=environment)

    def start_prometheus(self):
        hosts = lambda all_of: json.dumps([url.removeprefix("http://") for url, _ in all_of])
        rules = json.dumps([os.path.abspath("monitoring/rules/*.yml")])
        path = os.path.join(self.directory.name, "prometheus.yml")
        with open(path, "w") as file:
            file.write(f"""global: {{ scrape_interval: 1s, evaluation_interval: 1s }}
rule_files: {rules}
scrape_configs:
  - {{ job_name: ingress-service, static_configs: [ {{ targets: {hosts(self.ingresses)} }} ] }}
  - {{ job_name: proxy-service, static_configs: [ {{ targets: {hosts(self.proxies)} }} ] }}
""")
        self.prometheus = f"http://127.0.0.1:{free_port()}"
        self.start(["prometheus", f"--config.file={path}", f"--storage.tsdb.path={self.directory.name}/tsdb",
                    f"--web.listen-address={self.prometheus.removeprefix('http://')}"])
        until("Prometheus is ready", lambda: get(f"{self.prometheus}/-/ready"))

    def call(self, ingress=0, headers=None, city="Oslo"):
        url = f"{self.ingresses[ingress][0]}/WeatherForecast/city"
        return get(url, json.dumps({"city": city}).encode(), {"Content-Type": "application/json", **(headers or {})})

    def query(self, expression):
        """The answer to an instant query; raises OSError with what is wrong with it."""
        data = urllib.parse.urlencode({"query": expression}).encode()
        return json.loads(get(f"{self.prometheus}/api/v1/query", data))["data"]["result"]

    def query_range(self, expression, start, end, step=1):
        data = urllib.parse.urlencode({"query": expression, "start": start, "end": end, "step": step}).encode()
        return json.loads(get(f"{self.prometheus}/api/v1/query_range", data))["data"]["result"]
