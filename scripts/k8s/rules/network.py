"""NetworkPolicies, as a network that keeps to them would: who reaches whom."""

import ipaddress

from rules.objects import labels_of, matches, space

SERVICES, WATCHING = "roundtrip", "roundtrip-monitoring"
# Which pod of ours reaches which, at which port; and which does not.
PAIRS = [
    ("ingress-service", "redis", 6379, True), ("proxy-service", "redis", 6379, True), ("prometheus", "redis", 6379, False),
    ("prometheus", "ingress-service", 5009, True), ("prometheus", "proxy-service", 5010, True), ("grafana", "prometheus", 9090, True),
    ("prometheus-adapter", "prometheus", 9090, True), ("grafana", "proxy-service", 5010, False), ("ingress-service", "proxy-service", 5010, False),
    ("proxy-service", "ingress-service", 5009, False), ("ingress-service", "prometheus", 9090, False), ("redis", "proxy-service", 5010, False),
]
# Pods of others: namespace, labels.
CONTROLLER = ("ingress-nginx", {"app.kubernetes.io/name": "ingress-nginx"})
BESIDE_IT = ("ingress-nginx", {"app": "curl"})
KEDA = ("keda", {"app": "keda-operator"})
DNS = ("kube-system", {"k8s-app": "kube-dns"})
COLLECTOR = ("observability", {"app.kubernetes.io/name": "opentelemetry-collector"})
STRANGER = ("elsewhere", {"app": "stranger"})
INTO = [(CONTROLLER, "ingress-service", 5009, True), (BESIDE_IT, "ingress-service", 5009, False), (STRANGER, "ingress-service", 5009, False),
        (STRANGER, "proxy-service", 5010, False), (STRANGER, "redis", 6379, False), (BESIDE_IT, "prometheus", 9090, False), (("keda", {"app": "other"}), "prometheus", 9090, False)]
OUT_OF = [("ingress-service", DNS, 53, True), ("proxy-service", DNS, 53, True), ("grafana", DNS, 53, True), ("redis", DNS, 53, False), ("redis", STRANGER, 443, False),
          ("ingress-service", COLLECTOR, 4318, True), ("proxy-service", COLLECTOR, 4318, True), ("grafana", COLLECTOR, 4318, False), ("proxy-service", STRANGER, 443, False)]
# Addresses outside of any pod: a DNS cache on the node, the cluster's address for DNS, API servers, the upstream, metadata.
OUTSIDE = (
    [(pod, address, 53, True) for pod in ("ingress-service", "proxy-service", "grafana") for address in ("169.254.20.10", "10.96.0.10", "172.20.0.10", "fd00:10:96::a")]
    + [(pod, "192.0.2.1", 53, False) for pod in ("ingress-service", "proxy-service", "grafana")]
    + [(pod, address, port, True) for pod in ("prometheus", "prometheus-adapter") for address in ("172.18.0.2", "fd00::2") for port in (443, 6443, 8443)]
    + [("proxy-service", address, 443, True) for address in ("192.0.2.1", "2001:db8::1")]
    + [("proxy-service", address, 443, False) for address in ("10.0.0.1", "100.64.0.1", "169.254.169.254", "172.16.0.1", "192.168.0.1", "fd00::1", "fe80::1")]
    + [("ingress-service", "192.0.2.1", 443, False), ("grafana", "192.0.2.1", 443, False), ("redis", "169.254.20.10", 53, False)]
)


def check(objects, _):
    pods = {workload["metadata"]["name"]: (space(workload), labels_of(workload)) for workload in objects.workloads()}
    policies, wrong = objects.of("NetworkPolicy"), []

    def expect(reaches, wanted, text):
        if reaches != wanted:
            wrong.append(f"{text}, and {'should' if wanted else 'should not'}" if wanted else f"{text} and should not")

    says = lambda reaches: "reaches" if reaches else "does not reach"
    for client, server, port, wanted in PAIRS:
        if client in pods and server in pods:
            reaches = passes(policies, pods[client], pods[server], port)
            expect(reaches, wanted, f"{client} {says(reaches)} {server}:{port}")
    for (namespace, labels), server, port, wanted in INTO + ([(KEDA, "prometheus", 9090, True)] if objects.of("ScaledObject") else []):
        if server in pods:
            reaches = passes(policies, (namespace, labels), pods[server], port)
            expect(reaches, wanted, f"{next(iter(labels.values()))} of {namespace} {says(reaches)} {server}:{port}")
    for client, (namespace, labels), port, wanted in OUT_OF:
        if client in pods:
            reaches = passes(policies, pods[client], (namespace, labels), port)
            expect(reaches, wanted, f"{client} {says(reaches)} {next(iter(labels.values()))} of {namespace} at {port}")
    for client, address, port, wanted in OUTSIDE:
        if client in pods:
            reaches = lets(policies, "Egress", pods[client], port, address=ipaddress.ip_address(address))
            expect(reaches, wanted, f"{client} {says(reaches)} {address} at {port}")
    for namespace in (SERVICES, WATCHING):
        policy = objects.there.get((namespace, "NetworkPolicy", "default-deny"))
        if not policy or policy["spec"].get("podSelector") != {} or set(policy["spec"]["policyTypes"]) != {"Ingress", "Egress"}:
            wrong.append(f"namespace {namespace}: nothing denies by default")
    return wrong


def passes(policies, client, server, port):
    return lets(policies, "Egress", client, port, pod=server) and lets(policies, "Ingress", server, port, pod=client)


def lets(policies, direction, subject, port, pod=None, address=None):
    """Whether the policies that select `subject` let through what comes from, or goes to, a pod or an address."""
    about = [policy for policy in policies if space(policy) == subject[0] and direction in policy["spec"]["policyTypes"] and matches(policy["spec"]["podSelector"], subject[1])]
    if not about:
        return True
    side = "from" if direction == "Ingress" else "to"
    return any(any(one["port"] == port for one in rule["ports"]) and (side not in rule or any(is_peer(peer, space(policy), pod, address) for peer in rule[side]))
               for policy in about for rule in policy["spec"].get(direction.lower(), []) if rule.get("ports"))


def is_peer(peer, namespace, pod, address):
    if "ipBlock" in peer:
        block = peer["ipBlock"]
        within = lambda cidr: address in ipaddress.ip_network(cidr) if address.version == ipaddress.ip_network(cidr).version else False
        return address is not None and within(block["cidr"]) and not any(within(cidr) for cidr in block.get("except", []))
    if pod is None:
        return False
    there = matches(peer["namespaceSelector"], {"kubernetes.io/metadata.name": pod[0]}) if "namespaceSelector" in peer else pod[0] == namespace
    return there and matches(peer.get("podSelector"), pod[1])
