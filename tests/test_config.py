"""The configuration: presets, overrides, limits, and what a wrong one is told."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from shapley_core.config import ValuationConfig, preset_names, resolve, setting_keys
from shapley_core.errors import UserError


def refusal(overrides, preset="digits"):
    with pytest.raises(UserError) as caught:
        resolve(preset, overrides)
    return str(caught.value)


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_resolves_and_names_only_known_settings(name):
    config = resolve(name)
    assert config.preset == name
    assert config.description


def test_digits_is_the_papers_setting_in_small():
    config = resolve("digits")
    assert (config.data.source, config.data.channels, config.property.name) == ("digits", 1, "inception_score")
    assert config.pruning.ratio == 0.5
    assert config.game.n_coalitions >= 64
    schedule = config.noise_schedule
    assert (schedule.num_train_timesteps, schedule.beta_start, schedule.beta_end) == (1000, 1e-4, 0.02)
    assert schedule.beta_schedule == "linear"


@pytest.mark.parametrize(
    ("key", "value", "resolved"),
    [
        ("seed", 7, 7),
        ("seed", 2**53 - 1, 2**53 - 1),
        ("description", "ünïcode: #1", "ünïcode: #1"),
        ("training.steps", 3, 3),
        ("pruning.finetuning.steps", 4, 4),
        ("training.learning_rate", 1, 1.0),
        ("training.learning_rate", "1e-3", 1e-3),  # YAML 1.1 reads a number without a dot as a word
        ("training.random_flip", True, True),
        ("model.block_out_channels", [8, 16], (8, 16)),
        ("model.down_block_types", ["DownBlock2D", "AttnDownBlock2D"], ("DownBlock2D", "AttnDownBlock2D")),
        ("model.attention_head_dim", None, None),
        ("data.path", "/photos/set #2: mine", "/photos/set #2: mine"),
        ("data.mode", "RGB", "RGB"),
        ("noise_schedule.beta_schedule", "squaredcos_cap_v2", "squaredcos_cap_v2"),
        ("property.percentile", 50, 50.0),
        ("run.threads", 2, 2),
    ],
)
def test_an_override_changes_its_setting_and_no_other(key, value, resolved):
    plain, changed = resolve("digits").model_dump(), resolve("digits", {key: value}).model_dump()
    *parents, leaf = key.split(".")
    before, after = plain, changed
    for parent in parents:
        before, after = before[parent], after[parent]
    assert after[leaf] == resolved
    assert type(after[leaf]) is type(resolved)
    before[leaf] = after[leaf]
    assert plain == changed


def test_options_that_came_later_do_not_rename_models_that_were_kept_without_them():
    # Keys of models and games hash these sections, as stages/keeping.py and stages/reference.py dump them.
    named = {"steps", "batch_size", "learning_rate", "weight_decay", "ema_decay", "gradient_clip", "random_flip"}
    config = resolve("digits")
    for training in (config.training, config.pruning.finetuning, config.finetuning):
        assert training.model_dump(exclude_none=True).keys() == named | {"precision"}
    changed = resolve("digits", {"training.optimizer": "adamw"}).training
    assert changed.model_dump(exclude_none=True)["optimizer"] == "adamw"


def test_a_section_that_the_preset_leaves_out_can_be_overridden():
    # The preset does not name the noise schedule at all.
    assert resolve("digits", {"noise_schedule.num_train_timesteps": 50}).noise_schedule.num_train_timesteps == 50


def test_saved_configuration_loads_to_the_same_and_is_a_preset_itself(tmp_path):
    overrides = {
        "seed": 2**53 - 1,
        "description": "Grüße: #1",
        "model.attention_head_dim": None,
        "training.learning_rate": 1e-5,
        "data.source": "image_folder",
        "data.path": "s3://bucket/ä #1",
    }
    config = resolve("digits", overrides)
    path = tmp_path / "config.yaml"
    config.save(path)
    assert ValuationConfig.load(path) == config
    assert resolve(str(path)) == config
    assert resolve(str(path), {"seed": 1}) == resolve("digits", {**overrides, "seed": 1})


def test_the_saved_file_holds_every_setting(tmp_path):
    path = tmp_path / "config.yaml"
    resolve("digits").save(path)

    def leaves(tree, prefix=""):
        for key, value in tree.items():
            yield from leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]

    absent = {"model.autoencoder", "model.lora"}
    there = {key for key in setting_keys() if not key.startswith(tuple(f"{section}." for section in absent))}
    assert {*leaves(yaml.safe_load(path.read_text()))} == there | absent


def test_a_configuration_does_not_change():
    config = resolve("digits")
    with pytest.raises(ValueError, match="frozen"):
        config.training.steps = 3


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("training.step", "training.steps"),
        ("finetunning.steps", "finetuning.steps"),
        ("pruning.finetuning.stepps", "pruning.finetuning.steps"),
        ("n_coalitions", "game.n_coalitions"),
        ("model.block_channels", "model.block_out_channels"),
        ("sed", "seed"),
    ],
)
def test_unknown_setting_is_told_the_nearest(key, nearest):
    assert refusal({key: 1}) == f"there is no setting '{key}'; did you mean '{nearest}'?"


def test_a_section_is_no_setting():
    assert "there is no setting 'training'" in refusal({"training": 3})


def test_unknown_preset_is_told_the_nearest():
    assert refusal({}, "digit") == "there is no preset 'digit'; did you mean 'digits'?"


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ({"training.steps": 0}, ["training.steps", "greater than or equal to 1", "got 0"]),
        ({"training.steps": "many"}, ["training.steps", "integer", "'many'"]),
        ({"training.steps": 1.5}, ["training.steps", "integer", "1.5"]),
        ({"training.batch_size": 1}, ["training.batch_size", "greater than or equal to 2"]),
        ({"training.ema_decay": 1.0}, ["training.ema_decay", "less than 1"]),
        ({"training.learning_rate": 0}, ["training.learning_rate", "greater than 0"]),
        ({"training.gradient_clip": -1}, ["training.gradient_clip", "greater than 0"]),
        ({"pruning.ratio": 1}, ["pruning.ratio", "less than 1"]),
        ({"pruning.ratio": -0.1}, ["pruning.ratio", "greater than or equal to 0"]),
        ({"generation.eta": 1.1}, ["generation.eta", "less than or equal to 1"]),
        ({"generation.n_images": None}, ["generation.n_images", "integer", "None"]),
        ({"property.percentile": 101}, ["property.percentile", "less than or equal to 100"]),
        ({"game.min_measured": 0}, ["game.min_measured", "greater than 0"]),
        ({"game.confidence": 1}, ["game.confidence", "less than 1"]),
        ({"seed": -1}, ["seed", "greater than or equal to 0"]),
        ({"seed": 2**53}, ["seed", "less than 9007199254740992"]),
        ({"data.mode": "CMYK"}, ["data.mode", "'L' or 'RGB'", "'CMYK'"]),
        ({"data.resolution": 2}, ["data.resolution", "greater than or equal to 4"]),
        ({"data.source": "manifest"}, ["source 'manifest' needs data.path"]),
        ({"data.resolution": 9}, ["data.resolution 9 must be a multiple of 2", "halves the image 1 times"]),
        ({"model.block_out_channels": [16, 32, 32]}, ["model", "block_out_channels names 3 blocks", "must too"]),
        ({"model.block_out_channels": [16, 30]}, ["model", "norm_num_groups 4 must divide", "[30]"]),
        ({"model.block_out_channels": [-16, 32]}, ["model.block_out_channels.0", "greater than 0", "-16"]),
        ({"model.block_out_channels": "[16, 32]"}, ["model.block_out_channels", "tuple"]),
        ({"model.up_block_types": ["UpBlok2D", "UpBlock2D"]}, ["model.up_block_types.0", "'UpBlock2D'", "'UpBlok2D'"]),
        ({"model.up_block_types": ["UpBlock2D"]}, ["model", "block_out_channels names 2 blocks"]),
        ({"model.attention_head_dim": 0}, ["model.attention_head_dim", "greater than or equal to 1"]),
        (
            {"model.attention_head_dim": 64, "model.add_attention": True},
            ["model", "attention_head_dim 64 is more than the 32 channels"],
        ),
        (
            {"model.attention_head_dim": 20, "model.up_block_types": ["UpBlock2D", "AttnUpBlock2D"]},
            ["model", "attention_head_dim 20 is more than the 16 channels"],
        ),
        (
            {"noise_schedule.num_train_timesteps": 5},
            ["generation.n_steps 10 must not exceed the 5 timesteps"],
        ),
    ],
)
def test_a_value_out_of_its_limits_is_named(overrides, parts):
    sentence = refusal(overrides)
    for part in ["the configuration is not valid", *parts]:
        assert part in sentence


def test_all_problems_are_told_at_once():
    sentence = refusal({"training.steps": 0, "game.confidence": 2})
    assert "training.steps" in sentence and "game.confidence" in sentence


def test_head_width_does_not_matter_without_attention():
    assert resolve("digits", {"model.attention_head_dim": 64}).model.attention_head_dim == 64


@settings(max_examples=60)
@given(st.integers(1, 5), st.integers(4, 200))
def test_resolution_must_halve_once_per_block_but_the_first(n_blocks, resolution):
    overrides = {
        "model.block_out_channels": [8] * n_blocks,
        "model.down_block_types": ["DownBlock2D"] * n_blocks,
        "model.up_block_types": ["UpBlock2D"] * n_blocks,
        "data.resolution": resolution,
    }
    halved = resolution
    for _ in range(n_blocks - 1):
        halved /= 2
    if halved == int(halved):
        assert resolve("digits", overrides).data.resolution == resolution
    else:
        assert f"data.resolution {resolution} must be a multiple" in refusal(overrides)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a: [", "is not YAML"),
        (b"\xff\xfe\x00x", "is not YAML|must hold a mapping"),
        (b"", "must hold a mapping of settings"),
        (b"- 1", "must hold a mapping of settings"),
        (b"run: 3\n", "run"),
        (b"sede: 3\n", "sede"),
    ],
)
def test_a_file_that_is_no_configuration(content, sentence, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        resolve(str(path), {"run.threads": 1})


def test_a_file_that_is_not_there():
    assert refusal({}, "nowhere/config.yaml") == "there is no configuration file nowhere/config.yaml"
