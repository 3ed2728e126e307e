"""What examples/worker.py does when it is treated badly. Each check is a function, on a redis-server of its own; workers are
processes, made by worker.py beside this. Conditions are waited for, never a time."""
import contextlib, json, os, pathlib, signal, socket, subprocess, sys, tempfile, time, uuid

import redis

HERE, PATIENCE = pathlib.Path(__file__).parent, 60
REQUESTS, GROUP, REPLIES = "weather-requests", "processing-group", "weather-responses:me"


def until(condition, what):
    """Waits for a condition, and returns what it says."""
    deadline = time.monotonic() + PATIENCE
    while not (said := condition()):
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.02)
    return said


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Stage:
    """A redis-server, workers, and a requester."""

    def __init__(self, directory):
        self.directory, self.workers, port = pathlib.Path(directory), [], free_port()
        words = ["redis-server", "--port", str(port), "--save", "", "--dir", directory, "--logfile", "redis.log"]
        self.server = subprocess.Popen([os.environ.get("REDIS_SERVER", words[0]), *words[1:]])
        self.url, self.redis = f"redis://127.0.0.1:{port}", redis.Redis(port=port, protocol=2, retry=None)
        until(self.answers, "redis-server answers")
        self.redis.xgroup_create(REPLIES, "unused", mkstream=True)

    def answers(self):
        with contextlib.suppress(redis.ConnectionError):
            return self.redis.ping()

    def start(self, **variables):
        port = free_port()
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ["PYTHONPATH"], "BROKER_URL": self.url,
                       "LISTEN_ADDR": f"127.0.0.1:{port}", "CHAOS_LEDGER": str(self.directory / "ledger"), **variables}
        log = open(self.directory / "workers.log", "ab")
        one = subprocess.Popen([sys.executable, "-B", HERE / "worker.py"], env=environment, stdout=log, stderr=log)
        self.workers.append(one)
        return one

    def ask(self, city, budget=60_000, **more):
        id, data = str(uuid.uuid4()), json.dumps({"city": city} if isinstance(city, str) else city)
        entry = {"requestId": id, "replyTo": "me", "budgetMs": budget, "traceparent": "", "data": data, **more}
        entry = {name: value for name, value in entry.items() if value is not None}
        self.entry = self.redis.xadd(REQUESTS, entry).decode()
        return id

    def replies(self, id=None):
        all = [fields for _, fields in self.redis.xrange(REPLIES)]
        return [fields for fields in all if id is None or fields[b"requestId"].decode() == id]

    def reply(self, id):
        """The reply: its status, and its data."""
        found = until(lambda: self.replies(id), f"a reply to {id}")[0]
        return found[b"status"].decode(), json.loads(found[b"data"])

    def letters(self):
        return self.redis.xrange("weather-dead-letters")

    def runs(self, city):
        """Deliveries and pids of the runs of what asked for a city."""
        with contextlib.suppress(FileNotFoundError):
            lines = [line.split() for line in (self.directory / "ledger").read_text().splitlines()]
            return [(int(attempt), int(pid)) for name, attempt, pid, _ in lines if name == city]
        return []

    def ran(self, city, times=1):
        return until(lambda: len(self.runs(city)) >= times and self.runs(city), f"run {times} of {city}")

    def consumers(self):
        with contextlib.suppress(redis.ResponseError):
            return self.redis.xinfo_consumers(REQUESTS, GROUP)
        return []

    def is_settled(self):
        """Nothing waits, nothing is pending, and nobody got two replies."""
        until(lambda: self.redis.xlen(REQUESTS) == 0, "an empty stream")
        assert self.redis.xpending(REQUESTS, GROUP)["pending"] == 0
        ids = [fields[b"requestId"] for fields in self.replies()]
        assert len(ids) == len(set(ids)), ids

    def end(self):
        for process in [*self.workers, self.server]:
            process.kill()
            process.wait()


def an_answer_has_all_fields(stage):
    stage.start()
    id = stage.ask(" Oslo ", unknown="field")
    status, answer = stage.reply(id)
    assert status == "ok" and [answer[name] for name in ("city", "location", "requestId")] == ["Oslo", None, id], answer
    assert list(answer)[3:] == ["forecastTime", "temperature", "condition", "humidity", "windSpeed"], answer
    status, days = stage.reply(stage.ask({"city": "Oslo", "days": 16}))
    assert status == "ok" and len(days) == 16, days
    assert list(days[0]) == ["date", "temperatureC", "temperatureF", "summary"], days
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    names = ["data", '{"city":"Oslo"}', "requestId", first, "replyTo", "me", "requestId", second, "budgetMs", "60000"]
    stage.redis.execute_command("XADD", REQUESTS, "*", *names)
    assert stage.reply(first)[0] == "ok" and not stage.replies(second), "of two fields with one name the first counts"
    stage.is_settled()
    assert set(stage.redis.keys()) == {REQUESTS.encode(), REPLIES.encode()}, stage.redis.keys()


def data_that_does_not_fit_is_invalid(stage):
    stage.start()
    for city in ("", "\u0000", "x" * 101, 7, None, {"city": "Oslo", "days": 17}, {"city": "Oslo", "days": True}, [], {},
                 {"city": "Oslo", "location": 1}, {"city": "\ud800"}):
        status, fault = stage.reply(stage.ask(city))
        assert (status, fault["code"]) == ("fault", "invalid"), (city, fault)
    for data in (b"", b"{", b"\xff\xfe", b"[" * 100_000, b'"Oslo"'):
        status, fault = stage.reply(stage.ask("Oslo", data=data))
        assert (status, fault["code"]) == ("fault", "invalid"), (data[:9], fault)
    stage.is_settled()


def a_malformed_entry_becomes_a_dead_letter(stage):
    stage.start()
    for wrong, name in (({"budget": "-1"}, "budgetMs"), ({"budget": 86_400_001}, "budgetMs"), ({"data": None}, "data"),
                        ({"budget": "1\n"}, "budgetMs"), ({"budget": "\u0663"}, "budgetMs")):
        id = stage.ask("Oslo", **wrong)
        status, fault = stage.reply(id)
        assert (status, fault["code"]) == ("fault", "invalid") and f"field {name}:" in fault["detail"], fault
        letter, fields = stage.letters()[-1]
        assert stage.replies(id)[0][b"deadLetter"] == letter and fields[b"entryId"].decode() == stage.entry
    for wrong in ({"requestId": "OSLO"}, {"replyTo": "a:b"}, {"requestId": None, "replyTo": None}):
        before = len(stage.letters())
        stage.ask("Oslo", **wrong)
        until(lambda: len(stage.letters()) > before, "a dead letter")
    strange = [b"\xff\x00", b"x" * 70_000, b"budgetMs", b"1", b"budgetMs", b"2"]
    stage.redis.execute_command("XADD", REQUESTS, "*", *strange)
    stage.redis.response_callbacks.pop("XREVRANGE")
    newest = lambda: stage.redis.xrevrange("weather-dead-letters", count=1)[0][1]
    until(lambda: newest()[8] == strange[0], "its letter")
    last = newest()
    assert last[8:] == [word[:65_536] for word in strange] and last[2:4] == [b"attempts", b"1"], last[:4]
    assert len(stage.replies()) == 5 and len(stage.letters()) == 9, (len(stage.replies()), len(stage.letters()))
    until(lambda: stage.redis.hget("weather-counts", "discarded") == b"9", "nine that were counted as discarded")
    stage.is_settled()


def time_that_is_over_is_told(stage):
    late = stage.ask("good-00000001-1", budget=0)
    stage.start()
    assert stage.reply(late)[1]["code"] == "expired" and not stage.runs("good-00000001-1")
    begun = time.monotonic()
    assert stage.reply(stage.ask("slow-00000001-2", budget=1_500))[1]["code"] == "expired"
    assert stage.ran("slow-00000001-2") and time.monotonic() - begun < 9, "it waited for the work"
    stage.is_settled()
    until(lambda: stage.redis.hget("weather-counts", "discarded") == b"2", "two that were counted as discarded")


def work_that_lasts_longer_than_a_lease_is_done_once(stage):
    for _ in range(2):
        stage.start(LEASE="1s", CHAOS_SLOW="5s")
    assert stage.reply(stage.ask("slow-00000001-1"))[0] == "ok"
    assert [attempt for attempt, _ in stage.runs("slow-00000001-1")] == [1]
    stage.is_settled()


def a_worker_that_dies_is_replaced_by_another(stage):
    first = stage.start(LEASE="1s", CHAOS_SLOW="3s")
    id = stage.ask("slow-00000001-1")
    assert stage.ran("slow-00000001-1") == [(1, first.pid)]
    second = stage.start(LEASE="1s", CHAOS_SLOW="3s")
    first.kill()
    assert stage.reply(id)[0] == "ok" and stage.runs("slow-00000001-1")[1:] == [(2, second.pid)]
    stage.is_settled()
    until(lambda: len(stage.consumers()) == 1, "the dead one's consumer is forgotten")


def a_worker_that_stood_still_changes_nothing(stage):
    first = stage.start(LEASE="1s", CHAOS_SLOW="2s")
    id = stage.ask("slow-00000001-1")
    stage.ran("slow-00000001-1")
    first.send_signal(signal.SIGSTOP)
    stage.start(LEASE="1s", CHAOS_SLOW="2s")
    assert stage.reply(id)[0] == "ok"
    first.send_signal(signal.SIGCONT)
    stage.redis.delete(REPLIES), stage.redis.xgroup_create(REPLIES, "unused", mkstream=True)
    assert all(stage.reply(stage.ask("Oslo"))[0] == "ok" for _ in range(20))
    stage.is_settled()
    assert not stage.replies(id), "it answered as well"


def a_poison_message_ends_as_a_dead_letter(stage):
    id = stage.ask("aborts-00000001-1")

    def is_set_aside():
        if all(worker.poll() is not None for worker in stage.workers):
            stage.start(LEASE="1s", MAX_DELIVERIES="3")
        return stage.letters()

    until(is_set_aside, "its dead letter")
    assert [attempt for attempt, _ in stage.runs("aborts-00000001-1")] == [1, 2, 3]
    assert stage.reply(id)[1]["code"] == "dead-lettered"
    letter, fields = stage.letters()[0]
    assert fields[b"reason"] == b"delivered 3 times without an answer" and fields[b"attempts"] == b"3", fields
    assert stage.replies(id)[0][b"deadLetter"] == letter and fields[b"requestId"].decode() == id
    stage.is_settled()


def a_handler_that_fails_makes_a_dead_letter_at_once(stage):
    stage.start()
    assert stage.reply(stage.ask("panics-00000001-1"))[1]["code"] == "dead-lettered"
    assert b"on purpose" in stage.letters()[0][1][b"lastError"] and len(stage.runs("panics-00000001-1")) == 1
    stage.is_settled()


def record(stage, id):
    """As submit.lua makes it, less what nobody reads here."""
    fields = {"status": "queued", "created": 1, "entry": stage.entry, "ttl": 60_000, "max": 1000, "attempts": 0}
    stage.redis.hset(f"weather-result:{id}", mapping={**fields, "version": 1})
    stage.redis.zadd("weather-results:queued", {id: 0})


def ended(stage, id):
    status = lambda: stage.redis.hget(f"weather-result:{id}", "status").decode()
    until(lambda: status() not in ("queued", "processing"), f"the end of {id}")
    assert stage.redis.zscore(f"weather-results:{status()}", id) == 0 and stage.redis.pttl(f"weather-result:{id}") > 0
    return status(), json.loads(stage.redis.hget(f"weather-result:{id}", "data"))


def a_job_has_its_result_in_its_record(stage):
    id = stage.ask("good-00000001-1", keep="only")
    record(stage, id)
    stage.start()
    status, answer = ended(stage, id)
    assert status == "succeeded" and answer["requestId"] == id and not stage.replies()
    assert stage.redis.hget(f"weather-result:{id}", "attempts") == b"1"
    stage.is_settled()


def what_was_cancelled_ends(stage):
    waits = stage.ask("good-00000001-1", keep="only")
    record(stage, waits)
    stage.redis.hset(f"weather-result:{waits}", "cancel", 1)
    stage.start(CANCEL_GRACE="0.1s", CHAOS_SLOW="50s")
    assert ended(stage, waits)[0] == "cancelled" and not stage.runs("good-00000001-1")
    runs = stage.ask("slow-00000001-2", keep="reply")
    record(stage, runs)
    stage.ran("slow-00000001-2")
    stage.redis.zadd("weather-cancelling", {runs: time.time() * 1000 + 60_000})
    assert ended(stage, runs)[0] == "cancelled" and stage.reply(runs)[1]["code"] == "cancelled"
    stage.is_settled()
    assert not stage.redis.exists("weather-cancelling")


def a_worker_that_is_asked_to_leave_finishes(stage):
    one = stage.start(CHAOS_SLOW="3s")
    id = stage.ask("slow-00000001-1")
    stage.ran("slow-00000001-1")
    one.terminate()
    stays = stage.ask("Oslo")
    assert one.wait(PATIENCE) == 0 and stage.reply(id)[0] == "ok" and not stage.replies(stays)
    assert not stage.consumers() and len(stage.runs("slow-00000001-1")) == 1
    stage.start()
    assert stage.reply(stays)[0] == "ok"
    stage.is_settled()


def a_worker_that_has_no_time_hands_back(stage):
    one = stage.start(LEASE="600s", DRAIN_TIMEOUT="0.2s", CHAOS_SLOW="3s")
    id = stage.ask("slow-00000001-1")
    stage.ran("slow-00000001-1")
    one.terminate()
    assert one.wait(PATIENCE) == 0
    stage.start(LEASE="600s", CHAOS_SLOW="3s")
    assert stage.reply(id)[0] == "ok" and [attempt for attempt, _ in stage.runs("slow-00000001-1")] == [1, 2]
    stage.is_settled()


def lost_data_is_survived(stage):
    stage.start(CHAOS_SLOW="2s")
    for lose in (stage.redis.flushall, lambda: stage.redis.xgroup_destroy(REQUESTS, GROUP), stage.redis.script_flush,
                 lambda: stage.redis.client_kill_filter(_type="normal", skipme=True)):
        number = f"slow-00000001-{uuid.uuid4().int}"
        id = stage.ask(number)
        stage.ran(number)
        lose()
        assert stage.reply(stage.ask("Oslo"))[0] == "ok"
        assert lose == stage.redis.flushall or stage.reply(id)[0] == "ok"
        stage.is_settled()


def reply_streams_of_those_who_are_gone_are_not_made_anew(stage):
    stage.start()
    stage.redis.zadd("weather-requesters-gone", {"dead": time.time() * 1000})
    late = stage.ask("Oslo", replyTo="dead")
    assert ended_or_none(stage, late) == "succeeded" and not stage.redis.exists("weather-responses:dead")
    cut_off = stage.ask("Oslo", replyTo="new")
    until(lambda: stage.redis.xlen("weather-responses:new"), f"a reply to {cut_off}")
    assert stage.redis.zscore("weather-requesters", "new")
    stage.is_settled()


def ended_or_none(stage, id):
    return until(lambda: stage.redis.hget(f"weather-result:{id}", "status"), f"a record of {id}").decode()


CHECKS = [an_answer_has_all_fields, data_that_does_not_fit_is_invalid, a_malformed_entry_becomes_a_dead_letter,
          time_that_is_over_is_told, work_that_lasts_longer_than_a_lease_is_done_once,
          a_worker_that_dies_is_replaced_by_another, a_worker_that_stood_still_changes_nothing,
          a_poison_message_ends_as_a_dead_letter, a_handler_that_fails_makes_a_dead_letter_at_once,
          a_job_has_its_result_in_its_record, what_was_cancelled_ends, a_worker_that_is_asked_to_leave_finishes,
          a_worker_that_has_no_time_hands_back, lost_data_is_survived,
          reply_streams_of_those_who_are_gone_are_not_made_anew]


def main():
    failed = 0
    for check in CHECKS:
        if sys.argv[1:] and check.__name__ not in sys.argv[1:]:
            continue
        with tempfile.TemporaryDirectory() as directory:
            stage, begun = Stage(directory), time.monotonic()
            try:
                check(stage)
                print(f"ok      {check.__name__} ({time.monotonic() - begun:.1f} s)", flush=True)
            except Exception as error:
                failed += 1
                print(f"FAILED  {check.__name__}: {type(error).__name__}: {error}", flush=True)
                print((stage.directory / "workers.log").read_text()[-3000:])
            finally:
                stage.end()
    sys.exit(1 if failed else 0)


main()
