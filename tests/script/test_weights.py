"""script/weights.py: files of formula weights are recognised, recorded, imported, converted and fetched."""

import functools
import hashlib
import http.server
import json
import re
import sys
import threading

import pytest
import torch
import yaml
from adapters.common import fill_weights
from paths import ROOT
from safetensors import safe_open

from engine.checkpoints.load import load_networks
from models import find_family
from options import parse
from options.resolve import family_options
from script.weights import main
from script.zoo.fetch import fetch
from script.zoo.recognise import options_of
from script.zoo.table import File, read_table, record
from util.errors import UserError

TINY = ROOT / "configs" / "tiny"
KNOWN = {
    "repository": "https://example.org",
    "where": ["https://example.org/files"],
    "licence": "MIT",
    "paper": "Paper",
}
CHECK = ["--input_path={picture}", "--sweep=AU12=0:3:3"]


def entry(family, *files, **more):
    return {
        "source": family, "options": [f"--config={TINY / family}.yaml"], "trained_on": "drawn people", "crop": "none",
        "files": {file: {} for file in files},
    } | more  # fmt: skip


@pytest.fixture
def table(tmp_path):
    """A table of tiny models: two with the same networks, one of another family, one with a file per network."""
    models = {
        "one": entry("fomm", "one.pth.tar"),
        "two": entry("fomm", "two.pth.tar"),
        "regions": entry("mraa", "regions.pth"),
        "units": entry("ganimation", "30_net_gen.pth"),
    }
    sources = {family: KNOWN | {"family": family} for family in ("fomm", "mraa", "ganimation")}
    sources["ganimation"]["check"] = CHECK
    path = tmp_path / "zoo.yaml"
    path.write_text("# kept\n" + yaml.safe_dump({"sources": sources, "models": models}, width=500, sort_keys=False))
    return path


def state_of(network, seed):
    fill_weights(network, seed)
    return network.state_dict()


def write(path, name, seed=0):
    """A released file of a tiny model, of formula weights."""
    opt = parse([f"--config={TINY / name}.yaml", "--cpu"], training=False)
    family = find_family(name)(opt, training=False)
    states = {family.layout.entries[one]: state_of(network, seed) for one, network in family.networks().items()}
    torch.save(states if "{entry}" not in family.layout.pattern else next(iter(states.values())), path)
    return states


@pytest.fixture
def weights(tmp_path, monkeypatch, capsys):
    """Runs script/weights.py in this process; what it prints."""

    def call(*words, status=0):
        monkeypatch.setattr(sys, "argv", ["weights.py", *words])
        monkeypatch.chdir(tmp_path)
        assert main() == status
        return capsys.readouterr().out

    return call


def digest_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_is_recognised_by_its_entries_and_its_name(table, tmp_path, weights):
    write(tmp_path / "two.pth.tar", "fomm")
    write(tmp_path / "renamed.pth", "fomm")
    write(tmp_path / "regions.pth", "mraa")
    assert "networks of two (fomm)" in weights("verify", "two.pth.tar", f"--table={table}")
    assert "networks of regions (mraa)" in weights("verify", "regions.pth", f"--table={table}")
    with pytest.raises(UserError, match="2 released models have these networks: .* with --as NAME: one, two"):
        weights("verify", "renamed.pth", f"--table={table}")
    with pytest.raises(UserError, match="has other networks; these belong to one, two"):
        weights("verify", "renamed.pth", "--as=regions", f"--table={table}")
    (tmp_path / "notes.pth").write_text("import sys")
    with pytest.raises(UserError) as refused:
        weights("verify", "notes.pth", f"--table={table}")
    assert str(refused.value).startswith("notes.pth: not a file of weights, or damaged (Unsupported operand")
    assert str(refused.value).count("notes.pth") == 1 and "weights_only" not in str(refused.value)
    torch.save({"generator": {"x": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"(?s)no known released model.*fomm: "):
        weights("verify", "other.pth", f"--table={table}")


def test_hashes_are_recorded_and_then_compared(table, tmp_path, weights):
    write(tmp_path / "one.pth.tar", "fomm")
    digest = digest_of(tmp_path / "one.pth.tar")
    assert "not recorded yet" in weights("verify", "one.pth.tar", f"--table={table}")
    assert "recorded now" in weights("verify", "one.pth.tar", "--record", f"--table={table}")
    file = read_table(table)["one"].files["one.pth.tar"]
    assert (file.sha256, file.bytes) == (digest, (tmp_path / "one.pth.tar").stat().st_size)
    assert table.read_text().startswith("# kept\n") and read_table(table)["two"].files["two.pth.tar"].sha256 is None
    assert "as recorded" in weights("verify", "one.pth.tar", f"--table={table}")
    (tmp_path / "one.pth.tar").rename(tmp_path / "renamed.pth")
    assert "networks of one " in weights("verify", "renamed.pth", f"--table={table}"), "known by its hash"
    write(tmp_path / "one.pth.tar", "fomm", seed=1)
    assert f"not the recorded one, {digest}" in weights("verify", "one.pth.tar", f"--table={table}", status=1)
    with pytest.raises(UserError, match="is not the released file"):
        weights("import", "one.pth.tar", f"--table={table}")
    assert not (tmp_path / "result").exists()


@pytest.mark.parametrize(
    ("file", "name", "family"), [("one.pth.tar", "one", "fomm"), ("30_net_gen.pth", "units", "ganimation")]
)
def test_an_imported_file_is_a_run_that_animates(table, tmp_path, weights, file, name, family):
    write(tmp_path / file, family)
    told = weights("import", file, f"--table={table}")
    assert re.search(r"animates a drawn person: \d+ frame", told) and "licence: MIT" in told
    origin = json.loads((tmp_path / "result" / name / "origin.json").read_text())
    assert origin["sha256"] == {file: digest_of(tmp_path / file)}
    opt = parse([f"--name={name}", f"--checkpoints_dir={tmp_path / 'result'}"], training=False)
    assert opt.model == family and opt.dataset_mode == options_of(read_table(table)[name]).dataset_mode
    with pytest.raises(UserError, match="exists already; --overwrite replaces it"):
        weights("import", file, f"--table={table}")


def test_a_converted_file_contains_its_options(table, tmp_path, weights):
    states = write(tmp_path / "one.pth.tar", "fomm")
    weights("convert", "one.pth.tar", "--out=alone.safetensors", f"--table={table}")
    with safe_open(tmp_path / "alone.safetensors", "pt") as file:
        told = file.metadata()
    assert (told["name"], told["family"], told["licence"]) == ("one", "fomm", "MIT")
    assert json.loads(told["sha256"]) == {"one.pth.tar": digest_of(tmp_path / "one.pth.tar")}
    opt = parse(["--checkpoint=alone.safetensors"], training=False)
    family = find_family(opt.model)(opt, training=False)
    load_networks(family, "alone.safetensors")
    for name, network in family.networks().items():
        original = states[family.layout.entries[name]]
        assert all(torch.equal(value, original[key]) for key, value in network.state_dict().items())
    assert family_options(opt) == family_options(options_of(read_table(table)["one"]))


def test_a_file_per_network_becomes_a_folder_with_its_options(table, tmp_path, weights):
    states = write(tmp_path / "30_net_gen.pth", "ganimation")
    weights("convert", "30_net_gen.pth", "--out=alone", f"--table={table}")
    opt = parse(["--checkpoint=alone"], training=False)
    assert opt.model == "ganimation" and opt.cond_nc == 3
    family = find_family(opt.model)(opt, training=False)
    load_networks(family, "alone")
    (network,) = family.networks().values()
    assert all(torch.equal(value, next(iter(states.values()))[key]) for key, value in network.state_dict().items())


class Answers(http.server.BaseHTTPRequestHandler):
    """A server that knows one file and answers requests for its end, as real ones do."""

    content, asked = bytes(range(256)) * 20, []

    def do_GET(self):
        self.asked.append(self.headers.get("Range"))
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(self.content) - start))
        self.end_headers()
        self.wfile.write(self.content[start:])

    def log_message(self, *arguments):
        """Say nothing."""


@pytest.fixture
def address():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Answers))
    Answers.asked.clear()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/file"
    server.shutdown()
    server.server_close()


def test_an_interrupted_download_resumes_and_compares_the_hash(address, tmp_path):
    digest = hashlib.sha256(Answers.content).hexdigest()
    (tmp_path / "a.pth.part").write_bytes(Answers.content[:1000])
    assert fetch(File(sha256=digest, direct=address), tmp_path / "a.pth") == digest
    assert (tmp_path / "a.pth").read_bytes() == Answers.content and Answers.asked == ["bytes=1000-"]
    fetch(File(sha256=digest, direct=address), tmp_path / "a.pth")
    assert Answers.asked == ["bytes=1000-"], "what is there is not fetched again"
    with pytest.raises(UserError, match=f"removed, as it is not the released file: its SHA-256 is {digest}"):
        fetch(File(sha256="0" * 64, direct=address), tmp_path / "b.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]
    assert fetch(File(direct=address), tmp_path / f"c-{digest[:8]}.pth") == digest, "the name may tell the hash"


def test_every_model_of_the_table_can_be_built_and_reported(weights):
    table = read_table()
    for model in table.values():
        assert options_of(model).model == model.family and model.files and model.where and model.licence
    told = weights("list")
    assert all(name in told for name in table)
    assert "SHA-256 not recorded" in weights("where", "fomm-vox")
    with pytest.raises(UserError, match="no such released model"):
        weights("where", "nobody")
    with pytest.raises(UserError, match="download it in a browser from https://"):
        weights("get", "fomm-vox")


def test_a_released_model_that_is_not_imported_is_reported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"it is a released model: python script/weights\.py where fomm-vox"):
        parse(["--name=fomm-vox"], training=False)


def test_recording_changes_one_line_of_the_table(tmp_path):
    path = tmp_path / "zoo.yaml"
    path.write_text((ROOT / "configs" / "zoo.yaml").read_text())
    for model, file in (("fomm-vox-adv", "vox-adv-cpk.pth.tar"), ("live-portrait", "base_models/motion_extractor.pth")):
        before = path.read_text().splitlines()
        record(path, read_table(path)[model], file, 7, "ab")
        changed = [pair for pair in zip(before, path.read_text().splitlines(), strict=True) if pair[0] != pair[1]]
        assert len(changed) == 1 and file in changed[0][1]
        known = read_table(path)[model].files[file]
        assert (known.bytes, known.sha256, known.direct) == (7, "ab", read_table()[model].files[file].direct)
