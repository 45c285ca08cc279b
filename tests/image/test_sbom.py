import json

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from image.architectures import ARCHITECTURES
from image.layers import Component
from image.sbom import bill_of_materials

DIGEST = "sha256:" + "ab" * 32
COMPONENTS = (
    Component("deb", "libstdc++6", "12.2.0-14+deb12u1"),
    Component("deb", "zlib1g", "1:1.2.13.dfsg-1"),
    Component("pypi", "typing_extensions", "4.16.0", "PSF-2.0"),
    Component("pypi", "PyYAML", "6.0.3"),
)


def bill() -> bytes:
    return bill_of_materials("backstay", "0.1.0", DIGEST, COMPONENTS, ARCHITECTURES["arm64"])


def test_bill_is_what_the_schema_of_cyclonedx_wants():
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill().decode()) is None


def test_bill_names_each_component_as_scanners_look_it_up():
    found = json.loads(bill())

    assert [one["purl"] for one in found["components"]] == [
        "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=arm64&distro=debian-12",
        "pkg:deb/debian/zlib1g@1%3A1.2.13.dfsg-1?arch=arm64&distro=debian-12",
        "pkg:pypi/typing-extensions@4.16.0",
        "pkg:pypi/pyyaml@6.0.3",
    ]
    assert found["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]


def test_bill_is_the_same_when_the_image_is_the_same():
    assert bill() == bill()
