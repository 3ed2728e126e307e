"""Mistakes that have been made, or easily are, and what the rules say about each. Called by check.py --self-test."""

import copy

from rules import names, redis
from rules.objects import Objects, pod_of


def find(things, kind, name):
    return Objects(things).find(kind, name)


def pod(things, name="proxy-service"):
    return pod_of(find(things, "Deployment", name))


def container(things, name="proxy-service"):
    return pod(things, name)["containers"][0]


def variable(things, name):
    return next(one for one in container(things)["env"] if one["name"] == name)


def config(things, name="roundtrip-config"):
    return find(things, "ConfigMap", name)["data"]


def edit(things, name, key, old, new):
    data = config(things, name)
    assert old in data[key], f"{name} has no {old}"
    data[key] = data[key].replace(old, new)


def unhashed(things):
    """A generator without a suffix."""
    found = find(things, "ConfigMap", "roundtrip-config")
    found["metadata"]["name"] = "roundtrip-config"
    for name in ("ingress-service", "proxy-service"):
        container(things, name)["envFrom"][0]["configMapRef"]["name"] = "roundtrip-config"


def policy(things, name, namespace="roundtrip"):
    return next(one for one in Objects(things).of("NetworkPolicy") if (one["metadata"]["namespace"], one["metadata"]["name"]) == (namespace, name))["spec"]


def ports(things, name, at, *kept):
    rule = policy(things, name, "roundtrip-monitoring")["egress"][at]
    rule["ports"] = [port for port in rule["ports"] if port["port"] in kept]


def without(things, kind, name):
    things.remove(find(things, kind, name))


def cluster_wide(things):
    things.append({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "reader"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]})
    things.append({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "reader"},
                   "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"},
                   "subjects": [{"kind": "ServiceAccount", "name": "prometheus", "namespace": "roundtrip-monitoring"}]})


MISTAKES = {
    "local": [
        (lambda t: container(t).update(imagePulPolicy="Never"), "imagePulPolicy"),
        (lambda t: pod(t).update(terminationGracePeriodSeconds=20), "killed before"),
        # Longer than DRAIN_TIMEOUT and preStop, and not than the last steps besides.
        (lambda t: pod(t, "ingress-service").update(terminationGracePeriodSeconds=34), "killed before"),
        (lambda t: container(t)["securityContext"].pop("readOnlyRootFilesystem"), "root may be written"),
        (lambda t: container(t).pop("readinessProbe"), "no readinessProbe"),
        (lambda t: container(t).update(image="roundtrip/proxy-service:latest"), "no tag of its own"),
        (lambda t: pod(t).pop("automountServiceAccountToken"), "holds a token of the API"),
        (lambda t: variable(t, "REDIS_PASSWORD")["valueFrom"]["secretKeyRef"].update(key="PASSWORD"), "has no PASSWORD"),
        # Spread.
        (lambda t: pod(t)["topologySpreadConstraints"][0].pop("nodeTaintsPolicy"), "Deployment/proxy-service: tainted and cordoned nodes count"),
        (lambda t: pod(t, "ingress-service")["topologySpreadConstraints"][0].pop("matchLabelKeys"), "Deployment/ingress-service: pods that are being replaced count"),
        # Autoscaling.
        (lambda t: find(t, "Deployment", "proxy-service")["spec"].update(replicas=3), "sets its replicas back to 3"),
        (lambda t: find(t, "HorizontalPodAutoscaler", "proxy-service")["spec"]["metrics"][0]["external"]["metric"].update(name="nothing"), "makes no metric nothing"),
        (lambda t: find(t, "HorizontalPodAutoscaler", "proxy-service")["spec"]["scaleTargetRef"].update(name="proxy"), "there is no Deployment proxy"),
        (lambda t: without(t, "APIService", "v1beta1.external.metrics.k8s.io"), "nobody serves external metrics"),
        # Variables.
        (unhashed, "ConfigMap roundtrip-config has no hash in its name"),
        (lambda t: config(t).update(TERMINAL="64"), "knows the variable TERMINAL"),
        (lambda t: config(t).update(ADMIN_TOKEN="x"), "ADMIN_TOKEN is a secret"),
        (lambda t: config(t).update(LISTEN_ADDR="[::]:80"), "LISTEN_ADDR is the manifest's"),
        (lambda t: container(t).pop("envFrom"), "MAX_DELIVERIES of roundtrip-config does not reach it"),
        (lambda t: container(t, "ingress-service")["envFrom"][0].update(prefix="RT_"), "RESULT_TTL of roundtrip-config does not reach it"),
        (lambda t: container(t)["env"].append({"name": "LEASE", "value": "9s"}), "it sets LEASE itself"),
        (lambda t: container(t)["env"].remove(variable(t, "ADMIN_TOKEN")), "ADMIN_TOKEN is not set"),
        (lambda t: variable(t, "BROKER_URL").update(value="redis://:secret@redis:6379"), "BROKER_URL does not come from a Secret"),
        # Names.
        (lambda t: find(t, "Service", "redis")["spec"]["selector"].update({"app.kubernetes.io/name": "reddis"}), "Service/redis: selects no pod"),
        (lambda t: policy(t, "redis")["podSelector"]["matchLabels"].update({"app.kubernetes.io/name": "x"}), "NetworkPolicy/redis: selects no pod"),
        (lambda t: find(t, "Ingress", "ingress-service")["spec"].pop("ingressClassName"), "no ingressClassName"),
        # Redis.
        (lambda t: edit(t, "redis-config", "redis.conf", 'save ""\n', ""), "save is not set"),
        (lambda t: edit(t, "redis-config", "redis.conf", "noeviction", "allkeys-lru"), "maxmemory-policy is allkeys-lru"),
        # Rights.
        (cluster_wide, "prometheus gets reader in all namespaces"),
        (lambda t: without(t, "RoleBinding", "prometheus"), "may not list the pods of roundtrip"),
        (lambda t: find(t, "RoleBinding", "roundtrip-adapter-authentication-reader")["metadata"].update(namespace="roundtrip-monitoring"), "there is no Role extension-apiserver-authentication-reader"),
        (lambda t: find(t, "APIService", "v1beta1.external.metrics.k8s.io")["spec"].update(insecureSkipTLSVerify=True), "whoever answers is believed"),
        (lambda t: container(t, "prometheus-adapter").update(args=["--cert-dir=/tmp/cert"]), "signs its own certificate"),
        # Networks.
        (lambda t: policy(t, "default-deny").update(policyTypes=["Ingress"]), "nothing denies by default"),
        (lambda t: ports(t, "prometheus", -1, 443, 6443), "prometheus does not reach 172.18.0.2 at 8443"),
        (lambda t: ports(t, "prometheus-adapter", -1, 443, 6443), "prometheus-adapter does not reach fd00::2 at 8443"),
        (lambda t: policy(t, "dns")["egress"][0].update(to=policy(t, "dns")["egress"][0]["to"][:1]), "ingress-service does not reach 169.254.20.10 at 53"),
        (lambda t: policy(t, "dns").update(podSelector={}), "redis reaches 169.254.20.10 at 53"),
        (lambda t: policy(t, "ingress-service")["egress"].pop(), "ingress-service does not reach opentelemetry-collector of observability"),
        (lambda t: policy(t, "ingress-service")["ingress"][0]["from"][0].pop("podSelector"), "curl of ingress-nginx reaches ingress-service"),
        (lambda t: policy(t, "proxy-service")["egress"][2]["to"].pop(), "proxy-service does not reach 2001:db8::1 at 443"),
        (lambda t: policy(t, "proxy-service")["egress"][2]["to"][1]["ipBlock"].pop("except"), "proxy-service reaches fd00::1 at 443"),
        (lambda t: policy(t, "prometheus", "roundtrip-monitoring")["egress"][0]["to"][0]["podSelector"].update(matchLabels={"app": "x"}), "prometheus does not reach ingress-service"),
    ],
    "local+keda": [
        (lambda t: find(t, "ScaledObject", "proxy-service")["metadata"].pop("annotations"), "the HPA of an earlier install stays beside it"),
        (lambda t: without(t, "NetworkPolicy", "prometheus-from-keda"), "keda-operator of keda does not reach prometheus"),
    ],
}
# What a combination keeps that its component should have taken away: kind and name of the overlay's object.
LEFT_BEHIND = [
    ("local+keda", "HorizontalPodAutoscaler", "proxy-service", "one autoscaler, no more"),
    ("local+keda", "APIService", "v1beta1.external.metrics.k8s.io", "nobody asks it, and it takes the place of another's"),
    ("local+keda", "Deployment", "prometheus-adapter", "nobody asks it"),
]
# Of several renderings at once.
TOGETHER = [
    ("production+keda", lambda t: find(t, "ScaledObject", "proxy-service")["spec"].update(maxReplicaCount=20), "proxy-service may have 3 to 20 pods, and 3 to 40"),
    ("production+managed-redis+keda", lambda t: t.append({"kind": "StatefulSet", "metadata": {"name": "redis"}}), "the component managed-redis is dropped"),
]
# Of files: what is written, and what is said.
FILES = [
    (lambda: names.twice("resources: [a]\n# components: [b]  # one\n# components: [c]  # two\n"), "components: stands there twice"),
    (lambda: redis.commands("x", "    redis-server --appendonly yes\n"), "snapshots are on"),
    (lambda: redis.commands("x", '    command: ["redis-server", "--appendonly", "yes"]\n'), "snapshots are on"),
]


def not_noticed(rendered, check, check_together):
    missed = []

    def expect(said, wrong):
        if said not in "\n".join(wrong):
            missed.append(f"not noticed: {said}")

    for name, mistakes in MISTAKES.items():
        for change, said in mistakes:
            broken = copy.deepcopy(rendered[name])
            change(broken)
            expect(said, check(broken))
    for name, kind, called, said in LEFT_BEHIND:
        expect(said, check(rendered[name] + [find(rendered[name.split("+")[0]], kind, called)]))
    for name, change, said in TOGETHER:
        broken = copy.deepcopy(rendered[name])
        change(broken)
        expect(said, check_together({**rendered, name: broken}))
    for wrong, said in FILES:
        expect(said, wrong())
    return missed
