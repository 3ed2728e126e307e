"""A worker of Roundtrip, by docs/wire.md: `pip install redis`, then `BROKER_URL=redis://HOST python3 worker.py`.
It works on one request at a time, so that a request that kills workers has no neighbour: start as many as you need."""
import asyncio, contextlib, logging, os, pathlib, random, re, signal, socket, time, uuid
import redis.asyncio as redis
from weather import Fault, handle
LEASE, DRAIN, GRACE, MAX_DELIVERIES = (float(os.environ.get(name, default).removesuffix("s")) for name, default in (
    ("LEASE", "6s"), ("DRAIN_TIMEOUT", "25s"), ("CANCEL_GRACE", "1s"), ("MAX_DELIVERIES", "5")))
GROUP, REQUESTS, COUNTS = "processing-group", "weather-requests", "weather-counts"
REQUESTERS, REPLIES, SILENT = "weather-requesters", "weather-responses", int(max(2 * LEASE, 10) * 1000)
RECORDS = ["weather-result:", "weather-results:", "weather-results-expiry", "weather-changes", "weather-cancelling"]
SWEPT, ENDS = [*RECORDS, REQUESTS, REQUESTERS], "queued processing succeeded failed expired cancelled".split()
CHECKS = {"requestId": (re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch, "a UUID in lower case"),
          "replyTo": (re.compile(rb"[A-Za-z0-9._-]{1,64}").fullmatch, "1 to 64 characters of A-Z a-z 0-9 . _ -"),
          "budgetMs": (lambda text: re.fullmatch(rb"\d{1,19}", text) and int(text) <= DAY, "a number to 86400000"),
          "data": (lambda data: len(data) <= 64 << 20, "a JSON document of at most 64 MiB")}
now, log, ERRORS, DAY = time.monotonic, logging.getLogger("worker"), (redis.RedisError, OSError), 86_400_000

class Job:
    """One delivery of one entry. `ahead`: how far the server's clock is ahead of ours, on which the deadline is."""
    def __init__(self, entry, content, attempt, ahead):
        self.entry, self.content, self.attempt, self.task, self.is_cancelled = entry, content, attempt, None, False
        pairs = zip(content[-2::-2], content[::-2])  # from its end: of two with one name the first counts
        fields = {name.decode(errors="replace"): value for name, value in pairs}
        wrong = [name for name, (fits, _) in CHECKS.items() if name not in fields or not fits(fields[name])]
        self.problem = f"field {wrong[0]}: {CHECKS[wrong[0]][1]} is expected" if wrong else ""
        is_known = not {"requestId", "replyTo"} & set(wrong)
        self.id, self.reply_to = (fields[name].decode() if is_known else "" for name in ("requestId", "replyTo"))
        self.data, self.keep, self.tenant = (b"" if wrong else fields.get(name, b"") for name in ("data", "keep", "tenant"))
        self.deadline = (int(entry.split(b"-")[0]) + (0 if wrong else int(fields["budgetMs"]))) / 1000 - ahead

    def letter(self, reason, attempts, error=""):
        own = [word[:65536] for word in self.content[:128]] if self.problem else self.content
        return ["reason", reason, "attempts", attempts, "entryId", self.entry, "lastError", error[:9999], *own]

class Worker:
    def __init__(self, url, handler):
        self.handler, self.me, self.stop = handler, f"{socket.gethostname()[:31]}-{uuid.uuid4().hex}", asyncio.Event()
        self.redis = redis.from_url(url, protocol=2, socket_timeout=2)  # repeats nothing by itself
        self.redis.response_callbacks.clear()  # answers as they come: a dict has no room for two fields of one name
        files = pathlib.Path(__file__).with_name("lua").glob("*.lua")
        scripts = {file.stem: self.redis.register_script(file.read_bytes()) for file in files}
        self.call = lambda script, keys, *arguments: scripts[script](keys=keys, args=arguments)
        self.job, self.cursor, self.ahead, self.seen, self.trusted_from, self.scan_at = None, "0-0", None, now(), 0, 0

    async def run(self):
        loop, working = asyncio.get_running_loop(), asyncio.create_task(self.claim_and_work())
        asyncio.create_task(self.watch()).add_done_callback(lambda _: working.cancel())
        for number in (signal.SIGTERM, signal.SIGINT):  # what is in hand is finished, its lease renewed meanwhile
            loop.add_signal_handler(number, lambda: self.stop.set() or loop.call_later(DRAIN, working.cancel))
        await asyncio.wait([working])
        self.job = None
        with contextlib.suppress(*ERRORS):  # what is left is another's at once; where this fails, after its lease
            await self.call("leave", [REQUESTS, COUNTS], GROUP, self.me, DAY, "-", 256, "terminals:")
        working.cancelled() or working.result()  # where it broke, says how

    async def claim_and_work(self):
        while not self.stop.is_set():
            try:
                if job := await self.next_job():
                    self.job = job
                    if (job.keep or job.attempt > 1) and job.attempt <= MAX_DELIVERIES and job.deadline > now():
                        job.is_cancelled = await self.call("begin", RECORDS, job.id, job.attempt) == 1
                    await self.settle(job, *await self.work(job))
            except ERRORS as error:  # what we were given and do not hold is taken over after its lease, by whomever
                log.warning("claiming again after a pause: %s", error)
                await asyncio.sleep(0.5)
                with contextlib.suppress(*ERRORS):  # BUSYGROUP, where it is there
                    await self.redis.xgroup_create(REQUESTS, GROUP, 0, mkstream=True)
            self.job = None

    async def look_at_clock(self):
        asked, before, (seconds, micros) = now(), self.ahead, await self.redis.time()
        self.ahead = int(seconds) + int(micros) / 1e6 - now()
        if abs(self.ahead - (before or self.ahead)) > 0.25 + now() - asked or now() - self.seen > LEASE:
            self.trusted_from = now() + LEASE  # it was set, or nobody looked: who is alive renews meanwhile
        self.seen = now()
        return self.ahead

    async def next_job(self):
        """What another worker dropped (looked for each second, at once again where there was some), or what is new."""
        ahead = await self.look_at_clock()
        if now() >= max(self.scan_at, self.trusted_from):
            self.scan_at = now() + random.uniform(0.8, 1.2)
            earliest, latest = (int((now() + ahead + slack) * 1000) for slack in (-0.25, 2.5))
            words = (GROUP, self.me, int(LEASE * 1000), self.cursor, 1, earliest, latest, 2000)
            _, self.cursor, *found = await self.call("reclaim", [REQUESTS], *words)
            if found:
                self.scan_at, (entry, count) = 0, found
                if not (content := await self.redis.xrange(REQUESTS, entry, entry)):
                    await self.redis.xack(REQUESTS, GROUP, entry)  # deleted while it was pending
                elif await self.call("redeliver", [REQUESTS], GROUP, self.me, entry, count + 1):
                    return Job(entry, content[0][1], count + 1, ahead)
                return None
        asked, answer = now(), await self.redis.xreadgroup(GROUP, self.me, {REQUESTS: ">"}, count=1, block=500)
        if answer and now() - asked < 0.5 + LEASE / 2:  # else we stood still, and it may be another's
            return Job(*answer[0][1][0], 1, await self.look_at_clock())

    async def work(self, job):
        if job.problem:
            return Fault("invalid", f"malformed request entry: {job.problem}"), job.letter(job.problem, job.attempt)
        if job.attempt > MAX_DELIVERIES:
            reason = f"delivered {job.attempt - 1} times without an answer"
            return Fault("dead-lettered", f"the request was {reason}"), job.letter(reason, job.attempt - 1)
        left = job.deadline - now()
        if left > 0 and not job.is_cancelled:
            job.task = asyncio.create_task(self.handler(job.data, job))  # the answer needs time for its way back
            await asyncio.wait([job.task], timeout=left - min(0.1, left / 4))
            if not job.task.cancel() and not job.task.cancelled():  # so it was done
                if isinstance(answer := job.task.exception() or job.task.result(), (str, bytes, Fault)):
                    return answer, ()
                return Fault("dead-lettered", "the work failed"), job.letter("it failed", job.attempt, repr(answer))
        return Fault(*("cancelled", "it was cancelled") if job.is_cancelled else ("expired", "the time ran out")), ()

    async def settle(self, job, answer, letter):
        code, data = (answer.code, answer.data) if isinstance(answer, Fault) else ("", answer)
        requester = "" if job.keep == b"only" else job.reply_to  # '' where nobody waits, or nobody knows who does
        replies = f"{REPLIES}:{requester}" if requester else REQUESTS
        keys = [*RECORDS, REQUESTS, replies, "weather-dead-letters", REQUESTERS + "-gone", REQUESTERS]
        too_large = Fault("result-too-large", "the work was done, and its result is larger than what is kept").data
        words = (GROUP, self.me, job.entry, requester, job.id, "fault" if code else "ok", data,
                 too_large, 3_600_000, 1 << 20, "1" if job.attempt > 1 else "", "", job.tenant, *letter)
        while True:  # until it is known to have worked: the script leaves alone what is not ours any more
            try:
                settled = await self.call("settle", keys, *words)
                if settled and (letter or code in ("expired", "cancelled", "upstream-unavailable")):
                    await self.redis.hincrby(COUNTS, "discarded", 1)
                return
            except ERRORS as error:
                log.warning("settling again after a pause: %s", error)
                await asyncio.sleep(0.5)

    async def watch(self):  # the clock, the lease of what is in hand, whether it should end; and clears up after others
        tidy_at, lost = now() + 5, Fault("expired", "the time ran out, and no result is known").data
        while True:
            with contextlib.suppress(*ERRORS):
                await self.look_at_clock()
                if job := self.job:
                    await self.call("renew", [REQUESTS], GROUP, self.me, job.entry)
                    wish, = await self.redis.execute_command("ZMSCORE", "weather-cancelling", job.id)
                    if wish is not None and job.task and not job.is_cancelled:
                        job.is_cancelled = True  # the handler may look at it, and has this long
                        asyncio.get_running_loop().call_later(GRACE, job.task.cancel)
                if now() >= tidy_at:
                    await self.call("forget", [REQUESTS, COUNTS], GROUP, self.me, SILENT, "terminals:", 1)
                    swept = await self.call("sweep", SWEPT, GROUP, lost, REPLIES + ":", 45_000, "-requests", *ENDS)
                    tidy_at = now() + (0 if any(swept) else random.uniform(4, 6))
            await asyncio.sleep(min(1, LEASE / 3))

if __name__ == "__main__":
    asyncio.run(Worker(os.environ.get("BROKER_URL", "redis://127.0.0.1:6379"), handle).run())
