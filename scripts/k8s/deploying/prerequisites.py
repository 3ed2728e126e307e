"""What a cluster must have before anything is applied, read from the objects that are to be applied."""

import base64
import re

from deploying import certificate
from deploying.kubectl import get, key, listed, of

# preStop with sleep: the images have no shell to sleep with.
OLDEST = (1, 30)
METRICS = "v1beta1.metrics.k8s.io"
EXTERNAL = "v1beta1.external.metrics.k8s.io"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def missing(version, objects):
    """What is missing, in sentences: what cannot be done without, and what may come later."""
    hard = server(version) + secrets(objects) + storage(objects) + external_metrics(objects)
    return hard, metrics(objects) + entrance(objects)


def server(version):
    found = re.match(r"v(\d+)\.(\d+)", version)
    if found and tuple(map(int, found.groups())) >= OLDEST:
        return []
    return [f"Kubernetes {OLDEST[0]}.{OLDEST[1]} or later; the server is {version}"]


def secrets(objects):
    """Secrets that pods read and an Ingress shows, which are not among the objects."""
    wanted = {}
    for workload in of(objects, "Deployment", "StatefulSet", "DaemonSet"):
        for name, field in read(workload["spec"]["template"]["spec"]):
            wanted.setdefault((workload["metadata"]["namespace"], name), set()).update([field] if field else [])
    for ingress in of(objects, "Ingress"):
        made_later = any(name.startswith("cert-manager.io/") for name in ingress["metadata"].get("annotations", {}))
        for tls in [] if made_later else ingress["spec"].get("tls", []):
            if "secretName" in tls:
                wanted.setdefault((ingress["metadata"]["namespace"], tls["secretName"]), set()).update(["tls.crt", "tls.key"])
    rendered, wrong = {key(thing): thing for thing in objects}, []
    for (namespace, name), fields in sorted(wanted.items()):
        if (namespace, name) == certificate.SECRET:
            continue
        held = rendered.get(("Secret", namespace, name)) or get("secret", name, namespace)
        if not held:
            wrong.append(f"Secret {name} in namespace {namespace}" + (f", with {', '.join(sorted(fields))}" if fields else "") + "; DEPLOYMENT.md says how to make it")
            continue
        data = held.get("data", {})
        wrong += [f"{field} in the Secret {name} of namespace {namespace}; DEPLOYMENT.md says how to make it" for field in sorted(fields) if not data.get(field)]
        if "REDIS_PASSWORD" in fields and not re.fullmatch(rb"[\w.~-]*", base64.b64decode(data.get("REDIS_PASSWORD", ""))):
            wrong.append(f"a REDIS_PASSWORD of letters, digits and - . _ ~ in the Secret {name}: it becomes part of a URL")
    return wrong


def read(pod):
    """Names and keys of the Secrets that a pod cannot start without."""
    for volume in pod.get("volumes", []):
        if "secret" in volume and not volume["secret"].get("optional"):
            yield volume["secret"]["secretName"], None
    for container in pod["containers"] + pod.get("initContainers", []):
        for source in container.get("envFrom", []):
            if "secretRef" in source and not source["secretRef"].get("optional"):
                yield source["secretRef"]["name"], None
        for variable in container.get("env", []):
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference and not reference.get("optional"):
                yield reference["name"], reference["key"]


def storage(objects):
    wrong = []
    for workload in of(objects, "StatefulSet"):
        for claim in workload["spec"].get("volumeClaimTemplates", []):
            name, namespace = workload["metadata"]["name"], workload["metadata"]["namespace"]
            if get("pvc", f"{claim['metadata']['name']}-{name}-0", namespace):
                continue
            wanted = claim["spec"].get("storageClassName")
            if wanted and not get("storageclass", wanted):
                wrong.append(f"StorageClass {wanted}, for the volume of {name}")
            if wanted is None and not any(one["metadata"].get("annotations", {}).get(DEFAULT_CLASS) == "true" for one in listed("storageclass")):
                wrong.append(f"a default StorageClass, for the volume of {name}; or name one in your overlay (storageClassName)")
    return wrong


def external_metrics(objects):
    """There is one provider of external metrics in a cluster. Ours takes the place of nobody's."""
    live = get("apiservice", EXTERNAL)
    backend = (live or {}).get("spec", {}).get("service") or {}
    owner = f"{backend.get('namespace', '')}/{backend.get('name', '')}"
    ours = [one["spec"]["service"] for one in of(objects, "APIService") if one["metadata"]["name"] == EXTERNAL]
    if ours and live and owner != f"{ours[0]['namespace']}/{ours[0]['name']}":
        return [f"the APIService {EXTERNAL}, which is that of {owner}: applying ours would break whoever asks it. With KEDA use components/keda; with another "
                "provider give it the rules of k8s/base/external-metrics/config.yaml, and take ours away as components/keda does"]
    if not of(objects, "ScaledObject"):
        return []
    if not get("crd", "scaledobjects.keda.sh"):
        return ["KEDA (https://keda.sh), which components/keda needs"]
    if not live or owner == certificate.OWNER:
        whose = f"is still that of an earlier install ({owner}): kubectl delete apiservice {EXTERNAL}, then install KEDA again" if live else "is not there: install KEDA again"
        return [f"KEDA's APIService {EXTERNAL}, which {whose}"]
    return []


def metrics(objects):
    scalers = [scaler for scaler in of(objects, "HorizontalPodAutoscaler") if any(metric["type"] == "Resource" for metric in scaler["spec"]["metrics"])]
    if not scalers or available(get("apiservice", METRICS)):
        return []
    return ["metrics-server (or another that serves metrics.k8s.io): nothing scales by CPU without"]


def available(service):
    return any(one["type"] == "Available" and one["status"] == "True" for one in (service or {}).get("status", {}).get("conditions", []))


def entrance(objects):
    names = sorted({ingress["spec"].get("ingressClassName") for ingress in of(objects, "Ingress")} - {None})
    return [f"IngressClass {name}: install its controller, or name another in your overlay (ingressClassName); nobody reaches the ingress from outside without"
            for name in names if not get("ingressclass", name)]
