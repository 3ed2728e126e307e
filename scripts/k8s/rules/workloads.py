"""Pods: restricted, with what they mount and read, spread so that nodes which take none do not count, and with time to end."""

import re

import drain
from rules.objects import HASH, SERVICES, labels_of, matches, name_of, pod_of, space

# Made before a deployment: DEPLOYMENT.md says how. The last by scripts/adapter-certificate.
MADE_BEFORE = {("roundtrip", "roundtrip-secrets"), ("roundtrip-monitoring", "grafana-secrets"), ("roundtrip-monitoring", "prometheus-adapter-tls")}


def check(objects, variables):
    wrong = []
    for thing in objects.workloads():
        wrong += [f"{name_of(thing)}: {text}" for text in restricted(thing) + references(thing, objects) + spread(thing) + drained(thing, objects, variables)]
    return wrong


def collect():
    """A list of complaints, and what adds one where something does not hold."""
    wrong = []
    return wrong, lambda holds, text: holds or wrong.append(text)


def restricted(thing):
    pod = pod_of(thing)
    wrong, need = collect()
    need(matches(thing["spec"]["selector"], labels_of(thing)), "its selector does not select its own pods")
    context = pod.get("securityContext", {})
    need(context.get("runAsNonRoot") and context.get("runAsUser"), "it may run as root")
    need(context.get("seccompProfile", {}).get("type") == "RuntimeDefault", "no seccomp profile")
    need("serviceAccountName" in pod or pod.get("automountServiceAccountToken") is False, "it holds a token of the API and asks nothing of it")
    for container in pod["containers"]:
        own = container.get("securityContext", {})
        need(own.get("readOnlyRootFilesystem") and own.get("allowPrivilegeEscalation") is False, "its root may be written, or it may gain privileges")
        need(own.get("capabilities", {}).get("drop") == ["ALL"], "it keeps capabilities")
        need("requests" in container.get("resources", {}) and "memory" in container["resources"].get("limits", {}), "no requests, or no limit of memory")
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            need(probe in container, f"no {probe}")
        need(re.search(r":v?\d", container["image"]), f"its image has no tag of its own: {container['image']}")
    return wrong


def references(thing, objects):
    """What is mounted and read is there, and a change of it rolls the pods."""
    pod = pod_of(thing)
    wrong, need = collect()
    volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
    volumes |= {claim["metadata"]["name"]: {} for claim in thing["spec"].get("volumeClaimTemplates", [])}
    found = [("ConfigMap", volume["configMap"]["name"], None) for volume in volumes.values() if "configMap" in volume]
    found += [("Secret", volume["secret"]["secretName"], None) for volume in volumes.values() if "secret" in volume]
    for container in pod["containers"]:
        for mount in container.get("volumeMounts", []):
            need(mount["name"] in volumes, f"it mounts {mount['name']}, which is no volume of its")
        for source in container.get("envFrom", []):
            found += [(kind, source[field]["name"], None) for kind, field in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")) if field in source]
        for variable in container.get("env", []):
            source = variable.get("valueFrom", {})
            for kind, reference in (("ConfigMap", source.get("configMapKeyRef")), ("Secret", source.get("secretKeyRef"))):
                if reference and not reference.get("optional"):
                    found.append((kind, reference["name"], reference["key"]))
    for kind, name, key in found:
        held = objects.there.get((space(thing), kind, name))
        if not held:
            need(kind == "Secret" and (space(thing), name) in MADE_BEFORE, f"there is no {kind} {name}")
        else:
            need(key is None or key in held.get("data", {}), f"{kind} {name} has no {key}")
        need(kind != "ConfigMap" or HASH.search(name), f"ConfigMap {name} has no hash in its name: a change of it changes nothing that runs")
    return wrong


def spread(thing):
    """A node with a taint takes no pod: counted as an empty one it would keep all others from taking a second."""
    wrong, need = collect()
    for constraint in pod_of(thing).get("topologySpreadConstraints", []):
        need(constraint.get("nodeTaintsPolicy") == "Honor", "tainted and cordoned nodes count as empty ones, so that its pods stay pending: nodeTaintsPolicy: Honor")
        need("pod-template-hash" in constraint.get("matchLabelKeys", []), "pods that are being replaced count as its own: matchLabelKeys: [pod-template-hash]")
    return wrong


def drained(thing, objects, variables):
    service = thing["metadata"]["name"]
    if service not in SERVICES:
        return []
    config, pod = objects.config(), pod_of(thing)
    takes = pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    takes += drain.longest(service, lambda variable: config.get(variable) if service in variables.get(variable, ()) else None)
    return [] if pod.get("terminationGracePeriodSeconds", 30) > takes else [f"a drain takes up to {takes:.0f} s, and it is killed before"]
