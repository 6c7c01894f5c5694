"""Which addresses may be called, with private networks open and closed."""

import pytest

from remediator.clients.addresses import is_allowed

NEVER, PRIVATE, PUBLIC = (False, False), (True, False), (True, True)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("169.254.169.254", NEVER),
        ("fe80::1", NEVER),
        ("fe80::1%eth0", NEVER),
        ("fd00:ec2::254", NEVER),
        ("0.0.0.0", NEVER),  # noqa: S104  # an address to refuse
        ("::", NEVER),
        ("224.0.0.1", NEVER),
        ("ff02::1", NEVER),
        ("10.0.0.1", PRIVATE),
        ("100.64.0.1", PRIVATE),
        ("127.0.0.1", PRIVATE),
        ("::1", PRIVATE),
        ("fd12::1", PRIVATE),
        ("fec0::1", PRIVATE),
        ("93.184.216.34", PUBLIC),
        ("2606:2800:220:1::1", PUBLIC),
    ],
)
def test_metadata_is_never_called_and_private_addresses_only_where_allowed(
    address: str, expected: tuple[bool, bool]
) -> None:
    assert judged(address) == expected


@pytest.mark.parametrize(
    ("metadata", "private", "public"),
    [
        pytest.param("::ffff:169.254.169.254", "::ffff:10.0.0.1", "::ffff:93.184.216.34", id="mapped"),
        pytest.param("::169.254.169.254", "::10.0.0.1", "::93.184.216.34", id="compatible"),
        pytest.param("::ffff:0:169.254.169.254", "::ffff:0:10.0.0.1", "::ffff:0:93.184.216.34", id="translated"),
        pytest.param("64:ff9b::169.254.169.254", "64:ff9b::10.0.0.1", "64:ff9b::93.184.216.34", id="NAT64"),
        pytest.param("2002:a9fe:a9fe::1", "2002:a00:1::1", "2002:5db8:d822::1", id="6to4"),
    ],
)
def test_what_leads_to_an_ipv4_address_is_judged_as_that(metadata: str, private: str, public: str) -> None:
    assert [judged(address) for address in (metadata, private, public)] == [NEVER, PRIVATE, PUBLIC]


@pytest.mark.parametrize(
    ("metadata", "private", "public"),
    [
        pytest.param(
            "64:ff9b:1::169.254.169.254", "64:ff9b:1:9::10.0.0.1", "64:ff9b:1::93.184.216.34", id="local NAT64, /96"
        ),
        pytest.param("64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:a00:0:100::", "64:ff9b:1:5db8:d8:2200::", id="its /48"),
        pytest.param(
            "64:ff9b:1:a9fe:a9:fe00:808:808",
            "64:ff9b:1:a00:0:100:808:808",
            "64:ff9b:1:5db8:d8:2200:808:808",
            id="its /48, with more behind",
        ),
        pytest.param("64:ff9b:1:a9:fe:a9fe::", "64:ff9b:1:70a:0:1::", "64:ff9b:1:75d:b8:d822::", id="its /56"),
        pytest.param("64:ff9b:1:7:a9:fea9:fe00:0", "64:ff9b:1:7:a:0:100:0", "64:ff9b:1:7:5d:b8d8:2200:0", id="its /64"),
        pytest.param(
            "2001:0:5db8:d822:0:0:5601:5601",
            "2001:0:5db8:d822:0:0:f5ff:fffe",
            "2001:0:5db8:d822:0:0:a247:27dd",
            id="Teredo",
        ),
        pytest.param(
            "2001:0:a9fe:a9fe:0:0:a247:27dd",
            "2001:0:a00:1:0:0:a247:27dd",
            "2001:0:5db8:d822::a247:27dd",
            id="its server",
        ),
    ],
)
def test_what_only_a_network_of_our_own_can_lead_to_is_private_whatever_is_in_it(
    metadata: str, private: str, public: str
) -> None:
    assert [judged(address) for address in (metadata, private, public)] == [NEVER, PRIVATE, PRIVATE]


def judged(address: str) -> tuple[bool, bool]:
    return is_allowed(address, private_networks=True), is_allowed(address, private_networks=False)
