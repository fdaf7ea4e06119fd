"""An epoch of other libraries beside ours: the same train interactions, d = 32, measured in turn.

    python training/benchmarks/peers.py --python recbole/bin/python --peers recbole-bpr,recbole-lightgcn --json rb.json
    python training/benchmarks/peers.py --python others/bin/python --peers implicit-bpr,cornac-bpr --json others.json

Each peer is installed in an environment of its own. That of RecBole, which stops at NumPy 1 and pandas 2 and pins
packages that are not needed here:

    python3.11 -m venv recbole
    recbole/bin/pip install torch==2.13.0 "numpy<2" "pandas<3" scipy
    recbole/bin/pip install --no-deps recbole==1.2.1
    recbole/bin/pip install colorlog==4.7.2 colorama==0.4.4 scikit-learn tensorboard thop tabulate texttable psutil \\
        tqdm pyyaml "numpy<2"

The others: `pip install implicit cornac`. Their BPR is stochastic gradient descent over single triples, another
algorithm; RecBole's is batched with Adam as ours. Ours also learns a projection of item texts; theirs know ids alone.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import speed_data
from speed import HERE, MIND, REPOSITORY, Process, WorkerError, cpu_model, figures

# peer -> (library, model, row of the speed table that it stands beside, settings)
KNOWN = {
    "recbole-bpr": ("recbole", "BPR", "bias_mf", "Adam 1e-3, batches of 4096"),
    "recbole-lightgcn": ("recbole", "LightGCN, 2 layers", "lightgcn", "Adam 1e-3, batches of 4096"),
    "implicit-bpr": ("implicit", "BPR", "bias_mf", "SGD over single triples, compiled"),
    "cornac-bpr": ("cornac", "BPR", "bias_mf", "SGD over single triples, compiled"),
}
TITLES = {"recbole": "RecBole", "implicit": "implicit", "cornac": "Cornac"}


def measured(name: str, pairs: Path, args: argparse.Namespace) -> dict[str, Any]:
    """A peer and ours in turn; `skipped` where the peer is not installed in that environment, or does not run."""
    library, model, row, settings = KNOWN[name]
    theirs = Process([args.python, str(HERE / "peers_worker.py"), name, str(pairs)], args.threads)
    ours = Process.of_package(REPOSITORY, args.data, args.quick, args.threads)
    try:
        try:
            opened = theirs.ask("open")
        except WorkerError as error:
            return {"skipped": str(error)}
        if "skipped" in opened:
            return opened
        ours.ask("open", row=row, way="now")
        samples = [(theirs.ask("sample"), ours.ask("sample", way="now")) for _ in range(args.repeats)]
    finally:
        theirs.end()
        ours.end()
    found = {"peer": f"{TITLES[library]} {opened['versions'][library]}", "model": model, "row": row}
    ratio = median(other["cpu"] / own["cpu"] for other, own in samples)
    own = figures([own for _, own in samples])
    more = {"settings": settings, "now": own, "ratio": ratio, "versions": opened["versions"]}
    return {**found, **more, "python": opened["python"], **figures([other for other, _ in samples])}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, metavar="PATH", help="of an environment with the peers")
    parser.add_argument("--peers", default=",".join(KNOWN), help=f"some of {', '.join(KNOWN)}")
    parser.add_argument("--data", type=Path, default=MIND, help="the release's folder of MIND")
    parser.add_argument("--quick", action="store_true", help="tiny made data")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    args = parser.parse_args(argv)
    names = args.peers.split(",")
    unknown = set(names) - set(KNOWN)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    data, peers, missing = speed_data.load(args.data, args.quick), [], {}
    with tempfile.TemporaryDirectory() as folder:
        pairs = Path(folder) / "pairs.npy"
        np.save(pairs, np.stack([data.split.history_user, data.split.history_item]).astype(np.int64))
        for name in names:
            found = measured(name, pairs, args)
            if "skipped" in found:
                missing[name] = found["skipped"]
                print(f"{name}: {found['skipped']}")
                continue
            peers.append(found)
            own = found["now"]["cpu"]["median"]
            print(
                f"{name}: {found['cpu']['median']:.3g} s an epoch, ours {own:.3g} s, {found['ratio']:.2f} x", flush=True
            )
    command = f"python training/benchmarks/peers.py --python PYTHON --peers {args.peers} --repeats {args.repeats}"
    found = {"kind": "peers", "peers": peers, "missing": missing, "data": data.name, "command": command}
    if args.json:
        found |= {"machine": cpu_model(), "threads": args.threads}
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
