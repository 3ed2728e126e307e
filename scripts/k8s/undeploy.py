"""Takes away what was deployed. Called by scripts/undeploy."""

import json
import sys

from deploying import certificate, kubectl, leftovers
from deploying.kubectl import get, key, must, of, say, stop


def main():
    names = [argument for argument in sys.argv[1:] if argument != "--volumes"]
    if len(names) > 1:
        stop(f'only --volumes is expected after the overlay, not "{names[1]}"', 2)
    objects = kubectl.render(kubectl.directory(names[0] if names else ""))
    kubectl.connect()
    volumes = "--volumes" in sys.argv
    # KEDA ends what it made only while it can.
    scaled = [thing for thing in leftovers.labelled() if thing["kind"] == "ScaledObject"]
    leftovers.remove(scaled)
    # The namespaces hold the volumes, so they stay without --volumes: everything else goes.
    gone = [thing for thing in objects if thing["kind"] not in ("ScaledObject", "APIService") + (() if volumes else ("Namespace",))]
    # Somebody else's APIService is theirs, whatever an overlay renders. Without ours a namespace can end.
    backend = (get("apiservice", certificate.API) or {}).get("spec", {}).get("service") or {}
    if f"{backend.get('namespace')}/{backend.get('name')}" == certificate.OWNER:
        print(must("delete", "apiservice", certificate.API, "--ignore-not-found"), end="")
    rest = [thing for thing in leftovers.left(gone) if thing["kind"] != "APIService"]
    print(must("delete", "-f", "-", "--ignore-not-found", text="\n".join(map(json.dumps, gone))), end="")
    leftovers.remove(rest)
    # Revisions are gone, so nothing reads these any more.
    leftovers.remove([thing for thing in leftovers.labelled() if thing["kind"] == "ConfigMap"])
    if not volumes:
        print(must("delete", "secret", certificate.SECRET[1], "-n", certificate.SECRET[0], "--ignore-not-found"), end="")
        say(f"The volumes are still there: kubectl get pvc -A; scripts/undeploy {names[0]} --volumes removes them, too.")


main()
