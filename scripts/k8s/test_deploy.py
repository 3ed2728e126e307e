"""scripts/deploy, scripts/undeploy and scripts/adapter-certificate beside a kubectl that answers from a file: what they refuse
before anything is applied, in which order they apply, and what they say where a rollout fails. Called by scripts/check-deploy."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EXTERNAL = "apiservice//v1beta1.external.metrics.k8s.io"
AVAILABLE = {"status": {"conditions": [{"type": "Available", "status": "True"}]}}
secret = lambda **data: {"metadata": {}, "data": {name: base64.b64encode(value.encode()).decode() for name, value in data.items()}}
labelled = lambda kind, **metadata: {"kind": kind, "metadata": {"labels": {"app.kubernetes.io/part-of": "roundtrip"}, **metadata}}
provided_by = lambda namespace, name: {"spec": {"service": {"namespace": namespace, "name": name}}}


def cluster():
    """A cluster that has whatever production needs."""
    return {"version": "v1.36.0", "failing": [], "objects": {
        "apiservice//v1beta1.metrics.k8s.io": AVAILABLE,
        "ingressclass//nginx": {},
        "storageclass//standard": {"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}},
        "secret/roundtrip/roundtrip-secrets": secret(REDIS_PASSWORD="letters1", BROKER_URL="rediss://user:password@redis.example.com:6380"),
        "secret/roundtrip/roundtrip-tls": secret(**{"tls.crt": "c", "tls.key": "k"}),
        "secret/roundtrip-monitoring/grafana-secrets": secret(ADMIN_PASSWORD="a"),
    }}


class Deploying(unittest.TestCase):
    def setUp(self):
        self.work = tempfile.TemporaryDirectory()
        self.addCleanup(self.work.cleanup)
        self.state, self.path = cluster(), lambda name: os.path.join(self.work.name, name)
        os.mkdir(self.path("bin"))
        with open(self.path("bin/kubectl"), "w") as file:
            file.write(f'#!/bin/sh\nexec "{sys.executable}" -S "{ROOT}/scripts/k8s/fake_kubectl.py" "$@"\n')
        os.chmod(self.path("bin/kubectl"), 0o755)

    def call(self, script, *arguments):
        """Runs a script; returns its exit code and all it said, and keeps what it changed in `self.changes`."""
        with open(self.path("state"), "w") as file:
            json.dump(self.state, file)
        with open(self.path("log"), "w"):
            pass
        environment = {**os.environ, "PATH": f"{self.path('bin')}:{os.environ['PATH']}", "FAKE_STATE": self.path("state"), "FAKE_LOG": self.path("log"), "REAL_KUBECTL": shutil.which("kubectl")}
        done = subprocess.run([os.path.join(ROOT, "scripts", script), *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL)
        with open(self.path("log")) as log:
            self.changes = [json.loads(line) for line in log]
        self.commands = [change["command"] for change in self.changes]
        return done.returncode, done.stdout

    def overlay(self, *components, of="production"):
        """A directory of the user's own, with these components switched on."""
        path = self.path("own")
        os.makedirs(path, exist_ok=True)
        with open(f"{ROOT}/k8s/overlays/{of}/kustomization.yaml") as file:
            text = file.read().replace("../../", os.path.relpath(f"{ROOT}/k8s", os.path.realpath(path)) + "/")
        for component in components:
            text, count = re.subn(rf"# (- \S+/components/{component}\b)", r"\1", text)
            assert count == 1
        with open(os.path.join(path, "kustomization.yaml"), "w") as file:
            file.write(text)
        return path

    def refuses(self, said, *arguments):
        code, text = self.call("deploy", *(arguments or ["production"]))
        self.assertIn(said, text)
        self.assertNotEqual(code, 0)
        self.assertEqual(self.commands, [], "nothing may be changed before everything is there")
        return text

    def deploys(self, *arguments):
        code, text = self.call("deploy", *(arguments or ["production"]))
        self.assertEqual(code, 0, text)
        return text

    def waited(self):
        return [command.split()[4] for command in self.commands if command.startswith("rollout status")]


class Refusals(Deploying):
    def test_an_unknown_overlay_is_refused_with_what_is_expected(self):
        for name in ("prod", "", "/nowhere"):
            self.refuses("one of local, production, or a directory with a kustomization.yaml", name)

    def test_an_unknown_flag_is_refused(self):
        self.refuses("--anyway or --prune", "production", "--force")

    def test_without_a_cluster_nothing_is_tried(self):
        self.state["version"] = ""
        self.refuses("kubectl reaches no cluster")

    def test_an_old_server_is_refused(self):
        self.state["version"] = "v1.29.14-eks-2"
        self.refuses("Kubernetes 1.30 or later; the server is v1.29.14-eks-2")

    def test_a_missing_secret_is_named(self):
        del self.state["objects"]["secret/roundtrip/roundtrip-secrets"]
        self.refuses("Secret roundtrip-secrets in namespace roundtrip, with REDIS_PASSWORD")

    def test_a_missing_key_is_named(self):
        self.state["objects"]["secret/roundtrip-monitoring/grafana-secrets"] = secret(PASSWORD="a")
        self.refuses("ADMIN_PASSWORD in the Secret grafana-secrets of namespace roundtrip-monitoring")

    def test_a_password_that_breaks_a_url_is_refused_and_not_shown(self):
        self.state["objects"]["secret/roundtrip/roundtrip-secrets"] = secret(REDIS_PASSWORD="p@ss/w")
        self.assertNotIn("p@ss", self.refuses("a REDIS_PASSWORD of letters, digits"))

    def test_a_missing_tls_secret_is_named(self):
        del self.state["objects"]["secret/roundtrip/roundtrip-tls"]
        self.refuses("Secret roundtrip-tls in namespace roundtrip, with tls.crt, tls.key")

    def test_a_missing_default_storage_class_is_refused(self):
        self.state["objects"]["storageclass//standard"] = {"metadata": {}}
        text = self.refuses("a default StorageClass, for the volume of redis")
        self.assertIn("for the volume of prometheus", text)

    def test_missing_metrics_and_ingress_class_are_refused_unless_they_may_come_later(self):
        del self.state["objects"]["apiservice//v1beta1.metrics.k8s.io"], self.state["objects"]["ingressclass//nginx"]
        text = self.refuses("metrics-server")
        self.assertIn("IngressClass nginx", text)
        self.assertIn("without metrics-server", self.deploys("production", "--anyway"))

    def test_metrics_that_nobody_serves_are_missing(self):
        self.state["objects"]["apiservice//v1beta1.metrics.k8s.io"] = {"status": {"conditions": [{"type": "Available", "status": "False"}]}}
        self.refuses("metrics-server")

    def test_all_that_is_missing_is_said_at_once(self):
        self.state["objects"], self.state["version"] = {}, "v1.28.0"
        text = self.refuses("missing in context test-context; nothing was changed")
        self.assertEqual(len(re.findall(r"^  - ", text, re.M)), 8, text)

    def test_somebody_elses_external_metrics_are_not_taken_over(self):
        for owner in (("keda", "keda-operator-metrics-apiserver"), ("datadog", "datadog-cluster-agent-metrics-api")):
            self.state["objects"][EXTERNAL] = provided_by(*owner)
            self.refuses(f"that of {'/'.join(owner)}", "production", "--anyway")

    def test_keda_must_be_there_and_serve_its_metrics(self):
        path = self.overlay("keda")
        self.refuses("KEDA (https://keda.sh)", path)
        self.state["objects"]["customresourcedefinition//scaledobjects.keda.sh"] = {}
        self.refuses("is not there: install KEDA again", path)
        self.state["objects"][EXTERNAL] = provided_by("roundtrip-monitoring", "prometheus-adapter")
        self.refuses("is still that of an earlier install", path)

    def test_a_managed_redis_needs_its_url(self):
        self.state["objects"]["secret/roundtrip/roundtrip-secrets"] = secret(REDIS_PASSWORD="a")
        self.refuses("BROKER_URL in the Secret roundtrip-secrets", self.overlay("managed-redis"))


class Rollouts(Deploying):
    def test_workers_come_before_the_ingress_and_everything_is_waited_for(self):
        self.deploys()
        first, second = (at for at, command in enumerate(self.commands) if command.startswith("apply -k"))
        self.assertIn("-l app.kubernetes.io/name!=ingress-service", self.commands[first])
        self.assertNotIn("-l", self.commands[second].split())
        workers = next(at for at, command in enumerate(self.commands) if "deployment/proxy-service" in command)
        self.assertTrue(first < workers < second)
        self.assertEqual(self.waited()[:3], ["statefulset/redis", "deployment/proxy-service", "deployment/ingress-service"])
        self.assertEqual(set(self.waited()[3:]), {"deployment/grafana", "deployment/prometheus-adapter", "statefulset/prometheus"})
        self.assertTrue(any(command.startswith("wait apiservice/v1beta1.external.metrics.k8s.io") for command in self.commands))

    def test_local_brings_its_own_secrets(self):
        for name in [name for name in self.state["objects"] if name.startswith("secret/")]:
            del self.state["objects"][name]
        self.deploys("local")
        self.assertIn("statefulset/redis", self.waited())

    def test_a_managed_redis_is_not_waited_for(self):
        self.deploys(self.overlay("managed-redis"))
        self.assertNotIn("statefulset/redis", self.waited())
        self.assertIn("deployment/proxy-service", self.waited())

    def test_with_keda_nobody_waits_for_the_adapter(self):
        self.state["objects"].update({"customresourcedefinition//scaledobjects.keda.sh": {}, EXTERNAL: provided_by("keda", "keda-operator-metrics-apiserver")})
        self.deploys(self.overlay("managed-redis", "keda"))
        self.assertEqual(set(self.waited()), {"deployment/proxy-service", "deployment/ingress-service", "deployment/grafana", "statefulset/prometheus"})
        self.assertFalse([command for command in self.commands if "apiservice" in command or "prometheus-adapter-tls" in command])

    def test_a_failed_rollout_shows_context_pods_and_events(self):
        self.state["failing"] = ["deployment/proxy-service"]
        code, text = self.call("deploy", "production")
        self.assertEqual(code, 1)
        for said in ("context test-context, namespace roundtrip", "pods of roundtrip: something", "events of roundtrip: something",
                     "deployment/proxy-service did not become ready", "kubectl rollout undo -n roundtrip deployment/proxy-service"):
            self.assertIn(said, text)
        self.assertEqual(sum(command.startswith("apply -k") for command in self.commands), 1, "the ingress stays as it is")

    def test_replicas_of_an_earlier_version_stay_with_the_autoscaler(self):
        applied = {"kind": "Deployment", "spec": {"replicas": 3, "paused": False}}
        self.state["objects"]["deployment/roundtrip/proxy-service"] = {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(applied)}}}
        self.deploys()
        told = next(change for change in self.changes if change["command"].startswith("apply set-last-applied"))
        self.assertEqual(json.loads(told["text"])["spec"], {"paused": False})
        self.assertLess(self.changes.index(told), next(at for at, command in enumerate(self.commands) if command.startswith("apply -k")))

    def test_a_scaled_object_gives_way_to_the_hpa(self):
        self.state["objects"].update({"customresourcedefinition//scaledobjects.keda.sh": {}, "scaledobject/roundtrip/proxy-service": {"kind": "ScaledObject"}})
        self.deploys()
        self.assertTrue(self.commands.index("delete scaledobject proxy-service -n roundtrip --wait --timeout 5m") < next(at for at, c in enumerate(self.commands) if c.startswith("apply -k")))

    def test_what_an_earlier_version_left_is_listed_and_pruned_on_demand(self):
        self.state["objects"].update({
            "clusterrolebinding//roundtrip-prometheus": labelled("ClusterRoleBinding"),
            "configmap/roundtrip/roundtrip-config": labelled("ConfigMap"),
            "configmap/roundtrip/roundtrip-config-0000000000": labelled("ConfigMap"),
            "replicaset/roundtrip/proxy-service-1": {"spec": {"reads": "roundtrip-config-0000000000"}},
            "horizontalpodautoscaler/roundtrip/keda-hpa": labelled("HorizontalPodAutoscaler", ownerReferences=[{}]),
        })
        self.assertIn("kubectl delete clusterrolebinding/roundtrip-prometheus", self.deploys())
        self.assertFalse([command for command in self.commands if command.startswith("delete")])
        self.deploys("production", "--prune")
        self.assertEqual([command for command in self.commands if command.startswith("delete")],
                         ["delete clusterrolebinding/roundtrip-prometheus --ignore-not-found", "delete configmap/roundtrip-config -n roundtrip --ignore-not-found"])


class Certificates(Deploying):
    def held(self, days, begun_days_ago=1):
        """A Secret whose certificate is valid for so many days."""
        sys.path.insert(0, os.path.join(ROOT, "scripts/k8s"))
        from deploying import certificate
        old, certificate.DAYS = certificate.DAYS, days
        made = certificate.made()
        certificate.DAYS = old
        self.state["objects"]["secret/roundtrip-monitoring/prometheus-adapter-tls"] = secret(**{"tls.crt": made[0], "tls.key": made[1]})
        return made[0]

    def written(self):
        return [change for change in self.changes if change["command"] in ("create -f -", "replace -f -")]

    def bundle(self):
        patch = next(change["command"] for change in self.changes if change["command"].startswith("patch apiservice"))
        return base64.b64decode(json.loads(patch.split(" -p ")[1])["spec"]["caBundle"]).decode()

    def ours(self):
        self.state["objects"].update({"namespace//roundtrip-monitoring": {}, EXTERNAL: provided_by("roundtrip-monitoring", "prometheus-adapter")})

    def test_a_new_one_is_made_before_the_adapter_and_no_key_is_on_a_command_line(self):
        self.deploys()
        made = self.written()[0]
        self.assertLess(self.changes.index(made), next(at for at, command in enumerate(self.commands) if command.startswith("apply -k")))
        data = json.loads(made["text"])["data"]
        shown = subprocess.run(["openssl", "x509", "-noout", "-text"], input=base64.b64decode(data["tls.crt"]), capture_output=True, check=True).stdout.decode()
        self.assertIn("DNS:prometheus-adapter.roundtrip-monitoring.svc", shown)
        self.assertIn("CA:FALSE", shown)
        self.assertNotIn(data["tls.key"][:40], " ".join(self.commands))

    def test_one_with_years_left_stays_and_is_believed(self):
        self.ours()
        current = self.held(3650)
        code, text = self.call("adapter-certificate")
        self.assertEqual(code, 0, text)
        self.assertEqual(self.written(), [])
        self.assertEqual(self.bundle(), current)

    def test_one_that_ends_within_a_year_is_renewed_and_the_old_one_believed_meanwhile(self):
        self.ours()
        old = self.held(300)
        code, text = self.call("adapter-certificate")
        self.assertEqual(code, 0, text)
        new = base64.b64decode(json.loads(self.written()[0]["text"])["data"]["tls.crt"]).decode()
        self.assertEqual(self.bundle(), new + old)
        patched = next(at for at, command in enumerate(self.commands) if command.startswith("patch"))
        self.assertLess(patched, self.changes.index(self.written()[0]), "believed before it is shown")

    def test_renew_makes_a_new_one_at_any_time(self):
        self.ours()
        self.held(3650)
        self.assertEqual(self.call("adapter-certificate", "--renew")[0], 0)
        self.assertEqual(len(self.written()), 1)

    def test_one_of_cert_manager_is_left_alone(self):
        self.ours()
        self.held(10)
        self.state["objects"]["secret/roundtrip-monitoring/prometheus-adapter-tls"]["metadata"]["annotations"] = {"cert-manager.io/certificate-name": "adapter"}
        self.assertEqual(self.call("adapter-certificate")[0], 0)
        self.assertEqual(self.commands, [])

    def test_somebody_elses_apiservice_is_not_patched(self):
        self.ours()
        self.state["objects"][EXTERNAL] = provided_by("keda", "keda-operator-metrics-apiserver")
        code, text = self.call("adapter-certificate")
        self.assertEqual((code, [command for command in self.commands if "apiservice" in command]), (1, []), text)


class Undeploying(Deploying):
    def test_volumes_namespaces_and_somebody_elses_apiservice_stay(self):
        self.state["objects"][EXTERNAL] = {"kind": "APIService", **provided_by("keda", "keda-operator-metrics-apiserver")}
        code, text = self.call("undeploy", "production")
        self.assertEqual(code, 0, text)
        deleted = "\n".join(change["command"] + change["text"] for change in self.changes)
        for stays in ("v1beta1.external", '"kind": "Namespace"', "pvc", "persistentvolume"):
            self.assertNotIn(stays, deleted)
        self.assertIn('"name": "redis"', deleted)

    def test_our_apiservice_goes_first_and_volumes_on_demand(self):
        self.state["objects"][EXTERNAL] = {"kind": "APIService", **provided_by("roundtrip-monitoring", "prometheus-adapter")}
        code, text = self.call("undeploy", "production", "--volumes")
        self.assertEqual(code, 0, text)
        self.assertEqual(self.commands[0], "delete apiservice v1beta1.external.metrics.k8s.io --ignore-not-found")
        self.assertIn('"kind": "Namespace"', self.changes[1]["text"])

    def test_an_unknown_argument_is_refused(self):
        code, text = self.call("undeploy", "local", "--all")
        self.assertEqual((code, self.commands), (2, []), text)


if __name__ == "__main__":
    kustomize = shutil.which("kubectl") and subprocess.run(["kubectl", "kustomize", f"{ROOT}/k8s/overlays/local"], capture_output=True).returncode == 0
    if not kustomize:
        print("   skipped: no kubectl with kustomize 4 or later to be had")
        sys.exit(0)
    unittest.main(verbosity=1)
