"""Which addresses may be called. What leads to an IPv4 address is judged as that address, however it is wrapped.

A translator with a prefix of its operator's own (RFC 6052) looks like any other address: there its own rules must hold.
"""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network

METADATA = IPv6Address("fd00:ec2::254")
_ENDS_IN_IPV4 = tuple(
    IPv6Network(network)
    for network in (
        "::ffff:0:0/96",  # mapped
        "::/96",  # compatible, of old; also ::1, which is 0.0.0.1 then: no more public than it was
        "::ffff:0:0:0/96",  # translated
        "64:ff9b::/96",  # NAT64
    )
)
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
_PRIVATE_ALL_THE_SAME = (_LOCAL_NAT64, IPv6Network("fec0::/10"))
"""Older releases of Python call them global; the second is site-local, of old."""
_PREFIXES_OF_IPV4 = {48: (6, 7, 9, 10), 56: (7, 9, 10, 11), 64: (9, 10, 11, 12), 96: (12, 13, 14, 15)}
"""Where its four bytes stand behind a prefix of so many bits (RFC 6052): byte 8 is left out, the rest is zero."""


@lru_cache(maxsize=1024)
def is_allowed(address: str, *, private_networks: bool) -> bool:
    """Raises `ValueError` for what is no address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    return all(_may_be_called(each, private_networks=private_networks) for each in _reached_by(ip))


def _may_be_called(ip: IPv4Address | IPv6Address, *, private_networks: bool) -> bool:
    if ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip == METADATA:
        return False
    return private_networks or (ip.is_global and not any(ip in network for network in _PRIVATE_ALL_THE_SAME))


def _reached_by(ip: IPv4Address | IPv6Address) -> Iterable[IPv4Address | IPv6Address]:
    """Several where nobody can tell which of them it is, or where it passes through another."""
    if isinstance(ip, IPv4Address):
        return (ip,)
    if any(ip in network for network in _ENDS_IN_IPV4):
        return (_bytes_of(ip, _PREFIXES_OF_IPV4[96]),)
    if ip in _LOCAL_NAT64:
        return (ip, *_behind_local_nat64(ip))
    if ip.sixtofour is not None:
        return (ip.sixtofour,)
    return (ip, *(ip.teredo or ()))


def _behind_local_nat64(ip: IPv6Address) -> Iterable[IPv4Address]:
    """How long the prefix is, only its operator knows. What else is in the address tells nothing of it: a translator
    does not look at that."""
    possible = {_bytes_of(ip, places) for places in _PREFIXES_OF_IPV4.values()}
    return possible - {IPv4Address(0)}


def _bytes_of(ip: IPv6Address, places: Iterable[int]) -> IPv4Address:
    return IPv4Address(bytes(ip.packed[place] for place in places))
