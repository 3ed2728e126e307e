"""Applying in an order that loses nothing, and waiting for whatever there is to wait for."""

import json

from deploying import certificate
from deploying.kubectl import context, get, key, must, of, run, say, shown, stop

TIMEOUT = "5m"
APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# Redis, then workers, then the ingress, then what watches.
ORDER = ("redis", "proxy-service", "ingress-service")


def keep_replicas(objects):
    """An earlier version set replicas: kubectl would now take them away, and without any there is one pod until the
    autoscaler comes by. What was applied last is told without them."""
    for thing in of(objects, "Deployment"):
        _, namespace, name = key(thing)
        live = get("deployment", name, namespace) if "replicas" not in thing["spec"] else None
        applied = json.loads((live or {}).get("metadata", {}).get("annotations", {}).get(APPLIED, "{}"))
        if "replicas" in applied.get("spec", {}):
            del applied["spec"]["replicas"]
            must("apply", "set-last-applied", "-f", "-", text=json.dumps(applied))
            say(f"deployment/{name} keeps its replicas: they are the autoscaler's from now on")


def one_autoscaler(objects):
    """A ScaledObject of an earlier overlay would fight the HPA that comes now."""
    scaled = {hpa["spec"]["scaleTargetRef"]["name"] for hpa in of(objects, "HorizontalPodAutoscaler")}
    for name in sorted(scaled) if get("crd", "scaledobjects.keda.sh") else ():
        if get("scaledobject", name, "roundtrip"):
            must("delete", "scaledobject", name, "-n", "roundtrip", "--wait", "--timeout", TIMEOUT)
            say(f"scaledobject/{name} deleted: the HPA takes its place")


def apply(path, objects):
    """Namespaces and the certificate, then everything but the ingress; when the workers are there, the ingress."""
    for thing in of(objects, "Namespace"):
        must("apply", "-f", "-", text=json.dumps(thing))
    adapter = any(thing["metadata"]["name"] == certificate.API for thing in of(objects, "APIService"))
    certificates = certificate.ensure_secret() if adapter else None
    keep_replicas(objects)
    one_autoscaler(objects)
    shown("apply", "-k", path, "-l", "app.kubernetes.io/name!=ingress-service") or stop("kubectl apply failed")
    if certificates:
        certificate.believe(certificates)
    waited_for = [thing for thing in ordered(objects) if thing["metadata"]["name"] in ORDER[:2]]
    for thing in waited_for:
        wait(thing)
    shown("apply", "-k", path) or stop("kubectl apply failed")
    for thing in ordered(objects):
        if thing not in waited_for:
            wait(thing)
    if adapter and not shown("wait", f"apiservice/{certificate.API}", "--for=condition=Available", "--timeout=2m"):
        failed(certificate.NAMESPACE, f"the API server does not reach the adapter (kubectl describe apiservice {certificate.API})")


def ordered(objects):
    place = lambda thing: ORDER.index(thing["metadata"]["name"]) if thing["metadata"]["name"] in ORDER else len(ORDER)
    return sorted(of(objects, "Deployment", "StatefulSet", "DaemonSet"), key=place)


def wait(thing):
    kind, namespace, name = key(thing)
    if not shown("rollout", "status", "-n", namespace, f"{kind.lower()}/{name}", "--timeout", TIMEOUT):
        failed(namespace, f"{kind.lower()}/{name} did not become ready within {TIMEOUT}", f"kubectl rollout undo -n {namespace} {kind.lower()}/{name}")


def failed(namespace, text, undo=None):
    """Ends with what a reader needs to see why."""
    say(f"\nfailed: {text}; context {context()}, namespace {namespace}\n")
    say(run("get", "pods", "-n", namespace, "-o", "wide")[1])
    for kind, last in (("Warning", 20), ("Normal", 10)):
        lines = run("events", "-n", namespace, f"--types={kind}")[1].splitlines()
        say("\n".join(lines[:1] + lines[1:][-last:]) + "\n")
    stop(f"{text}." + (f" What it replaces goes on; to go back: {undo}" if undo else ""))
