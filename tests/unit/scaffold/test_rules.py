"""Each rule on both sides of its threshold; all of them for every recipe."""

from __future__ import annotations

import pytest

from sslight.scaffold import rules
from sslight.scaffold.recipes import recipe_for
from sslight.scaffold.rules import Seen

SMALL, LARGE = Seen(2_000, 32, gpu=False), Seen(1_200_000, 400, gpu=True)


@pytest.mark.parametrize(
    ("side", "gpu", "size"),
    [
        *[(16, True, 32), (32, True, 32), (52, True, 64), (120, True, 128), (500, True, 224)],
        *[(120, False, 96), (500, False, 96), (28, False, 32)],
    ],
)
def test_views_are_no_larger_than_the_images(side, gpu, size):
    assert rules.view_size(Seen(5000, side, gpu), recipe_for("simclr", side)) == size


def test_recipes_fit_the_size_of_the_images():
    assert recipe_for("simclr", 32).name == "simclr/cifar10_resnet18"
    assert recipe_for("simclr", 64).name == "simclr/cifar10_resnet18"
    assert recipe_for("simclr", 65).name == "simclr/folder_resnet50"
    assert recipe_for("mae", 400).name == "mae/imagenet_vit_b_16"
    assert recipe_for("ijepa", 32).name == "ijepa/cifar10_vit_t_4"  # nor a trial of minutes


def test_crops_are_milder_for_few_images():
    few, many = (rules.views(seen, recipe_for("simclr", seen.side)) for seen in (SMALL, LARGE))
    assert few.value["scale"] == [0.2, 1.0]
    assert "scale" not in many.value


def test_what_a_recipe_has_for_its_benchmarks_images_is_left_out():
    recipe = recipe_for("byol", 32)
    assert {"mean", "std", "interpolation"} <= set(recipe.views)
    assert not {"mean", "std", "interpolation"} & set(rules.views(SMALL, recipe).value)


def test_masks_keep_the_size_that_they_are_made_for():
    assert rules.views(SMALL, recipe_for("mae", 32)) is None


def test_small_crops_shrink_with_the_large_ones():
    node = rules.views(Seen(5000, 96, gpu=True), recipe_for("swav", 96)).value
    assert (node["size"], node["local_size"]) == (96, 40)


@pytest.mark.parametrize(
    ("images", "gpu", "batch"),
    [
        *[(8, True, 4), (100, True, 8), (511, False, 32), (512, False, 64), (10**6, False, 64)],
        *[(2047, True, 128), (2048, True, 256), (10**6, True, 256)],
    ],
)
def test_a_batch_leaves_eight_steps_an_epoch(images, gpu, batch):
    recipe = recipe_for("simclr", 32)
    assert rules.batch_size(Seen(images, 32, gpu), recipe).value == batch


@pytest.mark.parametrize(
    ("images", "gpu", "epochs"),
    [
        *[(100, True, 800), (50_000, True, 400), (10**6, True, 100)],
        *[(1000, False, 200), (20_000, False, 50), (10**6, False, 10)],
    ],
)
def test_few_images_are_seen_more_often(images, gpu, epochs):
    assert rules.epochs(Seen(images, 32, gpu), recipe_for("simclr", 32)).value == epochs


def test_a_low_temperature_is_raised_for_few_images():
    assert rules.temperature(Seen(5000, 400, True), recipe_for("simclr", 400)).value == 0.2
    assert rules.temperature(LARGE, recipe_for("simclr", 400)) is None
    assert rules.temperature(SMALL, recipe_for("simclr", 32)) is None  # 0.2 already
    assert rules.temperature(SMALL, recipe_for("vicreg", 32)) is None  # has none


def test_a_teacher_follows_faster_in_a_short_training():
    rising = {"name": "cosine", "start": 0.99, "end": 1.0}
    assert rules.momentum(SMALL, recipe_for("dino", 400)).value == rising
    assert rules.momentum(SMALL, recipe_for("moco_v2", 400)).value == 0.99
    assert rules.momentum(LARGE, recipe_for("dino", 400)) is None
    assert rules.momentum(SMALL, recipe_for("simclr", 400)) is None


def test_queues_and_clusters_stay_below_the_number_of_images():
    def chosen(method, seen):
        found = rules.counted_things(seen, recipe_for(method, seen.side))
        return {choice.key: choice.value for choice in found}

    assert chosen("moco_v2", SMALL) == {"method.queue_size": 256}
    assert chosen("moco_v2", LARGE) == {}
    assert chosen("deepcluster_v2", SMALL) == {"method.num_clusters": 200}
    assert chosen("simclr", SMALL) == {}


def test_the_warmup_is_at_most_a_tenth():
    assert rules.warmup(Seen(10**5, 32, gpu=False), recipe_for("simclr", 32)).value == 1
    assert rules.warmup(LARGE, recipe_for("simclr", 400)) is None


def test_what_a_recipe_does_in_its_first_epochs_is_shortened_too():
    (choice,) = rules.shorter_schedules(Seen(10**5, 32, gpu=False), recipe_for("dino", 32))
    assert choice.key == "method.teacher_temperature"
    assert choice.value["epochs"] == 1
    assert choice.value["start"] == 0.04
    assert not list(rules.shorter_schedules(Seen(2000, 32, gpu=True), recipe_for("dino", 32)))


def test_the_rate_follows_the_batch():
    assert rules.rate(LARGE, recipe_for("simclr", 400)).value == pytest.approx(0.3)
    assert rules.rate(SMALL, recipe_for("simclr", 32)).value == pytest.approx(0.1)  # 0.4 x 64 / 256


def test_precision_and_backbone_follow_the_machine():
    assert rules.precision(SMALL, recipe_for("simclr", 32)).value == "32-true"
    assert rules.precision(LARGE, recipe_for("simclr", 400)) is None
    assert rules.backbone(LARGE, recipe_for("simclr", 400)).value == {"name": "resnet50"}
    small = rules.backbone(SMALL, recipe_for("simclr", 32)).value
    assert small == {"name": "resnet18", "stem": "stride2"}
    tiny = rules.backbone(SMALL, recipe_for("mae", 400)).value
    sizes = {"image_size": 224, "patch_size": 16}
    assert tiny == {"name": "vit_t_16", "init": "xavier", **sizes}


def test_every_choice_says_why_and_who_says_so():
    for method in ("simclr", "moco_v2", "byol", "dino", "swav", "mae"):
        for seen in (SMALL, LARGE):
            for choice in rules.choose(seen, recipe_for(method, seen.side)):
                assert choice.why
                assert len(choice.source) > 20
