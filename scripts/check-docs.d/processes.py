"""What a document starts, and its end. A process is known by a variable in its environment, whatever session it went to."""

import os
import signal
import socket
import time
import urllib.error
import urllib.request

MARK = "CHECK_DOCS"
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def with_mark(mark):
    """The pids of the processes that have this mark in their environment."""
    found, wanted = [], f"{MARK}={mark}".encode()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if wanted in file.read().split(b"\0"):
                    found.append(int(name))
        except OSError:
            continue
    return found


def alive(pid):
    """Whether this process runs: one that has ended and was not waited for does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def end(mark, patience=10):
    """Ends all processes with this mark, each by its pid: asked first, then killed."""
    for sign, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 5)):
        left = [pid for pid in with_mark(mark) if alive(pid)]
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, sign)
            except ProcessLookupError:
                continue
        until(lambda pids=tuple(left): not any(alive(pid) for pid in pids), seconds)


def until(holds, seconds):
    """Whether it holds within so many seconds."""
    end_of_patience = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end_of_patience:
            return False
        time.sleep(0.05)
    return True


def listens(port):
    """Whether somebody listens on this port of this machine."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def answers(url):
    """Whether this URL is answered with success."""
    try:
        with DIRECT.open(url, timeout=2) as answer:
            return answer.status < 400
    except (OSError, urllib.error.URLError):
        return False
