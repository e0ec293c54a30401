"""The command line, `fa`: reproduce, train, predict, export, suggest, report, bench, runs, data.

Wrong input: one sentence, exit code 2.
"""

import argparse
import contextlib
import os
import signal
import sys
from typing import NoReturn

from fa_lib.errors import InputError, suggest

DATA_HELP = (
    "'synthetic' (default), the folder of 300-W or one that holds 300w/, cofw/ and wflw/, or a .yaml that describes faces of "
    "your own"
)
DECODERS = ("argmax", "quarter", "centroid", "local", "pdc", "box_blur")


class _Parser(argparse.ArgumentParser):
    """argparse that says what is wrong in one sentence, as all of `fa` does."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help)")

    def parse_args(self, *arguments, **options):  # argparse names the unknown option, but not the one that was meant
        """Parses; an unknown option is refused with the nearest known one."""
        chosen, unknown = self.parse_known_args(*arguments, **options)
        if unknown:
            known = [option for parser in _subparsers(self) for option in parser._option_string_actions]
            raise InputError(f"unknown argument {unknown[0]!r}{suggest(unknown[0], known)} (see {self.prog} --help)")
        return chosen


def _subparsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    groups = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [sub for group in groups for sub in group.values()]


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fa", description="Five face-alignment papers, reproduced.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    _add_reproduce(commands)

    add = commands.add_parser("train", help="train some runs (needs no Jupyter)", allow_abbrev=False)
    add.add_argument("runs", nargs="+", metavar="RUN", help="paper/row/dataset/profile/seed, as `fa runs list` prints it")
    add.add_argument("--data", default="synthetic", help=DATA_HELP)
    add.add_argument("--again", action="store_true", help="train anew what other code has computed, and what starts from that")
    add.add_argument("--devices", type=_positive, default=1, help="GPUs, or processes without any, that share each batch")
    add.add_argument("--nodes", type=_positive, default=1, help="machines, each with as many; start it on all (default 1)")
    add.set_defaults(action=_train)

    _add_predict(commands)
    _add_suggest(commands)

    _add_export(commands)

    add = commands.add_parser("report", help="a static site of notebooks, verdicts, data and package", allow_abbrev=False)
    add.add_argument("--profile", default="quick", help="whose executed notebooks: smoke, quick (default), desk, full or paper")
    add.add_argument("--output", default="site", help="folder of the site, replaced where it holds one (default: site)")
    add.set_defaults(action=_report)

    add = commands.add_parser("bench", help="how fast this machine is, beside its limits and the plain way", allow_abbrev=False)
    add.add_argument("--only", metavar="GROUP", help="pipeline, training, inference, decoding, acquisition, rendering or video")
    add.set_defaults(action=_bench)

    add = commands.add_parser("runs", help="what is in the store", allow_abbrev=False)
    add.add_argument("what", choices=["list", "show", "stale", "equal"], help="equal: proves that code gives the same numbers")
    add.add_argument("run", nargs="?", help="for show: a run's name; for equal: the commit whose numbers are to be the same")
    add.set_defaults(action=_runs)

    add = commands.add_parser("data", help="data sets: list, show, fetch, verify, prepare crops", allow_abbrev=False)
    add.add_argument("what", choices=["list", "show", "fetch", "verify", "prepare"])
    add.add_argument("name", nargs="?", help="a data set's name, or the .yaml that describes your own")
    add.add_argument("--root", help="its folder (default: $FA_DATA/NAME); for list the one that holds all (default: $FA_DATA)")
    add.add_argument("--mirror", action="store_true", help="fetch: from the copies that others keep")
    add.add_argument("--all-names", action="store_true", help="verify: print every name, not the first ten")
    add.add_argument("--checksums", action="store_true", help="verify: compare what pictures hold with the sums that are known")
    add.add_argument("--split", action="append", help="prepare: one split, may be given again (default: all)")
    add.add_argument("--size", type=_positive, default=256, help="prepare: crop side in pixels (default 256)")
    add.add_argument("--skip-bad", action="store_true", help="prepare: name and leave out pictures that cannot be read")
    add.set_defaults(action=_data)
    return parser


def _add_reproduce(commands: argparse._SubParsersAction) -> None:
    add = commands.add_parser("reproduce", help="train, tabulate, draw, and execute the notebooks", allow_abbrev=False)
    add.add_argument("papers", nargs="*", metavar="PAPER", help="papers by name (default: all)")
    add.add_argument("--profile", help="smoke, quick (default), desk, full or paper")
    add.add_argument("--data", help=DATA_HELP)
    add.add_argument("--jobs", type=_positive, help="runs trained at a time (default: one a core, one on a GPU)")
    add.add_argument("--tables-only", action="store_true", help="train the rows of the tables alone, and write those")
    add.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="for the notebooks"
    )
    add.add_argument("--executor", metavar="NAME", help="by Snakemake: local, slurm or kubernetes (workflow/profiles)")
    add.add_argument(
        "--dry-run", action="store_true", help="say what it would take, or with --executor print the jobs; train nothing"
    )
    add.add_argument(
        "--from-recorded", action="store_true", help="print and draw what is recorded under figures/ from its CSVs; train nothing"
    )
    add.set_defaults(action=_reproduce)


def _add_export(commands: argparse._SubParsersAction) -> None:
    add = commands.add_parser("export", help="a run's network as an ONNX file, for programs without torch", allow_abbrev=False)
    add.add_argument("run", metavar="MODEL", help="a finished run: its name or its hash, as `fa runs list` prints them")
    add.add_argument("file", metavar="OUT.onnx")
    add.add_argument(
        "--int8", action="store_true", help="weights and activations of 8 bits; says what that costs on the test faces"
    )
    add.add_argument("--decoder", choices=DECODERS, default="local", help="how heatmaps are read (default local)")
    add.add_argument("--data", default="synthetic", help=DATA_HELP)
    add.set_defaults(action=_export)


def _add_predict(commands: argparse._SubParsersAction) -> None:
    add = commands.add_parser("predict", help="landmarks of faces in pictures, videos, a camera", allow_abbrev=False)
    add.description = (
        "Landmarks of the faces in pictures: a CSV, a JSON and a drawn picture each; of the face in videos: a CSV and a video. "
        "Exit code 0: a face in every input; 1: in some, the others are named; 2: in none, or something is wrong."
    )
    add.add_argument(
        "files", nargs="*", metavar="[MODEL] FILE", help="pictures, folders of pictures, videos; before them a finished run, by "
        "its name or hash (default: the small network that comes with the package)",
    )  # fmt: skip
    add.add_argument("--camera", type=_number, metavar="N", help="a camera by its number, from 0")
    add.add_argument("--seconds", type=_positive, default=10, help="how long the camera is looked at (default 10)")
    add.add_argument(
        "--boxes", metavar="FILE.csv", help="faces in pictures: lines file,x,y,width,height in pixels, brows to chin"
    )
    add.add_argument(
        "--box", nargs=4, type=float, metavar=("X", "Y", "W", "H"), help="the face in one picture, or in a video's first frame"
    )
    add.add_argument("--out", default="landmarks", help="folder of what is written (default: landmarks)")
    add.add_argument("--decoder", choices=DECODERS, default="local")
    add.add_argument(
        "--stable", action="store_true", help="steady a run's heatmaps over time (paper 3): trains that once, then keeps it"
    )
    add.set_defaults(action=_predict)


def _add_suggest(commands: argparse._SubParsersAction) -> None:
    add = commands.add_parser("suggest", help="which of your unlabelled pictures to annotate next (paper 5)", allow_abbrev=False)
    add.description = (
        "Ranks unlabelled pictures for annotation, by how unsure a network is of them (paper 5): a CSV, and a page with "
        "thumbnails. All of it happens on this machine and nothing is uploaded; the page holds your pictures."
    )
    add.add_argument("run", metavar="MODEL", help="a finished run of a heatmap network: its name or its hash")
    add.add_argument("folder", metavar="FOLDER", help="pictures (jpg, jpeg, png, bmp, webp), in folders below it as well")
    add.add_argument("-n", type=_positive, default=50, help="how many to suggest (default 50)")
    add.add_argument("--function", choices=["nnm", "entropy"], default="nnm", help="how unsure the network is (default nnm)")
    add.add_argument("--discard", type=_share, default=0.1, help="share of the hardest to leave out first (default 0.1; 0: none)")
    add.add_argument(
        "--crops", action="store_true", help="the pictures are crops already, a face's box x 1.4 (default: the face is searched)"
    )
    add.add_argument("--out", default="suggestions", help="folder for suggestions.csv and .html (default: suggestions)")
    add.add_argument("--skip-bad", action="store_true", help="name and leave out pictures that cannot be read")
    add.set_defaults(action=_suggest)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _number(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share, a number of at least 0 and below 1")
    return share


def _root(data: str) -> str | None:
    """The folder or manifest that --data names, None for rendered faces; refused where it is not there."""
    if data == "synthetic":
        return None
    if data.endswith((".yaml", ".yml")):
        if not os.path.isfile(data):
            raise InputError(
                f"--data {data}: there is no such file; copy data_manifests/template.yaml and describe your faces in it"
            )
    elif not os.path.isdir(data):
        raise InputError(
            f"--data {data}: there is no such folder; give the folder that holds afw/, helen/, lfpw/, a .yaml that describes "
            "faces of your own, or 'synthetic'"
        )
    return data


def _reproduce(arguments: argparse.Namespace) -> None:
    if arguments.from_recorded:
        return _from_recorded(arguments)
    from fa_lib import reproduce

    given, profile = dict(arguments.parameter), arguments.profile or "quick"
    root = _root(arguments.data or "synthetic")
    if arguments.executor:
        from fa_lib import jobs

        if given or arguments.tables_only:
            raise InputError("--executor makes the notebooks with their own parameters: leave out -p and --tables-only")
        data = os.path.abspath(root) if root else "synthetic"
        jobs.submit(arguments.papers, profile, data, arguments.executor, arguments.jobs, arguments.dry_run)
    elif arguments.dry_run:
        from fa_lib import forecast

        print(forecast.text(arguments.papers, profile, root))
    else:
        reproduce.reproduce(arguments.papers, profile, root, arguments.jobs, given, arguments.tables_only)


def _from_recorded(arguments: argparse.Namespace) -> None:
    from fa_lib import recorded

    options = ("profile", "data", "jobs", "tables_only", "parameter", "executor", "dry_run")
    given = [f"--{name.replace('_', '-')}" for name in options if getattr(arguments, name)]
    if given:
        raise InputError(f"--from-recorded draws what is recorded, and trains nothing: leave out {', '.join(given)}")
    recorded.redraw(arguments.papers)


def _train(arguments: argparse.Namespace) -> None:
    from fa_lib import processes, reproduce, runs

    root, again = _root(arguments.data), arguments.again
    # a wrong name is refused before any training
    wanted = [reproduce.named(name, root, arguments.data) for name in arguments.runs]
    several = arguments.devices * arguments.nodes > 1
    if several and not processes.started() and not all(runs.is_current(run) if again else run.folder.exists() for run in wanted):
        words = ["train", *arguments.runs, "--data", arguments.data, *(["--again"] if again else [])]
        return processes.launch(arguments.devices, arguments.nodes, words)
    with processes.joined():
        for run in wanted:
            folder = runs.get(run, again).folder
            if processes.first():
                print(folder)


def _predict(arguments: argparse.Namespace) -> int:
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what the decoder says of damage is said in one sentence
    from fa_lib import predicting

    return predicting.command(arguments)


def _suggest(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from fa_lib import restoring, training
    from fa_lib.suggest import Wish, suggest

    found = restoring.stored(arguments.run)
    net, size = restoring.restore(found)
    wish = Wish(arguments.n, arguments.function, arguments.discard, arguments.crops, arguments.skip_bad)
    net, model = net.to(training.device()), f"{found['id']} ({found['hash']})"
    print(suggest(net, size, model, Path(arguments.folder), Path(arguments.out), wish))


def _export(arguments: argparse.Namespace) -> None:
    from fa_lib import exporting, restoring

    root = _root(arguments.data)
    for sentence in exporting.write(restoring.stored(arguments.run), arguments.file, arguments.int8, arguments.decoder, root):
        print(sentence)


def _report(arguments: argparse.Namespace) -> None:
    from fa_lib.report import report

    for sentence in report(arguments.profile, arguments.output):
        print(sentence)
    print(os.path.join(arguments.output, "index.html"))


def _bench(arguments: argparse.Namespace) -> None:
    from fa_lib import bench

    print(bench.run(arguments.only))


def _runs(arguments: argparse.Namespace) -> None:
    import json

    from fa_lib import equal, runs

    if arguments.what == "equal":
        print(equal.prove(arguments.run))
        return
    found = list(runs.stored())
    if arguments.what == "show":
        chosen = [r for r in found if arguments.run in (r["id"], r["hash"])]
        if not chosen:
            raise InputError(f"no finished run is called {arguments.run!r}; `fa runs list` prints those there are")
        for run in chosen:
            print(json.dumps(run, indent=1))
        return
    for run in found:
        if arguments.what == "list" or run["stale"]:
            mark = "stale" if run["stale"] else "current"
            print(f"{run['id']:60} {run['hash']}  {run['seconds']:8.1f} s  {mark}  {run['device']}")
    print(f"{len(found)} runs, {sum(r['stale'] for r in found)} stale (the code that computed them has changed since)")


def _data(arguments: argparse.Namespace) -> None:
    from fa_lib.data import commands

    commands.run(arguments)


def _terminate(*_: object) -> NoReturn:
    """A cluster's polite end, SIGTERM, as Ctrl-C: temporary files go, workers end, and one sentence says what to do."""
    raise KeyboardInterrupt("SIGTERM")


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; returns its exit code."""
    with contextlib.suppress(ValueError):  # in a thread there are no signals
        signal.signal(signal.SIGTERM, _terminate)
    try:
        chosen = _parser().parse_args(arguments)
        return chosen.action(chosen) or 0
    except InputError as error:
        print(f"fa: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print("fa: stopped; what is finished is kept, and the same command goes on from there", file=sys.stderr)
        return 128 + (signal.SIGTERM if "SIGTERM" in stop.args else signal.SIGINT)
    except BrokenPipeError:  # `fa runs list | head`
        sys.stderr.close()
        return 0


if __name__ == "__main__":
    sys.exit(main())
