"""Settings are checked once, with one sentence that names the option."""

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
        ("postgresql://h/d", "'postgresql' is not a database this release can use"),
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
