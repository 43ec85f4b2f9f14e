"""What ``http.request`` takes, and where it may go."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from durachart.workers.errors import EffectRejected
from durachart.workers.http_params import read_http_request
from durachart.workers.http_targets import HttpTargets, read_hosts

URL = "https://api.example/orders"


def test_what_is_left_out_has_defaults() -> None:
    request = read_http_request({"url": URL})
    assert (request.method, request.content, request.content_type) == ("GET", None, "")
    assert (request.timeout_ms, request.idempotency_header) == (30_000, "Idempotency-Key")
    assert [status for status in (199, 200, 299, 300) if request.expects(status)] == [200, 299]


def test_content_is_json_or_text_and_makes_it_a_post() -> None:
    request = read_http_request({"url": URL, "json": {"für": 1}})
    assert (request.method, request.content) == ("POST", '{"für": 1}'.encode())
    assert request.content_type == "application/json"
    assert read_http_request({"url": URL, "json": None}).content == b"null"
    request = read_http_request({"url": URL, "body": "a=1", "method": "put"})
    assert (request.method, request.content) == ("PUT", b"a=1")


def test_numbers_that_an_expression_made_doubles_are_whole() -> None:
    request = read_http_request({"url": URL, "timeout_ms": 500.0, "expect": [201.0, 404]})
    assert request.timeout_ms == 500
    assert [status for status in (200, 201, 404) if request.expects(status)] == [201, 404]


def test_names_in_other_scripts_are_sent_as_ascii_and_fragments_not_at_all() -> None:
    request = read_http_request({"url": "http://bücher.example:8080/a b?c=1#d"})
    assert request.url == "http://xn--bcher-kva.example:8080/a%20b?c=1"
    assert request.host == "http://xn--bcher-kva.example:8080"


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "`url`"),
        ({"url": 1}, "`url`"),
        ({"url": "ftp://api.example/"}, "http://HOST"),
        ({"url": "http://"}, "http://HOST"),
        ({"url": "/orders"}, "http://HOST"),
        ({"url": "http://[::1"}, "not a URL"),
        ({"url": "http://api.example:99999/"}, "http://HOST"),
        ({"url": "http://ada:secret@api.example/"}, "no user"),
        ({"url": "http://a\nb/"}, "not a URL"),
        ({"url": URL, "method": "TRACE"}, "`method`"),
        ({"url": URL, "method": 1}, "`method`"),
        ({"url": URL, "json": 1, "body": "x"}, "give one"),
        ({"url": URL, "body": {}}, "`body`"),
        ({"url": URL, "headers": []}, "`headers`"),
        ({"url": URL, "headers": {"a b": "c"}}, "'a b'"),
        ({"url": URL, "headers": {"X": "a\r\nHost: b"}}, "headers.X"),
        ({"url": URL, "headers": {"X": 1}}, "headers.X"),
        ({"url": URL, "headers": {"Host": "b"}}, "headers.Host"),
        ({"url": URL, "timeout_ms": 0}, "`timeout_ms`"),
        ({"url": URL, "timeout_ms": True}, "`timeout_ms`"),
        ({"url": URL, "timeout_ms": float("inf")}, "`timeout_ms`"),
        ({"url": URL, "expect": []}, "`expect`"),
        ({"url": URL, "expect": [99]}, "`expect`"),
        ({"url": URL, "expect": 200}, "`expect`"),
        ({"url": URL, "idempotency_header": "a b"}, "`idempotency_header`"),
        ({"url": URL, "idempotency_header": "Host"}, "`idempotency_header`"),
        ({"uri": URL}, "'uri'"),
    ],
)
def test_what_is_not_valid_is_named(params: dict[str, Any], said: str) -> None:
    with pytest.raises(EffectRejected) as rejected:
        read_http_request(params)
    assert rejected.value.reason == "PARAMS_INVALID"
    assert said in rejected.value.message
    assert "secret" not in rejected.value.message


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("172.16.0.1", False),
        ("192.168.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.215.14", True),
        ("64:ff9b::a9fe:a9fe", False),
        ("2002:7f00:1::", False),
        ("fd00:ec2::254", False),
        ("fe80::1", False),
        ("fec0::1", False),
        ("ff02::1", False),
    ],
)
def test_only_public_addresses_are_permitted_unless_an_operator_says_more(address: str, public: bool) -> None:
    where = ipaddress.ip_address(address)
    assert HttpTargets().permits("api.example", where) is public
    assert HttpTargets(allow=read_hosts([address])).permits("api.example", where)
    assert HttpTargets(allow=read_hosts(["API.example."])).permits("api.example", where)
    denied = HttpTargets(allow=read_hosts(["api.example"]), deny=read_hosts([address]))
    assert not denied.permits("api.example", where)


def test_networks_and_names_below_a_name_are_hosts() -> None:
    private, other = ipaddress.ip_address("10.1.2.3"), ipaddress.ip_address("10.2.0.1")
    targets = HttpTargets(read_hosts(["10.1.0.0/16", "*.internal"]), read_hosts(["db.internal", "fd00::/8"]))
    assert targets.permits("x", private)
    assert not targets.permits("x", other)
    assert targets.permits("a.b.INTERNAL", other)
    assert not targets.permits("internal", other)
    assert not targets.permits("db.internal.", private)


def test_an_address_inside_an_address_is_judged_too() -> None:
    mapped = ipaddress.ip_address("::ffff:10.1.2.3")
    assert HttpTargets(allow=read_hosts(["10.1.0.0/16"])).permits("x", mapped)
    assert not HttpTargets(read_hosts(["x"]), read_hosts(["10.1.0.0/16"])).permits("x", mapped)


@pytest.mark.parametrize("word", ["", "http://a", "10.1.0.1/16", "10.1.2", "a b", "*", "a*.b", "999.1.1.1"])
def test_a_word_that_is_no_host_is_named(word: str) -> None:
    with pytest.raises(ValueError, match="is no host"):
        read_hosts([word])
