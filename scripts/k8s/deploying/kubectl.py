"""The cluster, by kubectl; and what a kustomization renders, as objects."""

import json
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
OVERLAYS = os.path.join(ROOT, "k8s", "overlays")


def stop(text, code=1):
    print(text, file=sys.stderr, flush=True)
    sys.exit(code)


def say(text=""):
    print(text, flush=True)


def run(*arguments, text=None):
    """Runs kubectl; returns its exit code, output and errors."""
    done = subprocess.run(["kubectl", *arguments], input=text, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr.strip()


def must(*arguments, text=None):
    """Runs kubectl and returns its output; ends with what it said where it fails."""
    code, output, errors = run(*arguments, text=text)
    return output if code == 0 else stop(f"kubectl {' '.join(arguments[:4])} failed: {errors}")


def shown(*arguments):
    """Runs kubectl with its output shown; returns whether it succeeded."""
    sys.stdout.flush()
    return subprocess.run(["kubectl", *arguments]).returncode == 0


def get(kind, name, namespace=None):
    """An object of the cluster, or None where there is none."""
    output = must("get", kind, name, *(["-n", namespace] if namespace else []), "--ignore-not-found", "-o", "json")
    return json.loads(output) if output.strip() else None


def listed(kinds, *arguments):
    """Objects of the cluster; none of a kind that it does not know."""
    code, output, errors = run("get", kinds, *arguments, "-o", "json")
    if code != 0 and "doesn't have a resource type" not in errors:
        stop(f"kubectl get {kinds} failed: {errors}")
    return json.loads(output)["items"] if code == 0 else []


def connect():
    """The server's version, where a kubectl and a cluster are there."""
    shutil.which("kubectl") or stop("kubectl is not installed")
    code, output, errors = run("version", "-o", "json")
    server = json.loads(output).get("serverVersion") if output.strip() else None
    if code != 0 or not server:
        stop(f"kubectl reaches no cluster; see: kubectl config get-contexts\n{errors}")
    return server["gitVersion"]


def context():
    code, output, _ = run("config", "current-context")
    return output.strip() if code == 0 else "(none)"


def directory(overlay):
    """Where an overlay is: by its name in k8s/overlays, or by its path."""
    names = sorted(name for name in os.listdir(OVERLAYS) if not name.startswith("."))
    if overlay in names:
        return os.path.join(OVERLAYS, overlay)
    path = os.path.dirname(overlay) if os.path.basename(overlay) in ("kustomization.yaml", "kustomization.yml") else overlay
    if overlay and any(os.path.isfile(os.path.join(path or ".", name)) for name in ("kustomization.yaml", "kustomization.yml")):
        return os.path.abspath(path or ".")
    return stop(f'which overlay: one of {", ".join(names)}, or a directory with a kustomization.yaml, is expected; not "{overlay}"', 2)


def render(path):
    """The objects of a kustomization. kubectl turns its YAML into JSON, without asking a cluster."""
    text = must("kustomize", path)
    output = must("annotate", "--local", "-f", "-", "-o", "json", "nothing-", text=text)
    decoder, objects, at = json.JSONDecoder(), [], 0
    while at < len(output.rstrip()):
        thing, at = decoder.raw_decode(output, at)
        objects.append(thing)
        while at < len(output) and output[at].isspace():
            at += 1
    return objects


def key(thing):
    """What tells objects apart."""
    return thing["kind"], thing["metadata"].get("namespace", ""), thing["metadata"]["name"]


def of(objects, *kinds):
    return [thing for thing in objects if thing["kind"] in kinds]
