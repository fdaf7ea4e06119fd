"""How fast a Space is: from its start to the first answer, one visitor's calls, and many visitors at once.

    python training/benchmarks/space.py runs/demo                          # what a run shows
    python training/benchmarks/space.py runs/demo --items 10000 --json space.json

`reclm space` is started as a process of its own and asked over HTTP by `gradio_client`, as any client of the API would.
Every call asks something else (users, texts, histories), so that nothing is answered from memory. With `--items`,
invented cold items are added to the recommender until it has so many: time depends on their number, not on what they
are. On a busy machine look at the milliseconds of processor time that the Space itself took for a call.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from reclm_hf.space.parts import located
from reclm_hf.space.settings import SETTINGS_FILE, Settings, read_settings, write_settings
from reclm_hf.space.sources import settings_of

if TYPE_CHECKING:
    from reclm_hf.recommender.catalog import Catalog

START_SECONDS = 300
WARM_CALLS = 2
ROUNDS = 3
WORDS = ("space", "robots", "love", "war", "comedy", "horror", "crime", "music", "family", "history", "magic", "sport")

Client = Any  # of gradio_client
Ask = Callable[[Client], None]


@dataclass(frozen=True)
class Latency:
    """Milliseconds of calls: the first one, then median, 95th percentile and slowest of the others.

    cpu: mean milliseconds of processor time, all threads of the Space together.
    """

    calls: int
    first: float
    median: float
    p95: float
    slowest: float
    cpu: float


@dataclass(frozen=True)
class Crowd:
    """Visitors at once, each with calls of every API in turn: milliseconds a call, and calls a second of all.

    cpu: as in `Latency`.
    """

    visitors: int
    calls: int
    errors: list[str]
    median: float
    p95: float
    slowest: float
    per_second: float
    cpu: float


def main() -> None:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="folder of a run or of a recommender, or a Hub id")
    parser.add_argument("--items", type=int, help="add cold items until there are so many")
    parser.add_argument("--calls", type=int, default=30, help="of each API (default 30)")
    parser.add_argument("--visitors", type=int, default=20, help="at once (default 20)")
    parser.add_argument("--json", type=Path, help="write the figures there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, catalog = prepared(args.source, args.items, Path(folder))
        found = measure(source, catalog, args.calls, args.visitors)
    print("\n".join(lines(found)))
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=2) + "\n")


def prepared(source: str, n_items: int | None, folder: Path) -> tuple[str, Catalog]:
    """What to start, and its catalogue. With `n_items`, a grown copy of the recommender is written to the folder."""
    path = Path(source).expanduser()
    settings = read_settings(path, os.environ) if (path / SETTINGS_FILE).is_file() else settings_of(source)
    name, revision = located(settings.recommender)
    model: RecLMRecommender = RecLMRecommender.from_pretrained(name, revision=revision).eval()
    if n_items is None:
        return source, model.catalog
    if n_items < model.catalog.n_items:
        raise SystemExit(f"{source} has {model.catalog.n_items:,} items already: give --items a larger number.")
    add_invented(model, n_items - model.catalog.n_items)
    model.save_pretrained(folder / "recommender")
    write_settings(absolute(replace(settings, recommender=str(folder / "recommender"))), folder)
    return str(folder), model.catalog


def add_invented(model: RecLMRecommender, count: int) -> None:
    """Add cold items whose texts are like those of items drawn at random."""
    import pandas as pd

    if not count:
        return
    rng, text = np.random.default_rng(0), model.item_text.numpy()
    like = text[rng.integers(0, len(text), count)]
    noise = rng.standard_normal(like.shape) / np.sqrt(like.shape[1])
    vectors = (like + 0.5 * noise + model.text_mean.numpy()).astype(np.float32)
    names = [f"invented {number}" for number in range(count)]
    model.add_items(pd.DataFrame({"item_id": names, "title": [f"An {name} item" for name in names]}), vectors=vectors)


def absolute(settings: Settings) -> Settings:
    """The settings with whole paths in the place of folders, to be written anywhere."""
    named = {name: value for name, value in asdict(settings).items() if name != "title" and value is not None}
    return replace(
        settings, **{name: str(Path(value).resolve()) for name, value in named.items() if Path(value).is_dir()}
    )


def measure(source: str, catalog: Catalog, calls: int, visitors: int) -> dict[str, Any]:
    """Start a Space and ask it everything; the figures as plain values."""
    asked = Questions(catalog)
    with serving(source) as (space, started):
        page = {"page_seconds": time.monotonic() - started, "page_cpu_seconds": space.cpu()}
        client = client_of(space.url)
        asked.draw("recommend_user")(client)
        start = {**page, "api_seconds": time.monotonic() - started, "api_cpu_seconds": space.cpu()}
        apis = {name: asdict(latency(space, client, partial(asked.draw, name), calls)) for name in asked.names}
        crowd = asdict(at_once(space, asked, visitors))
        memory = space.peak_memory()
    size = {"users": catalog.n_users, "items": catalog.n_items}
    where = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "threads": os.environ.get("OMP_NUM_THREADS")}
    return {"source": source, **size, **where, "peak_memory_mb": memory, "start": start, "apis": apis, "at_once": crowd}


@dataclass(frozen=True)
class Space:
    """A running Space."""

    url: str
    process: subprocess.Popen[bytes]

    def cpu(self) -> float:
        """Seconds of processor time that it has taken; NaN where the system does not say."""
        stat = Path(f"/proc/{self.process.pid}/stat")
        if not stat.is_file():
            return float("nan")
        after_name = stat.read_text().rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")

    def peak_memory(self) -> float | None:
        """Megabytes that it held at most; None where the system does not say."""
        status = Path(f"/proc/{self.process.pid}/status")
        said = status.read_text().splitlines() if status.is_file() else []
        return next((int(line.split()[1]) / 1024 for line in said if line.startswith("VmHWM")), None)


@contextmanager
def serving(source: str) -> Iterator[tuple[Space, float]]:
    """A Space whose page is there, and when its process was started, on the clock of `time.monotonic`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "reclm_hf.commands.main", "space", source, "--port", str(port)]
    with tempfile.TemporaryFile() as log:
        started = time.monotonic()
        space = Space(f"http://127.0.0.1:{port}", subprocess.Popen(command, stdout=log, stderr=log))
        try:
            while not answers(space.url):
                if space.process.poll() is not None or time.monotonic() - started > START_SECONDS:
                    log.seek(0)
                    raise SystemExit(f"{' '.join(command)}: does not serve.\n{log.read().decode()}")
                time.sleep(0.02)
            yield space, started
        finally:
            space.process.terminate()
            space.process.wait()


def answers(url: str) -> bool:
    """Whether the page is there."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


class Questions:
    """Calls of the APIs, every one another; several threads may draw them."""

    names = ("recommend_user", "recommend_profile", "recommend_history", "place_item")

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._rng = np.random.default_rng(0)
        self._lock = threading.Lock()

    def draw(self, name: str) -> Ask:
        """One call of an API."""
        with self._lock:
            given = getattr(self, f"_{name}")()
        return partial(_call, name, given)

    def _recommend_user(self) -> dict[str, Any]:
        return {"user_id": self._catalog.user_ids[self._rng.integers(self._catalog.n_users)]}

    def _recommend_profile(self) -> dict[str, Any]:
        return {"profile": f"User interests: {self._words(4)}"}

    def _recommend_history(self) -> dict[str, Any]:
        chosen = self._rng.integers(0, self._catalog.n_items, 5)
        return {"item_ids": [self._catalog.item_ids[item] for item in chosen]}

    def _place_item(self) -> dict[str, Any]:
        return {"title": self._words(3), "text": self._words(12)}

    def _words(self, count: int) -> str:
        return f"{' '.join(self._rng.choice(WORDS, count))} {self._rng.integers(10**9)}"


def _call(name: str, given: dict[str, Any], client: Client) -> None:
    client.predict(**given, api_name=f"/{name}")


def client_of(url: str) -> Client:
    """A client of the API, as any program would have."""
    from gradio_client import Client  # type: ignore[import-untyped]

    return Client(url, verbose=False)


def timed(client: Client, ask: Ask) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    ask(client)
    return 1000 * (time.perf_counter() - start)


def latency(space: Space, client: Client, draw: Callable[[], Ask], calls: int) -> Latency:
    """One visitor's calls, one after the other."""
    first, *_ = [timed(client, draw()) for _ in range(WARM_CALLS)]
    before = space.cpu()
    spent = [timed(client, draw()) for _ in range(calls)]
    cpu = 1000 * (space.cpu() - before) / calls
    return Latency(calls, first, median(spent), float(np.percentile(spent, 95)), max(spent), cpu)


def at_once(space: Space, asked: Questions, visitors: int) -> Crowd:
    """Visitors who all begin together and ask every API several times."""
    clients = [client_of(space.url) for _ in range(visitors)]
    errors: list[str] = []
    begin = threading.Barrier(visitors)

    def visit(client: Client) -> list[float]:
        begin.wait()
        spent = []
        for name in asked.names * ROUNDS:
            try:
                spent.append(timed(client, asked.draw(name)))
            except Exception as error:  # counted and shown, whatever it is
                errors.append(f"{name}: {type(error).__name__}: {error}")
        return spent

    before, start = space.cpu(), time.perf_counter()
    with ThreadPoolExecutor(visitors) as pool:
        spent = [one for many in pool.map(visit, clients) for one in many]
    seconds, calls = time.perf_counter() - start, visitors * ROUNDS * len(asked.names)
    known = spent or [float("nan")]
    figures = (median(known), float(np.percentile(known, 95)), max(known), len(spent) / seconds)
    return Crowd(visitors, calls, errors, *figures, 1000 * (space.cpu() - before) / calls)


def lines(found: dict[str, Any]) -> Iterator[str]:
    """The figures as text."""
    start, crowd = found["start"], found["at_once"]
    size = f"{found['users']:,} users, {found['items']:,} items"
    yield f"{found['source']}: {size}; {found['cores']} cores, load {found['load']:.1f}"
    for name, what in (("page", "the page"), ("api", "the first answer of the API")):
        yield f"{what} after {start[f'{name}_seconds']:.1f} s ({start[f'{name}_cpu_seconds']:.1f} s of processor time)"
    yield f"{'milliseconds':<20}{'first':>8}{'median':>8}{'p95':>8}{'slowest':>9}{'processor':>11}"
    for name, one in found["apis"].items():
        shown = f"{one['first']:>8.0f}{one['median']:>8.0f}{one['p95']:>8.0f}{one['slowest']:>9.0f}{one['cpu']:>11.0f}"
        yield f"{name:<20}{shown}"
    shown = f"{crowd['median']:.0f} ms median, {crowd['p95']:.0f} ms p95, {crowd['slowest']:.0f} ms slowest"
    yield f"{crowd['visitors']} visitors at once: {crowd['calls']} calls, {len(crowd['errors'])} errors, {shown},"
    yield f"  {crowd['per_second']:.1f} calls a second, {crowd['cpu']:.0f} ms of processor time each"
    yield from (f"  {error}" for error in crowd["errors"][:5])
    if found["peak_memory_mb"] is not None:
        yield f"peak memory {found['peak_memory_mb']:,.0f} MB"


if __name__ == "__main__":
    main()
