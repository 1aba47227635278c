"""Where a process says that others reach it."""

import ipaddress
import socket
from types import SimpleNamespace

import pytest

from jaxmg import _compat


@pytest.fixture
def coordinator_at(monkeypatch):
    def at(address):
        monkeypatch.setattr(_compat, "_job", SimpleNamespace(coordinator_address=address))
        return ipaddress.ip_address(_compat._own_address())

    return at


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_job_on_this_host_alone_is_reached_by_nobody_else(coordinator_at, host):
    assert coordinator_at(f"{host}:1234").is_loopback


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_an_address_of_ipv6_has_brackets(coordinator_at):
    try:
        assert coordinator_at("[::1]:1234") == ipaddress.ip_address("::1")
    except OSError:
        pytest.skip("no IPv6 here")


def test_a_host_does_not_tell_others_to_look_for_it_on_themselves(coordinator_at, monkeypatch):
    """Debian's name for a host is a loopback on that host itself."""
    towards = {"node1": "127.0.1.1", "192.0.2.1": "10.1.2.3"}
    monkeypatch.setattr(_compat, "_address_towards", lambda host, port: towards[host])
    assert str(coordinator_at("node1:1234")) == "10.1.2.3"


def test_a_host_without_a_network_is_reached_by_itself(coordinator_at, monkeypatch):
    def towards(host, port):
        if host != "node1":
            raise OSError("network is unreachable")
        return "127.0.1.1"

    monkeypatch.setattr(_compat, "_address_towards", towards)
    assert str(coordinator_at("node1:1234")) == "127.0.1.1"


def test_tests_make_a_host_take_itself_for_several(monkeypatch):
    here = _compat._host()
    assert here == _compat._host()
    monkeypatch.setenv("JAXMG_TEST_HOST", "another")
    assert here != _compat._host()
