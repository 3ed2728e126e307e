"""Boards, rules and autoscalers against what running services export. Called by scripts/check-monitoring."""

import argparse
import glob
import json
import os
import re
import sys
import tempfile
import urllib.error

import promql
from cluster import Cluster, get, until

# Made by Prometheus itself.
ITS_OWN = {"up": set()}
# Labels that Prometheus adds to what it scrapes.
OF_TARGETS = {"job", "instance"}


def exported(cluster):
    """The names of all series that the services export, each with its labels."""
    names = {}
    for url, _ in cluster.ingresses + cluster.proxies:
        for line in get(f"{url}/metrics").splitlines():
            if line and not line.startswith("#"):
                name, labels = re.match(r"([a-zA-Z_:][\w:]*)(\{.*\})?", line).groups()
                names.setdefault(name, set()).update(re.findall(r'[{,](\w+)="', labels or ""))
    return names


def check(cluster, boards, rules, others):
    """What is wrong, in sentences."""
    wrong, expressions, uids = [], [], {}
    for board in boards:
        uid, found, faults = promql.of_board(board)
        expressions += found
        wrong += faults
        if uid in uids:
            wrong.append(f"{board}: its uid {uid} is that of {uids[uid]}")
        uids[uid] = board
    recorded = {}
    for path in rules:
        recorded.update(promql.records(path))
    for path in [*rules, *others]:
        found = promql.of_yaml(path)
        if not found:
            wrong.append(f"{path}: no expression was found in it")
        expressions += found
    known = {**exported(cluster), **recorded, **ITS_OWN}
    for where, expression in expressions:
        for name in sorted(promql.metrics(expression) - set(known)):
            wrong.append(f"{where}: no service exports {name}")
        for name, label in sorted(set(promql.label_uses(expression))):
            if name in known and label not in known[name] | OF_TARGETS:
                wrong.append(f"{where}: {name} has no label {label}")
        # What Grafana and the adapter fill in.
        plain = expression.replace("$__rate_interval", "1m").replace("$operation", ".*")
        if "<<" in plain:
            continue
        try:
            cluster.query(plain)
        except urllib.error.HTTPError as error:
            wrong.append(f"{where}: {json.loads(error.read())['error']}")
    return wrong, len(expressions)


def self_test(cluster):
    """What must be found is found."""
    board = json.load(open("monitoring/dashboards/overview.json"))
    board["panels"][1]["targets"][0]["expr"] = "sum(rate(htpp_requests_total[1m]))"
    board["panels"][2]["targets"][0]["expr"] = "sum(rate(up[1m])"
    board["panels"][3]["description"] = ""
    board["panels"][4]["id"] = board["panels"][5]["id"]
    target = lambda number: board["panels"][number]["targets"][0]
    target(6)["expr"] = 'min(redis_circuit_state{operation="weather"})'
    target(7)["expr"] = "max by (operation) (roundtrip_dead_letters)"
    target(8)["expr"] = "redis_stream_queue_depth / on (operation) group_left roundtrip_proxy_terminals"
    target(9)["expr"] = "max by (operation) (roundtrip_workers)"
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "broken.json")
        json.dump(board, open(path, "w"))
        rule = os.path.join(directory, "rule.yml")
        open(rule, "w").write("groups:\n  - rules:\n      - alert: A\n        expr: |\n          max(redis_queue)\n            > 3\n        for: 1m\n")
        wrong, _ = check(cluster, [path], [rule], [])
    text = "\n".join(wrong)
    missed = [what for what in ("htpp_requests_total", "parse error", "no description", "is another's", "redis_queue",
                                "redis_circuit_state has no label operation", "roundtrip_dead_letters has no label operation",
                                "roundtrip_proxy_terminals has no label operation", "lines by operation, and no legend says which") if what not in text]
    return [f"the check did not notice: {what}" for what in missed]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--services", required=True)
    arguments.add_argument("--self-test", action="store_true")
    arguments.add_argument("others", nargs="*")
    options = arguments.parse_args()
    with Cluster(options.services) as cluster:
        for headers in ({}, {"Prefer": "respond-async"}, {"Idempotency-Key": "check"}):
            cluster.call(headers=headers)
        try:
            token = {"Authorization": "Bearer only-for-this-check"}
            get(f"{cluster.proxies[0][0]}/admin/dead-letters/1-1/replay", data=b"", headers=token)
        except urllib.error.HTTPError:
            pass
        until("Prometheus has scraped both", lambda: len(cluster.query("up == 1")) == 2)
        wrong, count = check(cluster, sorted(glob.glob("monitoring/dashboards/*.json")), sorted(glob.glob("monitoring/rules/*.yml")), options.others)
        if options.self_test:
            wrong += self_test(cluster)
    print("\n".join(wrong) or f"   {count} expressions: every metric is exported, and each can be evaluated")
    sys.exit(bool(wrong))


main()
