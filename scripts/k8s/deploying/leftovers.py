"""What earlier overlays and versions have made and this one does not have any more."""

import json

from deploying.kubectl import key, listed, must

LABEL = "app.kubernetes.io/part-of=roundtrip"
NAMESPACES = ("roundtrip", "roundtrip-monitoring", "kube-system")
NAMESPACED = "deployment.apps,statefulset.apps,service,networkpolicy.networking.k8s.io,poddisruptionbudget.policy,ingress.networking.k8s.io,horizontalpodautoscaler.autoscaling,role.rbac.authorization.k8s.io,rolebinding.rbac.authorization.k8s.io,serviceaccount,configmap"
CLUSTER_WIDE = "clusterrole.rbac.authorization.k8s.io,clusterrolebinding.rbac.authorization.k8s.io,apiservice.apiregistration.k8s.io"
OF_KEDA = "scaledobjects.keda.sh"


def labelled():
    """Everything of ours in the cluster, but for volumes, Secrets and namespaces. What has an owner goes with it."""
    found = listed(CLUSTER_WIDE, "-l", LABEL)
    for namespace in NAMESPACES:
        found += listed(NAMESPACED, "-n", namespace, "-l", LABEL)
    found += listed(OF_KEDA, "-n", "roundtrip")
    return [thing for thing in found if not thing["metadata"].get("ownerReferences")]


def left(objects):
    """What is there and not among the objects. A ConfigMap that an earlier revision reads stays, for `rollout undo`."""
    rendered = {key(thing) for thing in objects}
    found = [thing for thing in labelled() if key(thing) not in rendered]
    revisions = ""
    if any(thing["kind"] == "ConfigMap" for thing in found):
        revisions = json.dumps([listed("replicasets.apps,controllerrevisions.apps", "-n", namespace) for namespace in NAMESPACES[:2]])
    return [thing for thing in found if thing["kind"] != "ConfigMap" or f'"{thing["metadata"]["name"]}"' not in revisions]


def removal(things):
    """Commands that remove them."""
    commands = {}
    for kind, namespace, name in sorted(map(key, things)):
        commands.setdefault(namespace, []).append(f"{kind.lower()}/{name}")
    return [["delete", *names, *(["-n", namespace] if namespace else []), "--ignore-not-found"] for namespace, names in commands.items()]


def remove(things):
    for command in removal(things):
        print(must(*command), end="", flush=True)
