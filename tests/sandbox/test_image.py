import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from backstay.errors import Refused
from backstay.sandbox.image import Image, Link, pack_image

SMALL = Image(
    {"bin/tool": b"#!/bin/sh\n", "bin/sh": Link("tool"), "etc/deep/er/file": b"text"}, ("/bin/tool",), {"MODE": "x"}
)


def layer_of(image: Image) -> tarfile.TarFile:
    (layer,) = pack_image(image).layers
    assert isinstance(layer.data, bytes)
    return tarfile.open(fileobj=io.BytesIO(gzip.decompress(layer.data)))


def test_layer_holds_the_files_each_after_its_directories():
    with layer_of(SMALL) as layer:
        names = layer.getnames()
        content = layer.extractfile("etc/deep/er/file")
        assert content is not None
        assert content.read() == b"text"
        assert layer.getmember("bin/sh").linkname == "tool"
        assert layer.getmember("bin/tool").mode == 0o755

    assert names[:4] == ["bin", "etc", "etc/deep", "etc/deep/er"]


def test_image_has_the_same_digest_when_it_is_made_again():
    assert pack_image(SMALL).manifest == pack_image(SMALL).manifest


def test_image_has_another_digest_when_a_file_differs():
    other = Image({**SMALL.files, "etc/deep/er/file": b"other"}, SMALL.command, SMALL.environment)

    assert pack_image(other).manifest != pack_image(SMALL).manifest


def test_manifest_names_what_is_uploaded_and_the_config_what_is_unpacked():
    packed = pack_image(SMALL)
    (layer,) = packed.layers
    assert isinstance(layer.data, bytes)
    assert isinstance(packed.config.data, bytes)

    manifest, config = json.loads(packed.manifest), json.loads(packed.config.data)

    assert manifest["config"]["digest"] == packed.config.digest
    assert manifest["layers"][0]["digest"] == "sha256:" + hashlib.sha256(layer.data).hexdigest()
    unpacked = hashlib.sha256(gzip.decompress(layer.data)).hexdigest()
    assert config["rootfs"]["diff_ids"] == [f"sha256:{unpacked}"]
    assert config["config"] == {"Entrypoint": ["/bin/tool"], "Env": ["PATH=/bin", "MODE=x"]}


def test_busybox_image_has_a_shell_and_the_files_that_were_given():
    with layer_of(Image.busybox("/bin/sh", files={"www/index.html": b"hello"})) as layer:
        assert {"bin/busybox", "bin/sh", "www/index.html"} <= set(layer.getnames())


def test_busybox_image_is_refused_when_the_machine_has_no_busybox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Refused, match="make setup"):
        Image.busybox("/bin/sh")
