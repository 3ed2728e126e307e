"""Checks, applies and waits. Called by scripts/deploy."""

import os
import sys

from deploying import kubectl, leftovers, prerequisites, rollout
from deploying.kubectl import of, say, stop

FLAGS = {"--anyway", "--prune"}


def main():
    flags = {argument for argument in sys.argv[1:] if argument.startswith("--")}
    names = [argument for argument in sys.argv[1:] if argument not in flags]
    if flags - FLAGS or len(names) > 1:
        stop(f"one overlay, and {' or '.join(sorted(FLAGS))}, are expected; not \"{' '.join(sys.argv[1:])}\"", 2)
    path = kubectl.directory(names[0] if names else "")
    version = kubectl.connect()
    objects = kubectl.render(path)
    hard, soft = prerequisites.missing(version, objects)
    if hard or (soft and "--anyway" not in flags):
        lines = "".join(f"\n  - {text}" for text in hard + soft)
        later = "\nWhat may come later is no hindrance with --anyway." if not hard else ""
        stop(f"missing in context {kubectl.context()}; nothing was changed:{lines}{later}")
    say(f"deploying {os.path.relpath(path)} to context {kubectl.context()}, Kubernetes {version}")
    for text in soft:
        say(f"without {text}")
    rollout.apply(path, objects)
    left = leftovers.left(objects)
    if left and "--prune" in flags:
        leftovers.remove(left)
    elif left:
        say("\nLeft behind by an earlier overlay or version; --prune removes it, or you do:")
        for command in leftovers.removal(left):
            say(f"  kubectl {' '.join(command)}")
    finish(objects)


def finish(objects):
    say("\nRoundtrip is up. Without an ingress controller:\n")
    for name, port, at in (("ingress-service", 5009, "/swagger"), ("grafana", 3000, "")):
        for service in of(objects, "Service"):
            if service["metadata"]["name"] == name:
                say(f"  kubectl port-forward -n {service['metadata']['namespace']} service/{name} {port}        # then http://localhost:{port}{at}")
    say("  kubectl get hpa -n roundtrip --watch")


main()
