"""examples/worker.py as a worker of the chaos program, like chaos-worker in Rust: it notes each run in the ledger, misbehaves
where the request's name says so, and tells at /readyz whether it claims."""
import asyncio, os, pathlib, random, re, sys, time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "examples"))
import weather
import worker

NONCE = re.compile(r"(good|slow|panics|aborts)-[0-9a-f]{8}-[0-9]+")
LEDGER = os.open(os.environ["CHAOS_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
SLOW = float(os.environ.get("CHAOS_SLOW", "9s").removesuffix("s"))
LATENCY = [int(text) / 1000 for text in re.findall(r"([0-9]+)ms", os.environ.get("SIMULATED_LATENCY", ""))] or [0]


async def handle(data, job):
    city, _, _ = weather.read(data)
    if nonce := NONCE.fullmatch(city):
        # One write, so that lines of other workers do not mix with it.
        os.write(LEDGER, f"{city} {job.attempt} {os.getpid()} {time.time_ns() // 1000}\n".encode())
        match nonce[1]:
            case "slow":
                await asyncio.sleep(SLOW)
            case "panics":
                raise RuntimeError("a poisonous request, on purpose")
            case "aborts":
                os.abort()
    await asyncio.sleep(random.uniform(LATENCY[0], LATENCY[-1]))
    return await weather.handle(data, job)


async def main():
    one = worker.Worker(os.environ["BROKER_URL"], handle)

    async def answer(reader, writer):
        while await reader.readuntil(b"\r\n\r\n"):
            status = "503 Service Unavailable" if one.ahead is None else "200 OK"
            writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n".encode())
            await writer.drain()

    async def serve(reader, writer):
        try:
            await answer(reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    host, port = os.environ["LISTEN_ADDR"].rsplit(":", 1)
    server = await asyncio.start_server(serve, host, int(port))
    await one.run()
    server.close()


asyncio.run(main())
