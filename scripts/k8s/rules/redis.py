"""Every Redis keeps an append-only file, no snapshots, and whatever it has: a snapshot that fails would have it refuse writes."""

import re

WANTED = {"appendonly": "yes", "save": '""', "maxmemory-policy": "noeviction"}


def check(objects, _):
    config = objects.find("ConfigMap", "redis-config")
    if not config:
        return []
    lines = dict(line.split(None, 1) for line in "\n".join(config["data"].values()).split("\n") if " " in line and not line.startswith("#"))
    wrong = [f"ConfigMap/redis-config: {key} is {lines.get(key, 'not set')}, and not {value}" for key, value in WANTED.items() if lines.get(key) != value]
    return wrong + ([] if "maxmemory" in lines else ["ConfigMap/redis-config: no maxmemory: the kernel would end it instead"])


def commands(path, text):
    """Servers that a compose file or a document starts with snapshots on."""
    found = [line.strip() for line in text.split("\n") if re.search(r"^\s+redis-server |\"redis-server\"", line)]
    return [f"{path}: snapshots are on: {line[:60]}" for line in found if not re.search(r"--save (\"\"|'')|\"--save\", \"\"", line)]
