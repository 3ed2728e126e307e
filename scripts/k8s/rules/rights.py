"""Who may do what: nothing of ours reads the whole cluster, and nothing is believed without a certificate."""

import yaml
from rules.objects import name_of, pod_of, space

# What every API server behind another one needs, and no more.
CLUSTER_WIDE = {"system:auth-delegator"}
THERE_ANYWAY = {("kube-system", "Role", "extension-apiserver-authentication-reader"), ("", "ClusterRole", "system:auth-delegator")}


def check(objects, _):
    wrong = []
    for binding in objects.of("RoleBinding", "ClusterRoleBinding"):
        what, role = name_of(binding), binding["roleRef"]
        at = (space(binding) if role["kind"] == "Role" else "", role["kind"], role["name"])
        if at not in objects.there and at not in THERE_ANYWAY:
            wrong.append(f"{what}: there is no {role['kind']} {role['name']} where it is")
        for subject in binding["subjects"]:
            ours = (subject["namespace"], "ServiceAccount", subject["name"]) in objects.there
            if not ours and subject["namespace"] != "kube-system":
                wrong.append(f"{what}: there is no ServiceAccount {subject['name']} in {subject['namespace']}")
            if ours and binding["kind"] == "ClusterRoleBinding" and role["name"] not in CLUSTER_WIDE:
                wrong.append(f"{what}: {subject['name']} gets {role['name']} in all namespaces")
    return wrong + found_pods(objects) + verified(objects)


def found_pods(objects):
    """Prometheus may list pods in each namespace where it looks for them."""
    config, prometheus = objects.find("ConfigMap", "prometheus-config"), objects.find("StatefulSet", "prometheus")
    if not config or not prometheus:
        return []
    jobs = yaml.safe_load(config["data"]["prometheus.yml"])["scrape_configs"]
    wrong = []
    for namespace in {name for job in jobs for sd in job.get("kubernetes_sd_configs", []) for name in sd["namespaces"]["names"]}:
        account = pod_of(prometheus)["serviceAccountName"]
        roles = [binding["roleRef"]["name"] for binding in objects.of("RoleBinding") if space(binding) == namespace
                 and any(subject["name"] == account and subject["namespace"] == space(prometheus) for subject in binding["subjects"])]
        rules = [rule for role in roles for rule in objects.there.get((namespace, "Role", role), {}).get("rules", [])]
        if not any("pods" in rule["resources"] and {"get", "list", "watch"} <= set(rule["verbs"]) for rule in rules):
            wrong.append(f"StatefulSet/prometheus: it may not list the pods of {namespace}")
    return wrong


def verified(objects):
    """Whoever answers for an API shows a certificate that can be verified."""
    wrong = []
    for service in objects.of("APIService"):
        if service["spec"].get("insecureSkipTLSVerify"):
            wrong.append(f"{name_of(service)}: whoever answers is believed: insecureSkipTLSVerify")
        adapter = objects.find("Deployment", service["spec"]["service"]["name"])
        if adapter and not any(argument.startswith("--tls-cert-file=") for argument in pod_of(adapter)["containers"][0]["args"]):
            wrong.append(f"{name_of(adapter)}: it signs its own certificate, which nobody can verify")
    return wrong
