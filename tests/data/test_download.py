"""Downloads from a server in the test that breaks off, lies and forgets; archives that nobody should unpack."""

import gzip
import hashlib
import io
import re
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from fa_lib.data import download, manifests, unpacking
from fa_lib.data.download import fetch
from fa_lib.data.manifests import Archive, Manifest, Split
from fa_lib.data.unpacking import unpack

NOISE = np.random.default_rng(7).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
FILES = {"ibug/image_006.jpg": NOISE, "ibug/image_006.pts": b"version: 1\n"}


def zipped(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def tarred(files: dict[str, bytes], links: dict[str, str] | None = None, kind: bytes = tarfile.SYMTYPE) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    return data.getvalue()


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, without the downloader's own."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if not name.startswith(".archives/")}


# downloads


class Server:
    """Serves one file; `breaks`: how many answers end after a third; notes the range of every request."""

    def __init__(self) -> None:
        self.data, self.breaks, self.ranges, self.status, self.kind, self.honours_ranges = (
            b"",
            0,
            [],
            200,
            "application/zip",
            True,
        )
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *arguments) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/archives/set.zip?download=1"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def tag(self) -> str:
        return f'"{hashlib.md5(self.data).hexdigest()}"'

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range")
        self.ranges.append(asked)
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and self.honours_ranges else 0
        if request.headers.get("If-Range", self.tag) != self.tag:
            start = 0
        status = 416 if start >= len(self.data) else 206 if start else self.status
        body = b"" if status == 416 else self.data[start:]
        request.send_response(status)
        request.send_header("Content-Type", self.kind)
        request.send_header("ETag", self.tag)
        request.send_header("Content-Length", str(len(body)))
        if start:
            span = f"{start}-{len(self.data) - 1}" if body else "*"
            request.send_header("Content-Range", f"bytes {span}/{len(self.data)}")
        request.end_headers()
        if self.breaks:
            self.breaks -= 1
            body = body[: len(body) // 3]
        request.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.data = zipped(FILES)
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture
def known(server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes a set called "small" known whose archive the server has."""
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)

    def make(get: str = "open link", **archive: object) -> None:
        one = Archive(**({"url": server.url, "holds": "all"} | archive))
        manifest = Manifest("small", "A set", "https://example.org", "none", get, 68, 1, {"train": Split()}, "box", (one,))
        monkeypatch.setattr(manifests, "load", lambda name: manifest)

    make()
    return make


def test_archive_is_fetched_unpacked_and_removed(server: Server, known, tmp_path: Path):
    fetch("small", tmp_path / "new")
    assert content(tmp_path / "new") == FILES
    assert [path.name for path in (tmp_path / "new/.archives").glob("set*")] == ["set.zip.done"]
    fetch("small", tmp_path / "new")
    assert server.ranges == [None]  # the second call asked for nothing


def test_archive_goes_into_its_folder(known, tmp_path: Path):
    known(into="helen")
    fetch("small", tmp_path)
    assert content(tmp_path) == {f"helen/{name}": data for name, data in FILES.items()}


@pytest.mark.faults("download broken off")
def test_download_goes_on_where_the_server_broke_off(server: Server, known, tmp_path: Path, injected):
    server.breaks = 2
    known(checksum=f"sha256:{hashlib.sha256(server.data).hexdigest()}")
    fetch("small", tmp_path)
    whole, held = len(server.data), [0]
    for _ in range(2):  # a third of what was asked for, less the last block, which did not come whole
        held.append(held[-1] + (whole - held[-1]) // 3 // download.BLOCK * download.BLOCK)
    assert server.ranges == [None, f"bytes={held[1]}-", f"bytes={held[2]}-"]
    for _ in server.ranges[1:]:
        injected()
    assert content(tmp_path) == FILES


def test_next_call_goes_on_where_a_killed_one_stopped(server: Server, known, tmp_path: Path, monkeypatch):
    def killed(self, answer, start, total):
        self.part.write_bytes(server.data[:1000])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(download._Resuming, "_receive", killed)
        fetch("small", tmp_path)
    fetch("small", tmp_path)
    assert server.ranges == [None, "bytes=1000-"] and content(tmp_path) == FILES


def test_file_that_has_changed_since_comes_whole(server: Server, known, tmp_path: Path):
    (tmp_path / ".archives").mkdir()
    (tmp_path / ".archives/set.zip.part").write_bytes(b"x" * 1000)
    (tmp_path / ".archives/set.zip.part.json").write_text('{"version": "\\"old\\""}')
    fetch("small", tmp_path)
    assert server.ranges == ["bytes=1000-"] and content(tmp_path) == FILES


def test_server_without_ranges_sends_all_again(server: Server, known, tmp_path: Path):
    server.breaks, server.honours_ranges = 1, False
    fetch("small", tmp_path)
    assert content(tmp_path) == FILES


def test_complete_part_is_not_fetched_again(server: Server, known, tmp_path: Path):
    (tmp_path / ".archives").mkdir()
    (tmp_path / ".archives/set.zip.part").write_bytes(server.data)
    fetch("small", tmp_path)
    assert server.ranges == [f"bytes={len(server.data)}-"] and content(tmp_path) == FILES


@pytest.mark.faults("download broken off")
def test_server_that_always_breaks_off_ends_in_a_sentence(server: Server, known, tmp_path: Path, refusal: Callable, injected):
    injected()
    server.breaks, server.honours_ranges = 99, False
    assert "broke off" in refusal("", fetch, "small", tmp_path)
    assert len(server.ranges) in (download.ATTEMPTS, download.ATTEMPTS + 1) and content(tmp_path) == {}


@pytest.mark.faults("download of something else")
@pytest.mark.parametrize("kind", ["sha256", "sha1", "md5"])
def test_other_checksum_is_refused_and_nothing_is_unpacked(
    server: Server, known, tmp_path: Path, kind: str, refusal: Callable, injected
):
    injected()
    known(checksum=f"{kind}:{hashlib.new(kind, b'other').hexdigest()}")
    assert f"not the file with {kind}:" in refusal("", fetch, "small", tmp_path)
    assert content(tmp_path) == {} and not list((tmp_path / ".archives").glob("set*"))
    known(checksum=f"{kind}:{hashlib.new(kind, server.data).hexdigest()}")
    fetch("small", tmp_path)
    assert content(tmp_path) == FILES


@pytest.mark.parametrize(("status", "said"), [(404, "404"), (403, "403"), (503, "503")])
def test_server_that_refuses_is_quoted(server: Server, known, tmp_path: Path, status: int, said: str, refusal: Callable):
    server.status = status
    assert f"the server answered {said}" in refusal("", fetch, "small", tmp_path)
    assert len(server.ranges) == (1 if status < 500 else download.ATTEMPTS)


@pytest.mark.faults("download of something else")
def test_page_instead_of_the_archive_is_refused(server: Server, known, tmp_path: Path, refusal: Callable, injected):
    injected()
    server.kind, server.data = "text/html; charset=utf-8", b"<html>please log in</html>"
    assert "a page instead of the file" in refusal("", fetch, "small", tmp_path)


def test_unreachable_server_is_named(known, tmp_path: Path, refusal: Callable):
    known(url="http://127.0.0.1:9/set.zip")
    assert "http://127.0.0.1:9/set.zip: the server cannot be reached" in refusal("", fetch, "small", tmp_path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("300vw", ["after a request", "https://ibug.doc.ic.ac.uk/resources/300-VW/", "fa data verify 300vw"]),
        ("vggface2", ["from a copy"]),
        ("synthetic/300w", ["rendered"]),
        ("300ww", ["no such manifest"]),
    ],
)
def test_gated_sets_get_an_instruction(tmp_path: Path, name: str, words: list[str], refusal: Callable):
    said = refusal("", fetch, name, tmp_path)
    assert all(word in said for word in words) and not list(tmp_path.iterdir())


def test_pages_for_people_get_an_instruction(known, tmp_path: Path, refusal: Callable):
    known(url="https://drive.google.com/file/d/1hzBd48JIdWTJSsATBEB")
    assert "a browser is needed for https://drive.google.com" in refusal("", fetch, "small", tmp_path)


def test_mirrors_are_fetched_only_when_asked_for(known, tmp_path: Path, refusal: Callable):
    assert "leave --mirror out" in refusal("", fetch, "small", tmp_path, mirror=True)
    known(mirror=True)
    assert "add --mirror" in refusal("", fetch, "small", tmp_path)
    fetch("small", tmp_path, mirror=True)
    assert content(tmp_path) == FILES


# archives


def put(tmp_path: Path, data: bytes, name: str = "set.zip") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def nothing_written(tmp_path: Path) -> bool:
    return not content(tmp_path / "out") and not [path for path in tmp_path.parent.rglob("evil*") if path.is_file()]


@pytest.mark.parametrize("make", [zipped, tarred])
def test_archives_are_unpacked(tmp_path: Path, make: Callable):
    files = FILES | {"./a/b c/ü.txt": b"", "d\\e.txt": b"1"}
    assert unpack(put(tmp_path, make(files)), tmp_path / "out") == 4
    assert content(tmp_path / "out") == FILES | {"a/b c/ü.txt": b"", "d/e.txt": b"1"}


@pytest.mark.faults("archive that leads out of its folder")
@pytest.mark.parametrize("make", [zipped, tarred])
@pytest.mark.parametrize(
    "name", ["../evil.txt", "a/../../evil.txt", "/tmp/evil.txt", "..\\evil.txt", "C:\\evil.txt", "C:evil.txt"]
)
def test_path_out_of_the_folder_is_refused_before_anything_is_written(
    tmp_path: Path, make: Callable, name: str, refusal: Callable, injected
):
    injected()
    said = refusal("", unpack, put(tmp_path, make({"good.txt": b"1", name: b"2"})), tmp_path / "out")
    assert "leads out of the folder" in said and nothing_written(tmp_path)


@pytest.mark.faults("archive that leads out of its folder")
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("target", ["/etc/passwd", "../../evil", "../evil"])
def test_link_out_of_the_archive_is_refused(tmp_path: Path, kind: bytes, target: str, refusal: Callable, injected):
    injected()
    said = refusal("", unpack, put(tmp_path, tarred({"good.txt": b"1"}, {"link": target}, kind)), tmp_path / "out")
    assert "leads out of the folder" in said and nothing_written(tmp_path)


@pytest.mark.faults("archive that leads out of its folder")
def test_zipped_link_out_of_the_archive_is_refused(tmp_path: Path, refusal: Callable, injected):
    injected()
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("good.txt", b"1")
        info = zipfile.ZipInfo("link")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert "links to '/etc/passwd'" in refusal("", unpack, put(tmp_path, data.getvalue()), tmp_path / "out")
    assert nothing_written(tmp_path)


@pytest.mark.faults("archive that leads out of its folder")
def test_file_through_a_link_of_the_archive_is_refused(tmp_path: Path, refusal: Callable, injected):
    """A link to a folder, then a file through it: the way out that checks of single names miss."""
    injected()
    data = tarred({"sub/a.txt": b"1", "door/evil.txt": b"2"}, {"door": "sub"})
    assert "is a link to 'sub', which is no file" in refusal("", unpack, put(tmp_path, data), tmp_path / "out")
    assert nothing_written(tmp_path)


@pytest.mark.parametrize(("kind", "target"), [(tarfile.SYMTYPE, "image_006.jpg"), (tarfile.LNKTYPE, "ibug/image_006.jpg")])
def test_links_within_the_archive_become_copies(tmp_path: Path, kind: bytes, target: str):
    unpack(put(tmp_path, tarred(FILES, {"ibug/same.jpg": target}, kind)), tmp_path / "out")
    assert content(tmp_path / "out") == FILES | {"ibug/same.jpg": NOISE}
    assert not (tmp_path / "out/ibug/same.jpg").is_symlink()


@pytest.mark.faults("archive that leads out of its folder")
def test_link_that_lies_in_the_folder_already_is_refused(tmp_path: Path, refusal: Callable, injected):
    injected()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/ibug").symlink_to(tmp_path / "elsewhere")
    assert "leads out of" in refusal("", unpack, put(tmp_path, zipped(FILES)), tmp_path / "out")
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.faults("archive that leads out of its folder")
def test_devices_are_refused(tmp_path: Path, refusal: Callable, injected):
    injected()
    said = refusal("", unpack, put(tmp_path, tarred({}, {"pipe": ""}, tarfile.FIFOTYPE)), tmp_path / "out")
    assert "neither file nor folder" in said


@pytest.mark.faults("archive that is a bomb")
@pytest.mark.parametrize("make", [zipped, tarred])
def test_bomb_is_refused_by_its_declared_size(
    tmp_path: Path, make: Callable, monkeypatch: pytest.MonkeyPatch, refusal: Callable, injected
):
    injected()
    monkeypatch.setattr(unpacking, "SMALL", 2**20)
    said = refusal("", unpack, put(tmp_path, make({"a": b"1", "zeros": bytes(2 * 2**20)})), tmp_path / "out")
    assert "to more than 1.0 MiB" in said and nothing_written(tmp_path)


@pytest.mark.faults("archive cut off or damaged")
@pytest.mark.parametrize("keep", [0.3, 0.98])
@pytest.mark.parametrize("make", [zipped, tarred])
def test_truncated_archive_is_refused(tmp_path: Path, make: Callable, keep: float, refusal: Callable, injected):
    injected()
    data = make(FILES)
    said = refusal("", unpack, put(tmp_path, data[: int(keep * len(data))]), tmp_path / "out")
    assert "set.zip: is cut off, damaged or no archive" in said and nothing_written(tmp_path)


@pytest.mark.faults("archive cut off or damaged")
def test_damaged_archive_leaves_nothing_half_unpacked(tmp_path: Path, refusal: Callable, injected):
    injected()
    data = bytearray(zipped({"a.txt": b"1", "b.jpg": NOISE}))
    data[len(data) // 2] ^= 255
    assert "is cut off, damaged" in refusal("", unpack, put(tmp_path, bytes(data)), tmp_path / "out")
    assert content(tmp_path / "out") == {} and not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("data", [b"", b"<html>", gzip.compress(b"hello", mtime=0)], ids=["empty", "page", "gzip"])
def test_other_files_are_no_archives(tmp_path: Path, data: bytes, refusal: Callable):
    assert "no archive" in refusal("", unpack, put(tmp_path, data), tmp_path / "out")
    assert "no such file" in refusal("", unpack, tmp_path / "none.zip", tmp_path / "out")
