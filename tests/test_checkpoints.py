import jax.numpy as jnp
import numpy as np
import pytest

from gan_rec.errors import UserError
from gan_rec.train.checkpoints import Checkpoints

TREE = {"weights": jnp.arange(600.0).reshape(20, 30), "step": jnp.asarray(3)}


@pytest.fixture
def kept(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save("phase", 5, TREE)
    return checkpoints


def files(tmp_path):
    return sorted(p for p in (tmp_path / "phase" / "5").rglob("*") if p.is_file() and p.stat().st_size)


def test_round_trip_and_latest_wins(kept, tmp_path):
    kept.save("phase", 7, {**TREE, "step": jnp.asarray(4)})
    restored = Checkpoints(tmp_path).restore("phase", TREE)
    assert int(restored["step"]) == 4
    np.testing.assert_array_equal(restored["weights"], TREE["weights"])
    for step in (9, 11, 13):
        kept.save("phase", step, TREE)
    assert sorted(p.stem for p in (tmp_path / "phase").glob("*.sha256")) == ["11", "13"]


def test_nothing_kept(tmp_path):
    assert Checkpoints(tmp_path).restore("phase", TREE) is None


def test_a_save_without_manifest_did_not_happen(kept, tmp_path):
    kept.save("phase", 7, TREE)
    (tmp_path / "phase" / "7.sha256").unlink()
    assert Checkpoints(tmp_path).restore("phase", TREE) is not None
    kept.save("phase", 7, {**TREE, "step": jnp.asarray(8)})
    assert int(kept.restore("phase", TREE)["step"]) == 8, "the step whose save was killed can be saved again"
    for manifest in (tmp_path / "phase").glob("*.sha256"):
        manifest.unlink()
    assert Checkpoints(tmp_path).restore("phase", TREE) is None


def test_a_damaged_manifest_is_named(kept, tmp_path):
    (tmp_path / "phase" / "5.sha256").write_text("")
    with pytest.raises(UserError, match=r"manifest .*5\.sha256 is damaged"):
        kept.restore("phase", TREE)


def test_every_flipped_byte_is_found(kept, tmp_path):
    for file in files(tmp_path):
        content = file.read_bytes()
        file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        with pytest.raises(UserError, match=f"{file.name} is damaged"):
            kept.restore("phase", TREE)
        file.write_bytes(content)
    assert kept.restore("phase", TREE) is not None


def test_a_missing_file_is_named(kept, tmp_path):
    file = files(tmp_path)[0]
    file.unlink()
    with pytest.raises(UserError, match="is missing"):
        kept.restore("phase", TREE)


@pytest.mark.parametrize(
    "other", [{"weights": jnp.zeros((20, 31)), "step": jnp.asarray(0)}, {"weights": TREE["weights"]}]
)
def test_another_model_is_refused(kept, other):
    with pytest.raises(UserError, match="of another model"):
        kept.restore("phase", other)


def test_discard(kept):
    kept.discard("phase")
    assert kept.restore("phase", TREE) is None
