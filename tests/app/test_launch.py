"""The app starts on loopback, sends nothing anywhere, and limits uploads."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from cnns_spectrograms.app import launch


def test_the_command_starts_streamlit_on_loopback_without_telemetry(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from streamlit.web import cli

    started: list[list[str]] = []
    monkeypatch.setattr(cli, "main", lambda arguments, standalone_mode: started.append(arguments))
    monkeypatch.setenv("CNNS_SPECTROGRAMS_APP", "")  # put back afterwards
    monkeypatch.chdir(tmp_path)
    parser = argparse.ArgumentParser()
    launch.add_command(parser.add_subparsers())
    (tmp_path / "w.safetensors").touch()
    options = parser.parse_args(["app", "--port", "8700", "--model", "w.safetensors"])
    assert options.run(options) == 0
    (arguments,) = started
    assert arguments[:2] == ["run", str(launch.MAIN)]
    assert launch.MAIN.is_file()
    for option in (
        "--server.address=127.0.0.1",
        "--server.port=8700",
        "--browser.gatherUsageStats=false",
        f"--server.maxUploadSize={launch.MAX_UPLOAD_MB}",
    ):
        assert option in arguments
    settings = launch.read_settings()
    assert settings.model == tmp_path / "w.safetensors"
    assert settings.data == tmp_path / "data"


def test_streamlit_knows_every_option_that_it_is_given() -> None:
    from streamlit import config

    known = set(config.get_config_options())
    assert set(launch.make_options("127.0.0.1", 1)) <= known


@pytest.mark.parametrize("launched", [False, True])
def test_no_message_to_the_page_is_sent_as_a_reference(
    monkeypatch: pytest.MonkeyPatch, launched: bool
) -> None:
    """With Streamlit's own setting a large figure is one; the app's setting sends it whole."""
    from streamlit import config
    from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
    from streamlit.runtime.forward_msg_cache import populate_hash_if_needed

    name = "global.minCachedMessageSize"
    if launched:
        size = float(launch.make_options("127.0.0.1", 1)[name])
        get_option = config.get_option
        monkeypatch.setattr(
            config, "get_option", lambda key: size if key == name else get_option(key)
        )
    message = ForwardMsg()
    message.delta.new_element.text.body = "x" * 2**22
    populate_hash_if_needed(message)
    assert message.metadata.cacheable is not launched
