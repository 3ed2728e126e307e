"""Makes or renews the adapter's certificate. Called by scripts/adapter-certificate."""

import sys

from deploying import certificate
from deploying.kubectl import connect, get, say, stop


def main():
    arguments = sys.argv[1:]
    if arguments not in ([], ["--renew"]):
        stop(f'only --renew is expected, not "{" ".join(arguments)}"', 2)
    connect()
    get("namespace", certificate.NAMESPACE) or stop(f"there is no namespace {certificate.NAMESPACE} yet: apply an overlay first")
    certificates = certificate.ensure_secret(renew=bool(arguments))
    if certificates is None:
        say("cert-manager looks after the adapter's certificate; nothing was changed")
    elif not certificate.believe(certificates):
        stop(f"the APIService {certificate.API} is not ours: apply an overlay with the adapter, then call this again")
    else:
        say("the API server verifies the adapter by its certificate")


main()
