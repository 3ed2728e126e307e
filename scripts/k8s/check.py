"""Rendered Kubernetes objects against strict schemas, and against each other. Called by scripts/check-k8s."""

import copy
import re
import sys

import kubernetes_validate
import yaml

sys.path.append("scripts")
import drain

# Objects of others, which have no schema here: checked by hand below.
WITHOUT_SCHEMA = {"ScaledObject"}
# Made by hand before a deployment: DEPLOYMENT.md says how.
MADE_BY_HAND = {("roundtrip", "Secret", "roundtrip-secrets"), ("roundtrip-monitoring", "Secret", "grafana-secrets"), ("roundtrip", "Secret", "roundtrip-tls")}
WORKLOADS = {"Deployment", "StatefulSet"}


def name_of(thing):
    return f'{thing["kind"]}/{thing["metadata"]["name"]}'


def space(thing):
    return thing["metadata"].get("namespace", "")


def matches(selector, labels):
    """Whether a label selector selects these labels."""
    return all(labels.get(key) == value for key, value in (selector or {}).get("matchLabels", {}).items())


def check(things, known_variables):
    """What is wrong, in sentences."""
    wrong = []
    pods = [(space(t), t["spec"]["template"]["metadata"]["labels"], t) for t in things if t["kind"] in WORKLOADS]
    there = {(space(t), t["kind"], t["metadata"]["name"]): t for t in things}
    for thing in things:
        what = name_of(thing)
        if thing["kind"] not in WITHOUT_SCHEMA:
            try:
                kubernetes_validate.validate(thing, kubernetes_validate.latest_version(), strict=True)
            except kubernetes_validate.ValidationError as error:
                wrong.append(f"{what}: {'/'.join(map(str, error.path))}: {error.message}")
                continue
        if thing["kind"] in WORKLOADS:
            wrong += check_workload(thing, there)
        wrong += check_selectors(thing, pods, there)
    config = there.get(("roundtrip", "ConfigMap", "roundtrip-config"), {}).get("data", {})
    for variable in config:
        if variable not in known_variables | {"REDIS_HOST"}:
            wrong.append(f"ConfigMap/roundtrip-config: no service knows the variable {variable}")
    scalers = {(t["spec"]["scaleTargetRef"]["name"]) for t in things if t["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")}
    count = sum(t["kind"] in ("HorizontalPodAutoscaler", "ScaledObject") for t in things)
    if len(scalers) != count or scalers != {"ingress-service", "proxy-service"}:
        wrong.append(f"each service has one autoscaler, no more: {count} for {sorted(scalers)}")
    for namespace in ("roundtrip", "roundtrip-monitoring"):
        policy = there.get((namespace, "NetworkPolicy", "default-deny"))
        if not policy or policy["spec"].get("podSelector") != {} or set(policy["spec"]["policyTypes"]) != {"Ingress", "Egress"}:
            wrong.append(f"namespace {namespace}: nothing denies by default")
    return wrong


def check_workload(thing, there):
    wrong, what, pod = [], name_of(thing), thing["spec"]["template"]["spec"]
    need = lambda holds, text: holds or wrong.append(f"{what}: {text}")
    need(matches(thing["spec"]["selector"], thing["spec"]["template"]["metadata"]["labels"]), "its selector does not select its own pods")
    context = pod.get("securityContext", {})
    need(context.get("runAsNonRoot") and context.get("runAsUser"), "it may run as root")
    need(context.get("seccompProfile", {}).get("type") == "RuntimeDefault", "no seccomp profile")
    volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
    volumes |= {claim["metadata"]["name"]: {} for claim in thing["spec"].get("volumeClaimTemplates", [])}
    references = [("ConfigMap", volume["configMap"]["name"], None) for volume in volumes.values() if "configMap" in volume]
    for container in pod["containers"]:
        own = container.get("securityContext", {})
        need(own.get("readOnlyRootFilesystem") and own.get("allowPrivilegeEscalation") is False, "its root may be written, or it may gain privileges")
        need(own.get("capabilities", {}).get("drop") == ["ALL"], "it keeps capabilities")
        need("requests" in container.get("resources", {}) and "memory" in container["resources"].get("limits", {}), "no requests, or no limit of memory")
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            need(probe in container, f"no {probe}")
        need(re.search(r":v?\d", container["image"]), f"its image has no tag of its own: {container['image']}")
        for mount in container.get("volumeMounts", []):
            need(mount["name"] in volumes, f"it mounts {mount['name']}, which is no volume of its")
        for variable in container.get("env", []):
            source = variable.get("valueFrom", {})
            for kind, reference in (("ConfigMap", source.get("configMapKeyRef")), ("Secret", source.get("secretKeyRef"))):
                if reference and not reference.get("optional"):
                    references.append((kind, reference["name"], reference["key"]))
    for kind, name, key in references:
        found = there.get((space(thing), kind, name))
        if not found:
            need((space(thing), kind, name) in MADE_BY_HAND, f"there is no {kind} {name}")
        else:
            need(key is None or key in found.get("data", {}), f"{kind} {name} has no {key}")
    config = there.get((space(thing), "ConfigMap", "roundtrip-config"))
    if config and thing["metadata"]["name"] in ("ingress-service", "proxy-service"):
        variables = {variable["name"] for variable in pod["containers"][0]["env"]}
        takes = pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        takes += drain.longest(thing["metadata"]["name"], lambda variable: config["data"].get(variable) if variable in variables else None)
        need(pod.get("terminationGracePeriodSeconds", 30) > takes, f"a drain takes up to {takes:.0f} s, and it is killed before")
    return wrong


def check_selectors(thing, pods, there):
    """Names and selectors lead somewhere."""
    kind, spec, what = thing["kind"], thing.get("spec", {}), name_of(thing)
    mine = [(labels, pod) for namespace, labels, pod in pods if namespace == space(thing)]
    if kind == "Service":
        selected = [pod for labels, pod in mine if matches({"matchLabels": spec["selector"]}, labels)]
        if not selected:
            return [f"{what}: selects no pod"]
        ports = {port["name"] for pod in selected for container in pod["spec"]["template"]["spec"]["containers"] for port in container.get("ports", [])}
        return [f"{what}: no container has a port {port['targetPort']}" for port in spec["ports"] if port["targetPort"] not in ports]
    if kind in ("NetworkPolicy", "PodDisruptionBudget"):
        selector = spec["podSelector" if kind == "NetworkPolicy" else "selector"]
        return [] if any(matches(selector, labels) for labels, _ in mine) else [f"{what}: selects no pod"]
    if kind in ("HorizontalPodAutoscaler", "ScaledObject"):
        target = (space(thing), "Deployment", spec["scaleTargetRef"]["name"])
        if target not in there:
            return [f"{what}: there is no {target[1]} {target[2]}"]
        rules = there.get(("roundtrip-monitoring", "ConfigMap", "prometheus-adapter-config"))
        made = {rule["name"]["as"] for rule in yaml.safe_load(rules["data"]["config.yaml"])["externalRules"]} if rules else set()
        names = [metric["external"]["metric"]["name"] for metric in spec.get("metrics", []) if metric["type"] == "External"]
        return [f"{what}: the adapter makes no metric {name}" for name in names if name not in made]
    if kind == "Ingress":
        backends = [path["backend"]["service"]["name"] for rule in spec["rules"] for path in rule["http"]["paths"]]
        return [f"{what}: there is no Service {name}" for name in backends if (space(thing), "Service", name) not in there]
    return []


# Each breaks one thing, and what is said about it.
def _container(things, name="proxy-service"):
    return next(t for t in things if t["kind"] == "Deployment" and t["metadata"]["name"] == name)["spec"]["template"]["spec"]


def _one(things, kind, name):
    return next(t for t in things if t["kind"] == kind and t["metadata"]["name"] == name)


BREAKS = [
    (lambda t: _container(t)["containers"][0].update(imagePulPolicy="Never"), "imagePulPolicy"),
    (lambda t: _container(t).update(terminationGracePeriodSeconds=20), "killed before"),
    # Longer than DRAIN_TIMEOUT and preStop, and not than the last steps besides.
    (lambda t: _container(t, "ingress-service").update(terminationGracePeriodSeconds=34), "killed before"),
    (lambda t: _container(t)["containers"][0]["securityContext"].pop("readOnlyRootFilesystem"), "root may be written"),
    (lambda t: _container(t)["containers"][0].pop("readinessProbe"), "no readinessProbe"),
    (lambda t: _container(t)["containers"][0].update(image="roundtrip/proxy-service:latest"), "no tag of its own"),
    (lambda t: _container(t)["containers"][0]["env"][1]["valueFrom"]["secretKeyRef"].update(key="PASSWORD"), "has no PASSWORD"),
    (lambda t: _one(t, "Service", "redis")["spec"]["selector"].update({"app.kubernetes.io/name": "reddis"}), "Service/redis: selects no pod"),
    (lambda t: _one(t, "NetworkPolicy", "redis")["spec"]["podSelector"]["matchLabels"].update({"app.kubernetes.io/name": "x"}), "NetworkPolicy/redis: selects no pod"),
    (lambda t: _one(t, "HorizontalPodAutoscaler", "proxy-service")["spec"]["metrics"][0]["external"]["metric"].update(name="nothing"), "makes no metric nothing"),
    (lambda t: _one(t, "HorizontalPodAutoscaler", "proxy-service")["spec"]["scaleTargetRef"].update(name="proxy"), "there is no Deployment proxy"),
    (lambda t: _one(t, "ConfigMap", "roundtrip-config")["data"].update(TERMINAL="64"), "knows the variable TERMINAL"),
    (lambda t: _one(t, "NetworkPolicy", "default-deny")["spec"].update(policyTypes=["Ingress"]), "nothing denies by default"),
]


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--self-test"]
    # The table of variables is the README's, and a test holds the README against the programs.
    known = set(re.findall(r"^\| `([A-Z_`, ]+)` \|", open("README.md").read(), re.M))
    known = {name.strip("` ") for names in known for name in names.split(",")}
    failed = False
    for path in arguments:
        things = [thing for thing in yaml.safe_load_all(open(path)) if thing]
        wrong = check(things, known)
        failed |= bool(wrong)
        print("\n".join(f"   {path}: {text}" for text in wrong) or f"   {path}: {len(things)} objects are valid")
    if "--self-test" in sys.argv:
        things = [thing for thing in yaml.safe_load_all(open(arguments[0])) if thing]
        for change, said in BREAKS:
            broken = copy.deepcopy(things)
            change(broken)
            if said not in "\n".join(check(broken, known)):
                print(f"   not noticed: {said}")
                failed = True
    sys.exit(failed)


main()
