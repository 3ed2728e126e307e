"""Every variable of README reaches the services that know it, and nothing else is taken for one."""

import re

from rules.objects import SERVICES, pod_of

# Set by the manifest: the port is the container's, and the others are secrets.
BY_MANIFEST = {"LISTEN_ADDR": SERVICES, "BROKER_URL": SERVICES, "ADMIN_TOKEN": ("proxy-service",)}
SECRETS = {"BROKER_URL", "ADMIN_TOKEN"}


def known(readme, tracing):
    """The services that know each variable: README's table, which a test holds against the programs, and OpenTelemetry's own."""
    words = {"both": SERVICES, "ingress": ("ingress-service",), "workers": ("proxy-service",), "proxy": ("proxy-service",)}
    found = {}
    for names, of in re.findall(r"^\| (`[A-Z_`, ]+`) \|[^\n]*? \| ((?:both|ingress|workers|proxy)[^|]*) \|", readme, re.M):
        for name in re.findall(r"[A-Z_]+", names):
            found[name] = tuple({service for word, services in words.items() if word in of for service in services})
    for name in re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", readme):
        # Named beside another, such as DURABILITY_REPLICAS.
        beside = next((other for other in found if name.startswith(other + "_")), None)
        if name not in found and beside:
            found[name] = found[beside]
    for name in re.findall(r"`(OTEL_[A-Z_]+)`", tracing):
        found.setdefault(name, SERVICES)
    return found


def check(objects, variables):
    wrong, config = [], objects.config()
    for variable in config:
        if variable in BY_MANIFEST:
            why = "is a secret: it belongs into the Secret roundtrip-secrets" if variable in SECRETS else "is the manifest's, so that this one is ignored"
            wrong.append(f"ConfigMap/roundtrip-config: {variable} {why}")
        elif variable not in variables:
            wrong.append(f"ConfigMap/roundtrip-config: no service knows the variable {variable}")
    for service in SERVICES:
        deployment = objects.find("Deployment", service)
        if deployment:
            wrong += [f"Deployment/{service}: {text}" for text in reached(service, pod_of(deployment)["containers"][0], variables)]
    return wrong


def reached(service, container, variables):
    wrong, own = [], {variable["name"]: variable for variable in container.get("env", [])}
    from_config = [source for source in container.get("envFrom", []) if source.get("configMapRef", {}).get("name", "").startswith("roundtrip-config")]
    all_reach = bool(from_config) and not any(source.get("prefix") for source in from_config)
    for variable, services in sorted(variables.items()):
        if service not in services:
            continue
        if variable not in BY_MANIFEST:
            if variable in own:
                wrong.append(f"it sets {variable} itself, so that the one of roundtrip-config is ignored")
            elif not all_reach:
                wrong.append(f"{variable} of roundtrip-config does not reach it")
        elif service in BY_MANIFEST[variable] and variable not in own:
            wrong.append(f"{variable} is not set")
        elif variable in own and variable in SECRETS and "secretKeyRef" not in own[variable].get("valueFrom", {}) and "$(REDIS_PASSWORD)" not in own[variable].get("value", ""):
            wrong.append(f"{variable} does not come from a Secret")
    return wrong
