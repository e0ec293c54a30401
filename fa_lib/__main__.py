"""The command line, `fa`: reproduce, train, predict, suggest, report, runs, data. Wrong input: one sentence, exit code 2."""

import argparse
import os
import sys
from typing import NoReturn

from fa_lib.errors import InputError, suggest

DATA_HELP = (
    "'synthetic' (default), the folder of 300-W or one that holds 300w/, cofw/ and wflw/, or a .yaml that describes faces of "
    "your own"
)


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

    add = commands.add_parser("reproduce", help="train, tabulate, draw, and execute the notebooks", allow_abbrev=False)
    add.add_argument("papers", nargs="*", metavar="PAPER", help="papers by name (default: all)")
    _add_common(add)
    add.add_argument("--jobs", type=_positive, help="runs trained at a time (default: one a core, one on a GPU)")
    add.add_argument("--tables-only", action="store_true", help="train the rows of the tables alone, and write those")
    add.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="for the notebooks"
    )
    add.set_defaults(action=_reproduce)

    add = commands.add_parser("train", help="train one run (needs no Jupyter)", allow_abbrev=False)
    add.add_argument("run", metavar="RUN", help="paper/row/dataset/profile/seed, as `fa runs list` prints it")
    add.add_argument("--data", default="synthetic", help=DATA_HELP)
    add.set_defaults(action=_train)

    add = commands.add_parser("predict", help="landmarks of the face in a video: a CSV and a video", allow_abbrev=False)
    add.add_argument("run", metavar="MODEL", help="a finished run: its name or its hash, as `fa runs list` prints them")
    add.add_argument("clip", metavar="CLIP", help="a video that OpenCV can read")
    add.add_argument(
        "--box", nargs=4, type=float, metavar=("X", "Y", "W", "H"), help="the face in the first frame, in pixels, brows to chin"
    )
    add.add_argument("--out", default="landmarks", help="folder for CLIP.csv and CLIP.mp4 (default: landmarks)")
    add.add_argument("--decoder", choices=["argmax", "quarter", "centroid", "local", "pdc", "box_blur"], default="local")
    add.add_argument(
        "--stable", action="store_true", help="steady the network's heatmaps over time (paper 3): trains that once, then keeps it"
    )
    add.set_defaults(action=_predict)

    _add_suggest(commands)

    add = commands.add_parser("report", help="a static site of notebooks, verdicts, data and package", allow_abbrev=False)
    add.add_argument("--profile", default="quick", help="whose executed notebooks: smoke, quick (default), desk, full or paper")
    add.add_argument("--output", default="site", help="folder of the site, replaced where it holds one (default: site)")
    add.set_defaults(action=_report)

    add = commands.add_parser("runs", help="what is in the store", allow_abbrev=False)
    add.add_argument("what", choices=["list", "show", "stale"])
    add.add_argument("run", nargs="?", help="for show: a run's name")
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


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", default="quick", help="smoke, quick (default), desk, full or paper")
    parser.add_argument("--data", default="synthetic", help=DATA_HELP)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
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
    from fa_lib import reproduce

    given = dict(arguments.parameter)
    root = _root(arguments.data)
    reproduce.reproduce(arguments.papers, arguments.profile, root, arguments.jobs, given, arguments.tables_only)


def _train(arguments: argparse.Namespace) -> None:
    from fa_lib import papers, results, runs

    parts = arguments.run.split("/")
    if len(parts) != 5 or not parts[4].isdigit():
        raise InputError(
            f"{arguments.run!r} is no run: write paper/row/dataset/profile/seed, "
            "as self_distillation/fan2-all/synthetic-300w/quick/0"
        )
    slug, row, dataset, profile, seed = parts
    if slug not in papers.PAPERS:
        raise InputError(f"there is no paper {slug!r}{suggest(slug, papers.PAPERS)}; there are: {', '.join(papers.PAPERS)}")
    study = results.Study(papers.PAPERS[slug], profile, _root(arguments.data))
    if dataset != study.source.dataset.replace("/", "-"):  # one of the paper's others, which are looked for only now
        study = next((part for part in study.all() if dataset == part.source.dataset.replace("/", "-")), study)
    run = study.run(row, int(seed))
    if dataset != run.id.split("/")[2]:
        raise InputError(f"{arguments.run}: --data {arguments.data} makes the data set {run.id.split('/')[2]!r}, not {dataset!r}")
    print(runs.get(run).folder)


def _stored(name: str) -> dict:
    """The one finished run that has this name or hash, as `runs.stored` says it; of several, the one of the present code."""
    from fa_lib import runs

    found = [run for run in runs.stored() if name in (run["id"], run["hash"])]
    chosen = [run for run in found if not run["stale"]] or found
    if len(chosen) != 1:
        several = f"is the name of {len(chosen)} finished runs; choose one by its hash: {', '.join(r['hash'] for r in chosen)}"
        unknown = "is the name or hash of no finished run; `fa runs list` prints those there are"
        raise InputError(f"{name!r} {several if chosen else unknown}")
    return chosen[0]


def _predict(arguments: argparse.Namespace) -> None:
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what the decoder says of damage is said in one sentence
    from pathlib import Path

    from fa_lib import restoring, tracking, training

    found = _stored(arguments.run)
    x, y, width, height = arguments.box or (0, 0, 1, 1)
    box = (x - 0.5, y - 0.5, x + width - 0.5, y + height - 0.5)
    net, size = restoring.restore(found)
    tracker = tracking.Tracker(net, size, arguments.decoder, box=box if arguments.box else None)
    if arguments.stable:
        from fa_lib.papers.stabilise import steadied

        tracking.Video(Path(arguments.clip))  # what is no video is refused before anything is trained
        tracker.net = steadied(found)
    tracker.net.to(training.device())
    print(tracking.predict(Path(arguments.clip), tracker, Path(arguments.out)))


def _suggest(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from fa_lib import restoring, training
    from fa_lib.suggest import Wish, suggest

    found = _stored(arguments.run)
    net, size = restoring.restore(found)
    wish = Wish(arguments.n, arguments.function, arguments.discard, arguments.crops, arguments.skip_bad)
    net, model = net.to(training.device()), f"{found['id']} ({found['hash']})"
    print(suggest(net, size, model, Path(arguments.folder), Path(arguments.out), wish))


def _report(arguments: argparse.Namespace) -> None:
    from fa_lib.report import report

    for sentence in report(arguments.profile, arguments.output):
        print(sentence)
    print(os.path.join(arguments.output, "index.html"))


def _runs(arguments: argparse.Namespace) -> None:
    import json

    from fa_lib import runs

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


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; returns its exit code."""
    try:
        chosen = _parser().parse_args(arguments)
        chosen.action(chosen)
    except InputError as error:
        print(f"fa: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("fa: stopped; what is finished is kept, and the same command goes on from there", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `fa runs list | head`
        sys.stderr.close()
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
