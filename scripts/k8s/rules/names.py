"""Names and selectors lead somewhere."""

import re

import yaml
from rules.objects import labels_of, matches, name_of, pod_of, space


def check(objects, _):
    wrong = []
    for thing in objects.things:
        kind = thing["kind"]
        rule = {"Service": service, "NetworkPolicy": selected, "PodDisruptionBudget": selected, "HorizontalPodAutoscaler": scaled, "ScaledObject": scaled, "Ingress": entrance}.get(kind)
        wrong += [f"{name_of(thing)}: {text}" for text in (rule(thing, objects) if rule else [])]
    return wrong


def mine(thing, objects):
    return [workload for workload in objects.workloads() if space(workload) == space(thing)]


def service(thing, objects):
    found = [workload for workload in mine(thing, objects) if matches({"matchLabels": thing["spec"]["selector"]}, labels_of(workload))]
    if not found:
        return ["selects no pod"]
    ports = {port["name"] for workload in found for container in pod_of(workload)["containers"] for port in container.get("ports", [])}
    return [f"no container has a port {port['targetPort']}" for port in thing["spec"]["ports"] if port["targetPort"] not in ports]


def selected(thing, objects):
    selector = thing["spec"]["podSelector" if thing["kind"] == "NetworkPolicy" else "selector"]
    return [] if any(matches(selector, labels_of(workload)) for workload in mine(thing, objects)) else ["selects no pod"]


def scaled(thing, objects):
    target = (space(thing), "Deployment", thing["spec"]["scaleTargetRef"]["name"])
    if target not in objects.there:
        return [f"there is no {target[1]} {target[2]}"]
    rules = objects.find("ConfigMap", "prometheus-adapter-config")
    made = {rule["name"]["as"] for rule in yaml.safe_load(rules["data"]["config.yaml"])["externalRules"]} if rules else set()
    names = [metric["external"]["metric"]["name"] for metric in thing["spec"].get("metrics", []) if metric["type"] == "External"]
    return [f"the adapter makes no metric {name}" for name in names if name not in made]


def entrance(thing, objects):
    backends = [path["backend"]["service"]["name"] for rule in thing["spec"]["rules"] for path in rule["http"]["paths"]]
    wrong = [f"there is no Service {name}" for name in backends if (space(thing), "Service", name) not in objects.there]
    return wrong + ([] if thing["spec"].get("ingressClassName") else ["no ingressClassName: which controller serves it is left to chance"])


def twice(kustomization):
    """Keys that a kustomization.yaml has twice, also where somebody takes the # away from what it offers: the last one would win."""
    text = re.sub(r"^( *)# (?=- |\w+:( |$))", r"\1", kustomization, flags=re.M)
    keys = re.findall(r"^(\w+):", text, re.M)
    return [f"{key}: stands there twice, and the last one wins silently" for key in sorted(set(keys)) if keys.count(key) > 1]
