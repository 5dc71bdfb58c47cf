"""Which cloud a machine is in, by the marks that hypervisors set."""

from __future__ import annotations

from pathlib import Path

import pytest

from guestagent import defs
from guestagent.sources.cloud import NO_CLOUD, Cloud, choose, identify

UUID = "0c1a9b2e-6f0d-4d3e-9a57-3f1f5e9b7a10"


class Machine:
    """What the kernel tells of a machine; nothing at first."""

    def __init__(self, top: Path) -> None:
        self.top = top

    def dmi(self, **values: str) -> None:
        for name, text in values.items():
            self.put(f"dmi/{name}", f"{text}\n")

    def put(self, name: str, text: str) -> None:
        path = self.top / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    places = {
        "DMI_DIR": "dmi",
        "KERNEL_COMMAND_LINE": "cmdline",
        "CONTAINER_FILE": "container",
        "HYPERVISOR_UUID": "uuid",
        "FIRST_PROCESS": "environ",
    }
    for name, place in places.items():
        monkeypatch.setattr(defs, name, str(tmp_path / place))
    return Machine(tmp_path)


@pytest.mark.parametrize("product", ["OpenStack Nova", "OpenStack Compute"])
def test_nova_tells_its_name_and_the_instance_s_uuid(machine: Machine, product: str) -> None:
    machine.dmi(product_name=product, product_uuid=UUID)
    assert identify() == Cloud("openstack", f"DMI product {product}", own_uuid=True)


@pytest.mark.parametrize(
    "tag",
    [
        *("OpenStack Nova", "OpenStack Compute", "HUAWEICLOUD", "OpenTelekomCloud"),
        *("Samsung Cloud Platform", "SAP CCloud VM"),
    ],
)
def test_other_openstack_clouds_have_an_asset_tag(machine: Machine, tag: str) -> None:
    machine.dmi(chassis_asset_tag=tag, product_name="KVM")
    assert identify() == Cloud("openstack", f"DMI chassis asset tag {tag}")


def test_a_container_of_nova_has_it_in_the_first_process(machine: Machine) -> None:
    machine.put("environ", "TERM=linux\0product_name=OpenStack Nova\0x=y\0")
    assert identify().name == "openstack"


EC2 = [
    ({"sys_vendor": "Amazon EC2"}, True),
    (dict.fromkeys(("product_uuid", "product_serial"), "EC2E1916-9099-7CAF-FD21-0123"), True),
    (dict.fromkeys(("product_uuid", "product_serial"), "45E12AEC-DCD1-B213-94ED-0123"), True),
    ({"sys_vendor": "e24cloud"}, False),
    ({"sys_vendor": "Tilaa"}, False),
    ({"sys_vendor": "3DS Outscale"}, False),
    ({"product_serial": "srv-abcde.gb1.brightbox.com"}, False),
    ({"chassis_asset_tag": "123456.zstack.io"}, False),
]


@pytest.mark.parametrize(("values", "tokens"), EC2)
def test_ec2_and_its_likes(machine: Machine, values: dict[str, str], tokens: bool) -> None:
    machine.dmi(**values)
    found = identify()
    assert (found.name, found.tokens, found.own_uuid) == ("ec2", tokens, False)


def test_xen_tells_amazon_by_the_hypervisor_s_uuid(machine: Machine) -> None:
    machine.put("uuid", "ec2e1916-9099-7caf-fd21-012345abcdef\n")
    assert identify() == Cloud("ec2", "the hypervisor's UUID", tokens=True)


NOTHING: list[dict[str, str]] = [
    {},
    {"product_name": "KVM", "sys_vendor": "QEMU", "product_uuid": UUID},
    {"product_name": "OpenStack Novae"},
    {"product_name": "xOpenStack Nova"},
    {"sys_vendor": "Amazon EC2 Inc"},
    {"product_serial": "brightbox.com.example"},
    {"chassis_asset_tag": "zstack.io.example"},
    {"product_uuid": "ec2e1916-9099-7caf-fd21-012345abcdef", "product_serial": "7"},
    {"product_name": "Google Compute Engine", "sys_vendor": "Google"},
]


@pytest.mark.parametrize("values", NOTHING)
def test_C1_without_a_mark_there_is_no_cloud(machine: Machine, values: dict[str, str]) -> None:
    machine.dmi(**values)
    machine.put("environ", "product_name=OpenStack Novae\0")
    machine.put("uuid", "0ec2\n")
    machine.put("cmdline", "quiet xguestagent.cloud=ec2 ds ds=ec2s root=/dev/vda\n")
    assert identify() == NO_CLOUD
    assert not identify().name


def test_C1_a_url_that_is_named_is_asked_without_a_cloud_and_those_of_the_settings_are_not(
    machine: Machine,
) -> None:
    machine.dmi(product_name="KVM")
    assert choose("auto", "") == NO_CLOUD
    assert choose("auto", "http://192.0.2.1").name == "openstack"
    assert choose("auto", "http://192.0.2.1", seed=True).name == "nocloud"
    machine.dmi(sys_vendor="Amazon EC2")
    assert choose("auto", "").name == "ec2"
    assert choose("auto", "http://192.0.2.1").name == "ec2"
    assert choose("none", "http://192.0.2.1", seed=True).name == "nocloud"


@pytest.mark.parametrize("said", ["nocloud", "nocloud-net;s=http://x/", "NoCloud;h=a"])
def test_C1_who_is_told_of_a_seed_asks_no_cloud(machine: Machine, said: str) -> None:
    machine.dmi(product_name="OpenStack Nova")
    machine.put("cmdline", f"ds={said} root=/dev/vda\n")
    assert not identify().name


@pytest.mark.parametrize("word", ["guestagent.cloud=", "ds="])
@pytest.mark.parametrize("value", ["openstack", "OpenStack", "ec2", "Ec2"])
def test_the_command_line_can_name_a_cloud(machine: Machine, word: str, value: str) -> None:
    machine.put("cmdline", f"quiet {word}{value} ro\n")
    found = identify("none")
    assert found.name == value.lower()
    assert "command line" in found.evidence


def test_the_agent_s_own_word_goes_first_and_the_last_of_one_kind(machine: Machine) -> None:
    machine.put("cmdline", "guestagent.cloud=none ds=ec2 guestagent.cloud=openstack")
    assert identify().name == "openstack"
    machine.put("cmdline", "guestagent.cloud=none ds=ec2")
    assert identify("openstack").name == ""


@pytest.mark.parametrize("word", ["", "auto", "azure", "1", "openstack,ec2"])
def test_another_word_says_nothing(machine: Machine, word: str) -> None:
    machine.put("cmdline", f"guestagent.cloud={word}")
    assert identify() == NO_CLOUD
    assert identify("ec2").name == "ec2"


def test_a_setting_goes_before_the_hypervisor(machine: Machine) -> None:
    machine.dmi(product_name="OpenStack Nova")
    assert identify("none").name == ""
    assert identify("ec2").name == "ec2"
    assert identify("auto").name == "openstack"


@pytest.mark.parametrize("how", ["setting", "command line"])
def test_C1_who_names_openstack_does_not_switch_the_uuid_s_check_off(
    machine: Machine, how: str
) -> None:
    machine.dmi(product_name="OpenStack Nova")
    if how == "command line":
        machine.put("cmdline", "ds=openstack")
    assert identify("openstack" if how == "setting" else "auto").own_uuid
    machine.dmi(product_name="KVM")
    assert not identify("openstack").own_uuid


def test_who_names_ec2_on_amazon_s_hypervisor_still_needs_tokens(machine: Machine) -> None:
    assert not identify("ec2").tokens
    machine.dmi(sys_vendor="Amazon EC2")
    assert identify("ec2").tokens
    machine.dmi(sys_vendor="")
    machine.put("uuid", "ec2e1916")
    assert identify("ec2").tokens


def test_a_mark_that_cannot_be_read_is_none(machine: Machine) -> None:
    machine.put("dmi/sys_vendor", "")
    (machine.top / "dmi/product_name").mkdir()
    (machine.top / "dmi/chassis_asset_tag").write_bytes(b"\xff\xfe\0")
    assert identify() == NO_CLOUD
