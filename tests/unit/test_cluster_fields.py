"""The settings of a cluster: what is read, what is refused, and which engine comes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from manager import modes, settings
from manager.errors import SettingsError
from manager.launcher.engines import engine_of
from manager.launcher.ray.engine import RayEngine
from manager.launcher.slurm import words
from manager.launcher.slurm.engine import SlurmEngine
from tests.unit.test_slurm_engine import JOB

ELSEWHERE = {"PORTS": "8001:9001:9081:1::::any", "CARD_KIND": "ascend"}


def load(tmp_path: Path, **environ: str) -> settings.Settings:
    return settings.load(environ, root=tmp_path)


def test_without_a_word_there_is_no_engine(tmp_path: Path) -> None:
    assert engine_of(load(tmp_path), "ours") is None


@pytest.mark.parametrize(
    "address",
    [
        "http://10.0.0.1:8265",
        "https://ray.example.org/cluster/",
        "http://[::1]:8265",
        "http://head",
    ],
)
def test_addresses_that_are_some(tmp_path: Path, address: str) -> None:
    assert load(tmp_path, RAY_ADDRESS=address).ray_address == address.rstrip("/")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LAUNCHER", "kubernetes"),
        ("RAY_ADDRESS", "auto"),
        ("RAY_ADDRESS", "ray://10.0.0.1:10001"),
        ("RAY_ADDRESS", "http://user:secret@10.0.0.1"),
        ("RAY_ADDRESS", "http://10.0.0.1:99999"),
        ("RAY_ADDRESS", "http://10.0.0.1/?x=1"),
        ("RAY_ADDRESS", "http://10.0.0.1/a b"),
        ("RAY_ADDRESS", "http://"),
        ("SLURM_PARTITION", "--uid=0"),
        ("SLURM_ACCOUNT", "a b"),
        ("SLURM_GRES", "gpu;reboot"),
        ("SLURM_OPTIONS", "--job-name=x"),
        ("SLURM_OPTIONS", "--job=x"),
        ("SLURM_OPTIONS", "--exp=ALL"),
        ("SLURM_OPTIONS", "-p x"),
        ("SLURM_OPTIONS", "x"),
    ],
)
def test_values_that_are_refused(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load(tmp_path, **{name: value})


def test_ray_is_asked_where_the_settings_say_with_the_token_that_is_there(tmp_path: Path) -> None:
    of = load(tmp_path, LAUNCHER="ray", RAY_ADDRESS="http://127.0.0.1:1", **ELSEWHERE)
    assert isinstance(engine_of(of, "ours"), RayEngine)
    of.ray_token_file.write_text("t" * 64)
    of.ray_token_file.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        engine_of(of, "ours")
    # Each start closes it first.
    assert modes.mend(of) == [of.ray_token_file]
    engine = engine_of(of, "ours")
    assert "t" * 64 not in repr(engine)


def test_slurm_is_given_what_the_site_needs(tmp_path: Path) -> None:
    of = load(
        tmp_path,
        LAUNCHER="slurm",
        SLURM_PARTITION="npu",
        SLURM_ACCOUNT="lab",
        SLURM_GRES="gpu:ascend",
        SLURM_OPTIONS="--cpus-per-task=8 '--mem=64G' --exclude=n7",
        **ELSEWHERE,
    )
    engine = engine_of(of, "ours")
    assert isinstance(engine, SlurmEngine)
    line = words.submission(JOB, "ours", of.slurm_gres, engine._more)
    given = {"--partition=npu", "--account=lab", "--cpus-per-task=8", "--mem=64G", "--exclude=n7"}
    assert given <= set(line)
    assert "--gres=gpu:ascend:1" in line
