"""VISSL's keys that have no counterpart, and why none is needed or what stands in its place."""

from __future__ import annotations

from sslight.convert.vissl_tree import VisslTree

_LAUNCH = "torchrun, SLURM or Lightning's launcher set up the process group from the environment."
_ORDER = "the order of images is a function of seed, epoch and batch; nothing is to be kept."
_EVAL = "features are evaluated by `sslight extract` and `sslight eval`, not by a training config."

#: The beginning of a key -> what to say of it; None for the workings of VISSL's own that change
#: no result. The longest beginning that fits decides.
GONE: dict[str, str | None] = {
    "VERBOSE": None,
    "MULTI_PROCESSING_METHOD": "loaders start their workers as PyTorch does by default.",
    "HOOKS": None,
    "HOOKS.CHECK_NAN": "callbacks.nan_guard is on in _base_/pretrain.",
    "MONITOR_PERF_STATS": None,
    "PERF_STAT_FREQUENCY": None,
    "ROLLING_BTIME_FREQ": None,
    "TENSORBOARD_SETUP": None,
    "MONITORING": "activations are drawn by callbacks.histograms: {activations: PATTERN}.",
    "PROFILING": None,
    "METERS": "metrics belong to the method; top-1 and top-5, or mean average precision.",
    "METERS.enable_training_meter": None,
    "TRAINER.TRAIN_STEP_NAME": None,
    "TRAINER.TASK_NAME": None,
    "TRAINER": "a train step of your own: `train_step: {name: ...}`, see docs/extend.md.",
    "MACHINE": None,
    "DATA.ENABLE_ASYNC_GPU_COPY": None,
    "DATA.TRAIN.DATASET_NAMES": None,
    "DATA.TEST.DATASET_NAMES": None,
    "DATA.TRAIN.MMAP_MODE": None,
    "DATA.TEST.MMAP_MODE": None,
    "DATA.TRAIN.DEFAULT_GRAY_IMG_SIZE": None,
    "DATA.TEST.DEFAULT_GRAY_IMG_SIZE": None,
    "DATA.TRAIN.COLLATE_FUNCTION": None,
    "DATA.TEST.COLLATE_FUNCTION": None,
    "DATA.TRAIN.INPUT_KEY_NAMES": None,
    "DATA.TRAIN.TARGET_KEY_NAMES": None,
    "DATA.TEST.INPUT_KEY_NAMES": None,
    "DATA.TEST.TARGET_KEY_NAMES": None,
    "DATA.TRAIN.TRANSFORMS": None,
    "DATA.TEST.TRANSFORMS": None,
    "DATA.TRAIN.DROP_LAST": None,
    "DATA.TEST.DROP_LAST": "evaluation sees every image once, without padding.",
    "DATA.TEST.ENABLE_QUEUE_DATASET": None,
    "DATA.TRAIN.USE_STATEFUL_DISTRIBUTED_SAMPLER": _ORDER,
    "DATA.TEST.USE_STATEFUL_DISTRIBUTED_SAMPLER": _ORDER,
    "DATA.TRAIN.USE_DEBUGGING_SAMPLER": _ORDER,
    "DATA.TEST.USE_DEBUGGING_SAMPLER": _ORDER,
    "DATA.TRAIN.SAMPLER": "images are not drawn by class; balance the list of images instead.",
    "DATA.TRAIN.TRAIN_PHASES_PER_EPOCH": "an epoch is one pass over the images; there are no "
    "phases. Checkpoints and validation within one: callbacks.checkpoint.every_n_steps, "
    "trainer.val_check_interval.",
    "DATA.TRAIN.COPY_TO_LOCAL_DISK": "copy the data before you start, and name the copy.",
    "DATA.TEST.COPY_TO_LOCAL_DISK": "copy the data before you start, and name the copy.",
    "DATA.TRAIN.COPY_DESTINATION_DIR": None,
    "DATA.TEST.COPY_DESTINATION_DIR": None,
    "MODEL.HEAD.PARAMS": None,
    "MODEL.HEAD.PARAMS_MULTIPLIER": "weights of heads start as PyTorch starts them, unscaled.",
    "MODEL.HEAD.BATCHNORM_EPS": None,
    "MODEL.HEAD.BATCHNORM_MOMENTUM": None,
    "MODEL.CUDA_CACHE": None,
    "MODEL.MULTI_INPUT_HEAD_MAPPING": None,
    "MODEL.SINGLE_PASS_EVERY_CROP": "crops of one size share a pass.",
    "MODEL.INPUT_TYPE": "images are RGB; the method `colorization` goes to Lab itself.",
    "MODEL.NON_TRAINABLE_PARAMS": "write optim.groups: [{pattern: ..., freeze_epochs: 1000000}].",
    "MODEL.ACTIVATION_CHECKPOINTING": "backbone.checkpoint_blocks: N recomputes N blocks.",
    "MODEL.SHARDED_DDP_SETUP": None,
    "MODEL.FEATURE_EVAL_SETTINGS": _EVAL,
    "MODEL.FEATURE_EVAL_SETTINGS.SHOULD_FLATTEN_FEATS": None,
    "MODEL.TRUNK": "parameters of a trunk that were not carried over; set them in `backbone`.",
    "MODEL.EMA_MODEL": "callbacks.ema_weights: {decay: 0.9999}.",
    "LOSS": "belongs to another loss, or to a variant of it that the method here does not have.",
    "OPTIMIZER.larc_config": None,
    "OPTIMIZER.construct_single_param_group_only": None,
    "OPTIMIZER.param_schedulers.lr.base_value": None,
    "DISTRIBUTED.BACKEND": "the device decides; trainer.strategy: {name: ddp, "
    "process_group_backend: gloo} says it.",
    "DISTRIBUTED.INIT_METHOD": _LAUNCH,
    "DISTRIBUTED.RUN_ID": None,
    "DISTRIBUTED.NCCL_DEBUG": "set NCCL_DEBUG=INFO in the environment.",
    "DISTRIBUTED.NCCL_SOCKET_NTHREADS": "set it in the environment.",
    "DISTRIBUTED.BROADCAST_BUFFERS": None,
    "SLURM": "write them into the batch script: scripts/slurm_example.sbatch.",
    "CHECKPOINT.BACKEND": None,
    "CHECKPOINT.APPEND_DISTR_RUN_ID": "give run_dir a name of its own.",
    "CHECKPOINT.OVERWRITE_EXISTING": "nothing is ever overwritten: give another run_dir.",
    "CHECKPOINT.LATEST_CHECKPOINT_RESUME_FILE_NUM": "the newest is read; move it out of the folder "
    "to go on from the one before.",
    "CHECKPOINT.USE_SYMLINK_CHECKPOINT_FOR_RESUME": None,
    "EXTRACT_FEATURES": _EVAL,
    "CLUSTERFIT": "is a method here: `clusterfit` clusters and trains in one run.",
    "DISTILLATION": "is a method here: `distill`, with a teacher's run or file.",
    "SVM": _EVAL,
    "SVM_FEATURES_PATH": _EVAL,
    "IMG_RETRIEVAL": _EVAL,
    "NEAREST_NEIGHBOR": _EVAL,
    "LOW_SHOT_BENCHMARK": _EVAL,
    "GEO_LOCALIZATION": _EVAL,
    "RANKING": _EVAL,
}
#: What nearly every file of VISSL's says; it is told only where it says something else.
USUAL = {
    "MULTI_PROCESSING_METHOD": "forkserver",
    "DISTRIBUTED.BACKEND": "nccl",
    "CHECKPOINT.BACKEND": "disk",
    "CHECKPOINT.LATEST_CHECKPOINT_RESUME_FILE_NUM": 1,
    "MODEL.INPUT_TYPE": "rgb",
    "MODEL.HEAD.PARAMS_MULTIPLIER": 1.0,
    "DATA.TRAIN.TRAIN_PHASES_PER_EPOCH": 1,
    "VERSION": 1,
}
_UNKNOWN = "the converter does not know this key."

#: Sections of a whole file (train_config.yaml) that matter only where the file is about them.
_ALWAYS_THERE = (
    *("EXTRACT_FEATURES", "CLUSTERFIT", "SVM", "IMG_RETRIEVAL", "NEAREST_NEIGHBOR", "LOSS"),
    *("LOW_SHOT_BENCHMARK", "GEO_LOCALIZATION", "RANKING", "MODEL.TRUNK", "SLURM", "DISTILLATION"),
)


def tell_the_rest(tree: VisslTree) -> None:
    """Note each key that nobody has read: why it is gone, or that it is not known."""
    left = {key: value for key, value in tree.left().items() if value != USUAL.get(key)}
    whole = all(
        any(key.startswith(f"{name}.") for key in left) for name in ("SVM", "IMG_RETRIEVAL")
    )
    for key in left:
        beginning = _beginning(key)
        text = GONE[beginning] if beginning else f"{left[key]!r}: {_UNKNOWN}"
        if whole and beginning in _ALWAYS_THERE:
            continue
        if text is not None:
            tree.tell(key if beginning is None else _shown(key, beginning), text)


def _beginning(key: str) -> str | None:
    """The longest entry of the table that a key begins with."""
    parts = key.split(".")
    for length in range(len(parts), 0, -1):
        if ".".join(parts[:length]) in GONE:
            return ".".join(parts[:length])
    return None


def _shown(key: str, beginning: str) -> str:
    """Losses by full key, since each is a choice; sections once."""
    return key if beginning == "LOSS" else beginning
