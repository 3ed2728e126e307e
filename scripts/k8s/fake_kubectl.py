"""A kubectl that answers from a file and notes what it is asked. What needs no cluster is done by the real one.

FAKE_STATE names a JSON file: version, objects by "kind/namespace/name" (namespace empty for a cluster's own), rollouts that
fail; FAKE_LOG the file where each command that changes something is noted; REAL_KUBECTL the real one."""

import json
import os
import re
import sys

KINDS = {"hpa": "horizontalpodautoscaler", "pvc": "persistentvolumeclaim", "crd": "customresourcedefinition"}


def main():
    arguments = sys.argv[1:]
    if arguments[0] == "kustomize" or "--local" in arguments:
        os.execv(os.environ["REAL_KUBECTL"], ["kubectl", *arguments])
    state = json.load(open(os.environ["FAKE_STATE"]))
    plain = [argument for argument in arguments if not argument.startswith("-")]
    option = lambda name: arguments[arguments.index(name) + 1] if name in arguments else ""
    objects, verb = state["objects"], arguments[0]
    if verb == "version":
        if not state["version"]:
            print("The connection to the server localhost:8080 was refused", file=sys.stderr)
            return 1
        print(json.dumps({"serverVersion": {"gitVersion": state["version"]}}))
    elif verb == "config":
        print("test-context")
    elif verb == "events":
        print(f"events of {option('-n')}: something is wrong")
    elif verb == "get" and option("-o") != "json":
        print(f"{plain[1]} of {option('-n')}: something is wrong")
    elif verb == "get" and "--ignore-not-found" in arguments:
        kind, name = KINDS.get(plain[1], plain[1]), plain[2]
        held = objects.get(f"{kind}/{option('-n')}/{name}")
        print(json.dumps({"kind": kind, "metadata": {"name": name}, **held}) if held is not None else "")
    elif verb == "get":
        kinds = {re.sub(r"(?<!s)s$", "", kind.split(".")[0]) for kind in plain[1].split(",")}
        if kinds == {"scaledobject"} and "customresourcedefinition//scaledobjects.keda.sh" not in objects:
            print("error: the server doesn't have a resource type", file=sys.stderr)
            return 1
        label = option("-l").partition("=")
        found = [(path.split("/"), held) for path, held in objects.items() if path.split("/")[0] in kinds and path.split("/")[1] == option("-n")
                 and (not label[0] or held.get("metadata", {}).get("labels", {}).get(label[0]) == label[2])]
        items = [{"kind": held.get("kind", kind), **held, "metadata": {"name": name, **({"namespace": namespace} if namespace else {}), **held.get("metadata", {})}}
                 for (kind, namespace, name), held in found]
        print(json.dumps({"items": items}))
    else:
        text = sys.stdin.read() if "-" in arguments[1:] else ""
        with open(os.environ["FAKE_LOG"], "a") as log:
            log.write(json.dumps({"command": " ".join(arguments), "text": text}) + "\n")
        if verb == "rollout":
            print("error: timed out waiting for the condition" if plain[-2] in state["failing"] else "successfully rolled out")
            return plain[-2] in state["failing"]
    return 0


sys.exit(main())
