"""How fast it is: every row of the speed table, beside the authors' way and, if asked for, an earlier commit.

    python training/benchmarks/speed.py --json speed.json                          # everything; most of an hour
    python training/benchmarks/speed.py --rows negatives,bias_mf --against 052ceef --repeats 7
    python training/benchmarks/speed.py --quick                                    # tiny data: does it run at all?
    python training/benchmarks/speed.py --from speed.json peers.json --markdown training/BENCHMARKS.md --plot speed.png

Preset `reference`, d = 32, batches of 4096, on the authors' MIND release; without it (`--data`), on made data of the
same size, and the table says so. Every row is measured by processes of its own: one with this checkout, one with the
checkout at `--against` (same environment), one that goes the authors' way (`authors_way.py`). They are asked in turn,
A B C A B C, so a busy machine slows all of them; the ratio is the median over the turns, of processor seconds. On one
thread these equal wall seconds when the machine is idle. Nothing here fails because something was slow.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from speed_markdown import merged, write_markdown
from speed_rows import BY_NAME, ROWS, WAYS, Row, shown_figure, verdict

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
MIND = REPOSITORY.parent / "shared" / "data" / "reclm-release" / "mind"
LIBRARIES = ("torch", "numpy", "scipy", "transformers", "numba")


class WorkerError(RuntimeError):
    """A measuring process ended before it answered."""


class Process:
    """A measuring process, which answers orders; see `speed_worker.py`."""

    def __init__(self, command: Sequence[str], threads: int, package: Path | None = None) -> None:
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
        environment = {**os.environ, **dict.fromkeys(names, str(threads)), "PYTHONPATH": str(package or "")}
        environment.setdefault("TOKENIZERS_PARALLELISM", "false")
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, env=environment
        )

    @classmethod
    def of_package(cls, package: Path, data: Path, quick: bool, threads: int) -> Process:
        """One that measures the package of a checkout."""
        command = [sys.executable, str(HERE / "speed_worker.py"), "--threads", str(threads), "--package", str(package)]
        return cls([*command, "--quick"] if quick else [*command, "--data", str(data)], threads, package)

    def ask(self, do: str, **given: Any) -> dict[str, Any]:
        """One order. Raises WorkerError with the end of what the process wrote."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps({"do": do, **given}), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self._errors.seek(0)
            raise WorkerError(f"{do} {given}: the measuring process ended.\n{self._errors.read()[-2000:]}")
        return dict(json.loads(answer))

    def end(self) -> None:
        """Let it go."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()
        self._errors.close()


class Processes:
    """Where each way of a row is measured: in a process of its own, or for `--quick` in one a package."""

    def __init__(self, packages: dict[str, Path], args: argparse.Namespace) -> None:
        self._packages, self._args, self.quick = packages, args, args.quick
        self._shared: dict[Path, Process] = {}

    def _start(self, package: Path) -> Process:
        return Process.of_package(package, self._args.data, self._args.quick, self._args.threads)

    @contextmanager
    def of(self, ways: Sequence[str]) -> Iterator[dict[str, Process]]:
        """Way -> process."""
        if self._args.quick:
            for way in ways:
                if self._packages[way] not in self._shared:
                    self._shared[self._packages[way]] = self._start(self._packages[way])
            yield {way: self._shared[self._packages[way]] for way in ways}
            return
        with ExitStack() as stack:
            processes = {way: self._start(self._packages[way]) for way in ways}
            for process in processes.values():
                stack.callback(process.end)
            yield processes

    def end(self) -> None:
        """End those that are shared."""
        for process in self._shared.values():
            process.end()


def measured(row: Row, processes: Processes, ways: Sequence[str], repeats: int) -> dict[str, Any]:
    """The figures of a row: way -> figures, and `ratios`: way -> how many times as long it took as now."""
    ways = [way for way in ways if way != "authors" or row.other]
    with processes.of(ways) as workers:
        opened = {way: workers[way].ask("open", row=row.name, way=way) for way in ways}
        found = {way: {"skipped": answer["skipped"]} for way, answer in opened.items() if "skipped" in answer}
        ready = [way for way in ways if way not in found]
        samples: dict[str, list[dict[str, Any]]] = {way: [] for way in ready}
        for _ in range(repeats):
            for way in ready:
                samples[way].append(workers[way].ask("sample", way=way))
        for way in ready:
            found[way] = {**figures(samples[way]), **opened[way]["facts"]}
            if opened[way]["has_whole"]:
                found[way]["whole"] = workers[way].ask("sample", way=way, whole=True)
            found[way] |= workers[way].ask("close", way=way)
    found["quick"] = processes.quick
    if "now" in ready:
        own = samples["now"]
        found["ratios"] = {
            way: median(one["cpu"] / now["cpu"] for one, now in zip(samples[way], own, strict=True))
            for way in ready
            if way != "now"
        }
        found["disagreement"] = {way: _apart(found["now"], found[way]) for way in ready if way != "now"}
    return found


def figures(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    parts = {name: [one[name] for one in samples] for name in ("wall", "cpu", "load")}
    return {name: {"median": median(all_), "min": min(all_), "all": all_} for name, all_ in parts.items()}


def _apart(own: dict[str, Any], other: dict[str, Any]) -> float | None:
    """Largest relative difference of the values that both ways must agree in; None where there are none."""
    pairs = [(own["check"][name], other["check"][name]) for name in own["check"] if name in other["check"]]
    return max((abs(a - b) / max(abs(a), abs(b), 1e-12) for a, b in pairs), default=None)


def cpu_model() -> str:
    """As the system names it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def machine(threads: int) -> dict[str, Any]:
    """What it was measured on."""
    versions: dict[str, str | None] = {}
    for library in LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            versions[library] = None
    found = {"cpu": cpu_model(), "cores": os.cpu_count(), "threads": threads, "load": os.getloadavg()[0]}
    return {**found, "python": platform.python_version(), "versions": versions}


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


@contextmanager
def earlier_checkout(commit: str | None) -> Iterator[Path | None]:
    """A worktree of the commit in a temporary folder, gone afterwards."""
    if commit is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "earlier"
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the worktree must go then too
        _git("worktree", "add", "--detach", str(path), commit)
        try:
            yield path
        finally:
            _git("worktree", "remove", "--force", str(path))


def commit_now() -> str:
    """Short hash, with a plus where files were changed; "" outside a repository."""
    if not (REPOSITORY / ".git").exists():
        return ""
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return _git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def line_of(row: Row, found: dict[str, Any]) -> str:
    """A row in a line."""
    cells = []
    for way in WAYS:
        figures = found.get(way, {})
        if "skipped" in figures:
            return f"{row.name:<12}{way} skipped: {figures['skipped'][:80]}"
        if "cpu" in figures:
            ratio = f" ({found['ratios'][way]:.2f} x)" if way in found.get("ratios", {}) else ""
            cells.append(f"{way} {shown_figure(row, figures['cpu']['median'])}{ratio}")
    peak = f"{found['now']['peak_mib']:.0f} MiB" if "now" in found else ""
    return f"{row.name:<12}{', '.join(cells)}; {peak} {verdict(row, found)}"


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure the rows that are asked for."""
    names = args.rows or [row.name for row in ROWS if not (args.quick and row.long)]
    rows, failed = {}, []
    with earlier_checkout(args.against) as earlier:
        packages = {"now": REPOSITORY, "authors": REPOSITORY} | ({"earlier": earlier} if earlier else {})
        ways = [way for way in args.ways if way in packages]
        processes = Processes(packages, args)
        try:
            for name in names:
                try:
                    rows[name] = measured(BY_NAME[name], processes, ways, args.repeats)
                    print(line_of(BY_NAME[name], rows[name]), flush=True)
                except WorkerError as error:
                    failed.append(name)
                    print(f"{name}: {error}", file=sys.stderr, flush=True)
        finally:
            processes.end()
    found = {"kind": "speed", "machine": machine(args.threads), "quick": args.quick, "repeats": args.repeats}
    commits = {"now": commit_now(), "earlier": _git("rev-parse", "--short", args.against) if args.against else None}
    return {**found, "commits": commits, "command": _command(args), "rows": rows, "failed": failed}


def _command(args: argparse.Namespace) -> str:
    parts = ["python training/benchmarks/speed.py"]
    parts += ["--quick"] if args.quick else []
    parts += [f"--rows {','.join(args.rows)}"] if args.rows else []
    parts += [f"--against {args.against}"] if args.against else []
    parts += [f"--ways {','.join(args.ways)}"] if tuple(args.ways) != WAYS else []
    return " ".join([*parts, f"--repeats {args.repeats}", f"--threads {args.threads}"])


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny made data, one process, no long rows")
    parser.add_argument("--data", type=Path, default=MIND, help="the release's folder of MIND")
    parser.add_argument("--rows", type=_names, help=f"some of {', '.join(BY_NAME)}")
    parser.add_argument("--ways", type=_names, default=list(WAYS), help=f"some of {', '.join(WAYS)}")
    parser.add_argument("--against", metavar="COMMIT", help="also measure the package of this commit")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--from", dest="sources", type=Path, nargs="+", metavar="FILE", help="measure nothing, read")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a PNG")
    args = parser.parse_args(argv)
    unknown = set(args.rows or []) - set(BY_NAME) | set(args.ways) - set(WAYS)
    if unknown or args.repeats < 1 or args.threads < 1:
        parser.error(f"unknown: {', '.join(sorted(unknown))}" if unknown else "--repeats and --threads: 1 or more")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Measure or read, and write what is asked for; 1 where a row could not be measured."""
    args = parse(argv)
    if args.sources:
        parts = [json.loads(path.read_text(encoding="utf-8")) for path in args.sources]
    else:
        parts = [run(args)]
    for path in filter(None, (args.json, args.markdown, args.plot)):
        path.parent.mkdir(parents=True, exist_ok=True)
    if args.json and not args.sources:
        args.json.write_text(json.dumps(parts[0], indent=1) + "\n", encoding="utf-8")
    if args.markdown:
        write_markdown(parts, args.markdown)
    if args.plot:
        from speed_plot import write_plot

        write_plot(merged(parts)["rows"], args.plot)
    return int(any(part.get("failed") for part in parts))


if __name__ == "__main__":
    sys.exit(main())
