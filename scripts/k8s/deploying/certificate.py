"""The certificate by which the API server knows the adapter: its own root, in a Secret and in the APIService's caBundle."""

import base64
import json
import os
import shutil
import ssl
import subprocess
import tempfile
import time

from deploying.kubectl import get, must, say, stop

NAMESPACE, SERVICE, API = "roundtrip-monitoring", "prometheus-adapter", "v1beta1.external.metrics.k8s.io"
SECRET = (NAMESPACE, "prometheus-adapter-tls")
OWNER = f"{NAMESPACE}/{SERVICE}"
HOST = f"{SERVICE}.{NAMESPACE}.svc"
# Whoever deploys once a year renews it in time.
DAYS, RENEWED_BEFORE = 3650, 365 * 86400
# By then the adapter has read a renewed one: the kubelet takes up to two minutes to bring it.
TAKEN_UP = 3600


def openssl(*arguments, text=None):
    shutil.which("openssl") or stop("openssl is not installed: it makes the adapter's certificate")
    done = subprocess.run(["openssl", *arguments], input=text, capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else stop(f"openssl {arguments[0]} failed: {done.stderr.strip()}")


def made():
    """A new certificate that signs for nobody but itself, and its key."""
    with tempfile.TemporaryDirectory() as directory:
        key, certificate = os.path.join(directory, "key"), os.path.join(directory, "certificate")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", certificate, "-days", str(DAYS),
                "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}", "-addext", "basicConstraints=critical,CA:FALSE",
                "-addext", "keyUsage=critical,digitalSignature", "-addext", "extendedKeyUsage=serverAuth")
        with open(certificate) as made_certificate, open(key) as made_key:
            return made_certificate.read(), made_key.read()


def dates(certificate):
    """From when to when it is valid, in seconds."""
    lines = dict(line.split("=", 1) for line in openssl("x509", "-noout", "-dates", text=certificate).splitlines())
    return ssl.cert_time_to_seconds(lines["notBefore"]), ssl.cert_time_to_seconds(lines["notAfter"])


def ensure_secret(renew=False):
    """Makes or renews the Secret; returns the certificates to believe, or None where cert-manager looks after them."""
    held = get("secret", SECRET[1], SECRET[0])
    if held and "cert-manager.io/certificate-name" in held["metadata"].get("annotations", {}):
        return None
    field = lambda name: base64.b64decode((held or {}).get("data", {}).get(name, "")).decode()
    current, previous = field("tls.crt"), field("previous.crt")
    if current and not renew and dates(current)[1] - time.time() > RENEWED_BEFORE:
        return current if time.time() - dates(current)[0] > TAKEN_UP else current + previous
    certificate, key = made()
    # Believed before it is shown: the adapter takes it up while the old one is believed, too.
    believe(certificate + current)
    write({"tls.crt": certificate, "tls.key": key, "previous.crt": current}, held)
    say(f"{'renewed' if held else 'made'} the adapter's certificate: Secret {SECRET[1]} in {SECRET[0]}")
    return certificate + current


def write(data, held):
    """By create or replace: apply would keep the key in an annotation, too."""
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": SECRET[1], "namespace": SECRET[0], "labels": {"app.kubernetes.io/part-of": "roundtrip"}},
              "data": {name: base64.b64encode(value.encode()).decode() for name, value in data.items()}}
    must("replace" if held else "create", "-f", "-", text=json.dumps(secret))


def believe(certificates):
    """Says to the API server whom to believe, where the APIService is ours; returns whether it is there."""
    service = get("apiservice", API)
    backend = (service or {}).get("spec", {}).get("service") or {}
    if f"{backend.get('namespace')}/{backend.get('name')}" != OWNER:
        return False
    bundle = base64.b64encode(certificates.encode()).decode()
    if service["spec"].get("caBundle") != bundle:
        must("patch", "apiservice", API, "--type", "merge", "-p", json.dumps({"spec": {"caBundle": bundle, "insecureSkipTLSVerify": False}}))
    return True
