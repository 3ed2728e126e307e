"""Rendered objects, and how to find one of them."""

import re

WORKLOADS = {"Deployment", "StatefulSet"}
SERVICES = ("ingress-service", "proxy-service")
# What kustomize puts behind the name of what it generates: a hash of the content.
HASH = re.compile(r"-[0-9a-z]{10}$")


def name_of(thing):
    return f'{thing["kind"]}/{thing["metadata"]["name"]}'


def space(thing):
    return thing["metadata"].get("namespace", "")


def pod_of(workload):
    return workload["spec"]["template"]["spec"]


def labels_of(workload):
    return workload["spec"]["template"]["metadata"]["labels"]


def matches(selector, labels):
    """Whether a label selector selects these labels."""
    selector = selector or {}
    operators = {"In": lambda value, values: value in values, "NotIn": lambda value, values: value not in values, "Exists": lambda value, _: value is not None}
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        operators[one["operator"]](labels.get(one["key"]), one.get("values")) for one in selector.get("matchExpressions", []))


class Objects:
    """All objects of one rendering."""

    def __init__(self, things):
        self.things = things
        self.there = {(space(thing), thing["kind"], thing["metadata"]["name"]): thing for thing in things}

    def of(self, *kinds):
        return [thing for thing in self.things if thing["kind"] in kinds]

    def find(self, kind, name, namespace=None):
        """The object of this name, with or without a hash behind it; None where there is none."""
        fits = lambda called: name in (called, HASH.sub("", called))
        return next((thing for thing in self.of(kind) if fits(thing["metadata"]["name"]) and namespace in (None, space(thing))), None)

    def workloads(self):
        return self.of(*WORKLOADS)

    def config(self):
        """What both services are told by roundtrip-config."""
        found = self.find("ConfigMap", "roundtrip-config", "roundtrip")
        return (found or {}).get("data") or {}
