"""Settings are checked once, with one sentence that names the option."""

from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest

from durachart.app import settings
from durachart.app.settings import SettingInvalid, Settings
from durachart.fronts.address import Address


def test_the_database_is_in_the_data_directory_unless_named() -> None:
    assert Settings(data_dir=Path("d")).database_path == Path("d/durachart.db")
    assert Settings(database=Path("x.db")).database_path == Path("x.db")


@pytest.mark.parametrize(
    ("url", "path"),
    [("", None), ("sqlite:///a/b.db", Path("a/b.db")), ("sqlite:////var/b.db", Path("/var/b.db"))],
)
def test_database_urls_name_a_file(url: str, path: Path | None) -> None:
    assert settings.database(url) == path


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://h/d", "'mysql' is not a database this release can use"),
        ("states.db", "'states.db' is not a database"),
        ("sqlite://", "names no file"),
        ("sqlite://host/x", "names no file"),
        ("sqlite:///x.db?mode=ro", "names no file"),
        ("sqlite:///:memory:", "would lose what was acknowledged"),
    ],
)
def test_other_database_urls_say_what_would_do(url: str, says: str) -> None:
    with pytest.raises(SettingInvalid, match=r"sqlite:///FILE") as caught:
        settings.database(url)
    assert says in str(caught.value)
    assert str(caught.value).startswith("--db: ")


@pytest.mark.parametrize(
    ("url", "dsn", "shown", "pool_size"),
    [
        ("postgres://h/d", "postgresql://h/d", "h/d", None),
        ("postgresql://u:s%40cret@h:5433/d?pool_size=3&sslmode=require", None, "h:5433/d", 3),
        ("postgresql:///d?host=/run/pg", "postgresql:///d?host=%2Frun%2Fpg", "/run/pg/d", None),
        ("postgresql:///d", "postgresql:///d", "localhost/d", None),
    ],
)
def test_postgresql_is_named_by_a_url(url: str, dsn: str | None, shown: str, pool_size: int | None) -> None:
    target = settings.postgres(url)
    assert target is not None
    assert (target.shown, target.pool_size) == (shown, pool_size)
    assert target.dsn == (dsn or "postgresql://u:s%40cret@h:5433/d?sslmode=require")
    assert "cret" not in repr(target)
    assert Settings(postgres=target).database_shown == f"postgresql://{shown}"
    assert settings.postgres("sqlite:///x") is None


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://u:secret@h", "names no database"),
        ("postgresql://u:secret@h:port/d", "cannot be read"),
        ("postgresql://u:secret@h/d?pool_size=0", "it must be a number from 1 to 1,000"),
        ("postgresql://u:secret@h/d?pool_size=many", "pool_size is 'many'"),
    ],
)
def test_urls_of_postgresql_that_cannot_be_used(url: str, says: str) -> None:
    with pytest.raises(SettingInvalid) as caught:
        settings.postgres(url)
    assert says in str(caught.value)
    assert str(caught.value).startswith("--db: ")
    assert "secret" not in str(caught.value)


def test_addresses() -> None:
    assert settings.address("[::1]:80", "--listen") == Address("::1", 80)
    with pytest.raises(SettingInvalid, match=r"^--http: 'x' is not an address"):
        settings.address("x", "--http")


def test_machines_are_in_machines_if_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings.machines_directory(None) is None
    (tmp_path / "machines").mkdir()
    assert settings.machines_directory(None) == Path("machines")
    assert settings.machines_directory(tmp_path) == tmp_path
    with pytest.raises(SettingInvalid, match="gone is not a directory"):
        settings.machines_directory(Path("gone"))


def test_origins() -> None:
    assert settings.origins(["*", "https://app.example:8443"]) == ("*", "https://app.example:8443")
    for word in ("app.example", "https://app.example/path", "ftp://x"):
        with pytest.raises(SettingInvalid, match="--cors-origin"):
            settings.origins([word])


def test_endpoints() -> None:
    assert settings.endpoint("", "--x") is None
    assert settings.endpoint("http://h:1/v1", "--x") == "http://h:1/v1"
    with pytest.raises(SettingInvalid, match="is not a URL"):
        settings.endpoint("h:1", "--x")


def test_traces_go_where_the_option_or_opentelemetry_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", raising=False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
    assert settings.trace_endpoint(None) == "http://127.0.0.1:4317"
    assert settings.trace_endpoint("h:1") == "http://h:1"
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    assert settings.trace_endpoint(None) == ""
    with pytest.raises(SettingInvalid, match="--otlp-endpoint: 'http://nowhere' is not"):
        settings.trace_endpoint("nowhere")


def test_keys_are_not_in_the_text_of_settings() -> None:
    from durachart.workers.providers.settings import ProviderSettings

    chosen = Settings(providers=ProviderSettings(openai_api_key="the-key", anthropic_api_key="the-key"))
    assert "the-key" not in repr(chosen)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("12h", 43_200), ("7d", 604_800), ("2w", 1_209_600), ("off", None)],
)
def test_durations_are_a_number_and_a_unit(text: str, seconds: int | None) -> None:
    read = settings.duration(text, "--retain-finished")
    assert (None if read is None else read.total_seconds()) == seconds


@pytest.mark.parametrize(
    "text", ["", "7", "d", "0d", "-1d", "1.5h", "7 d", "7D", "1d12h", "P7D", "9999999d", "\u0667d"]
)
def test_anything_else_is_no_duration_and_the_sentence_says_what_is(text: str) -> None:
    with pytest.raises(SettingInvalid, match=r"^--retain-journal: .* is not a duration; write .* 12h or 7d"):
        settings.retention("7d", "7d", text)


def test_watches_have_an_age() -> None:
    assert settings.watch_age("90s").total_seconds() == 90
    with pytest.raises(SettingInvalid, match="--watch-age: watches cannot be kept open for ever"):
        settings.watch_age("off")


def test_a_finished_instance_outlives_its_request_ids() -> None:
    assert settings.retention("off", "off", "off").finished is None
    kept = settings.retention("8d", "7d", "1h")
    assert (kept.finished, kept.requests, kept.journal) == (
        timedelta(days=8),
        timedelta(days=7),
        timedelta(hours=1),
    )
    for finished, requests in (("1h", "7d"), ("7d", "off")):
        with pytest.raises(SettingInvalid, match=r"^--retain-finished: .* lower --retain-requests as well"):
            settings.retention(finished, requests, "off")


def test_concurrency_is_given_by_handler() -> None:
    assert settings.concurrency([]) == {}
    words = ["llm.generate=4", "log=0", "a=b=10000"]
    assert settings.concurrency(words) == {"llm.generate": 4, "log": 0, "a=b": 10_000}


@pytest.mark.parametrize("word", ["log", "log=", "=4", "log=-1", "log=1.5", "log=10001", "log=²"])
def test_what_is_no_concurrency_says_what_would_be(word: str) -> None:
    with pytest.raises(SettingInvalid, match="write llm"):
        settings.concurrency([word])


def test_hosts_for_http_request_are_names_addresses_and_networks() -> None:
    targets = settings.http_targets(["*.internal", "10.1.0.0/16"], ["10.1.2.3"])
    assert targets.permits("api.internal", ip_address("192.168.0.1"))
    assert targets.permits("x", ip_address("10.1.9.9"))
    assert not targets.permits("api.internal", ip_address("10.1.2.3"))
    assert not Settings().http_targets.permits("x", ip_address("127.0.0.1"))


@pytest.mark.parametrize(
    ("allow", "deny", "option"), [(["a b"], [], "--http-allow"), ([], ["10.0.0.1/8"], "--http-deny")]
)
def test_what_is_no_host_names_its_option(allow: list[str], deny: list[str], option: str) -> None:
    with pytest.raises(SettingInvalid, match=f"^{option}: .* is no host"):
        settings.http_targets(allow, deny)
