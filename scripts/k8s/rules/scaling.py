"""One autoscaler for each service, which nothing disturbs: no replicas in manifests, one provider of external metrics."""

from rules.objects import SERVICES, name_of, space

SCALERS = ("HorizontalPodAutoscaler", "ScaledObject")
EXTERNAL = "v1beta1.external.metrics.k8s.io"
TRANSFER = "scaledobject.keda.sh/transfer-hpa-ownership"


def check(objects, _):
    wrong, scalers = [], objects.of(*SCALERS)
    targets = [scaler["spec"]["scaleTargetRef"]["name"] for scaler in scalers]
    if sorted(targets) != sorted(SERVICES):
        wrong.append(f"each service has one autoscaler, no more: {len(targets)} for {sorted(set(targets))}")
    for scaler in scalers:
        target = objects.there.get((space(scaler), "Deployment", scaler["spec"]["scaleTargetRef"]["name"]))
        if target and "replicas" in target["spec"]:
            wrong.append(f"{name_of(target)}: each apply sets its replicas back to {target['spec']['replicas']}, whatever {name_of(scaler)} has made of them")
    wrong += provider(objects)
    return wrong


def provider(objects):
    """The API of external metrics is one for all of a cluster: ours where our HPA asks it, and KEDA's where KEDA is."""
    service, wrong = objects.find("APIService", EXTERNAL), []
    asked = [scaler for scaler in objects.of("HorizontalPodAutoscaler") if any(metric["type"] == "External" for metric in scaler["spec"]["metrics"])]
    of_keda = objects.of("ScaledObject")
    if asked and not service:
        wrong.append(f"{name_of(asked[0])}: nobody serves external metrics")
    if service and not asked:
        wrong.append(f"{name_of(service)}: nobody asks it, and it takes the place of another's")
    if of_keda and not service and objects.find("Deployment", "prometheus-adapter"):
        wrong.append("Deployment/prometheus-adapter: nobody asks it")
    if service:
        backend = service["spec"]["service"]
        if (backend["namespace"], "Service", backend["name"]) not in objects.there:
            wrong.append(f"{name_of(service)}: there is no Service {backend['name']}")
    for scaler in of_keda:
        hpa = scaler["spec"].get("advanced", {}).get("horizontalPodAutoscalerConfig", {}).get("name")
        taken_over = scaler["metadata"].get("annotations", {}).get(TRANSFER) == "true" and hpa == scaler["spec"]["scaleTargetRef"]["name"]
        if not taken_over:
            wrong.append(f"{name_of(scaler)}: the HPA of an earlier install stays beside it")
    return wrong


def bounds(objects):
    """How few and how many pods each service may have."""
    field = lambda scaler, hpa, keda: scaler["spec"].get(hpa if scaler["kind"] == "HorizontalPodAutoscaler" else keda)
    return {scaler["spec"]["scaleTargetRef"]["name"]: (field(scaler, "minReplicas", "minReplicaCount"), field(scaler, "maxReplicas", "maxReplicaCount"))
            for scaler in objects.of(*SCALERS)}


def differences(rendered):
    """Combinations whose bounds are not those of their overlay: `rendered` is by name, such as "production" and "production+keda"."""
    wrong = []
    for name, objects in rendered.items():
        overlay = rendered.get(name.split("+")[0])
        for service, have in bounds(objects).items() if overlay else []:
            want = bounds(overlay).get(service)
            if have != want:
                wrong.append(f"{name}: {service} may have {have[0]} to {have[1]} pods, and {want[0]} to {want[1]} without the component")
    return wrong


def dropped(rendered):
    """Components that a combination names and does not have."""
    there = {"keda": lambda objects: objects.of("ScaledObject"), "managed-redis": lambda objects: not objects.find("StatefulSet", "redis")}
    return [f"{name}: the component {component} is dropped" for name, objects in rendered.items() for component in name.split("+")[1:]
            if not there[component](objects)]
