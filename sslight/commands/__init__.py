"""The commands of ``sslight``, one file each, imported when typed.

The file of ``convert-config`` is ``convert_config.py``.

A file has ``arguments(parser)``, which adds the command's options, and ``run(args)``, which calls
the package. ``TAKES_WORDS = True`` says that words without ``=`` mean something to it:
``args.words`` holds them. ``run`` may raise any error; ``cli`` turns it into a sentence and an exit
code.
"""

#: Every command and its line in ``sslight --help``, in the order in which that shows them.
COMMANDS: dict[str, str] = {
    "init": "look at a folder of images and write a config for it",
    "fit": "train a backbone without labels, or go on with a run that was stopped",
    "extract": "write the features of every image",
    "eval": "measure features: sslight eval knn --config ...",
    "report": "write a page about a run, or about several side by side",
    "features": "say what a feature store holds, or write it as Parquet, CSV or npz",
    "query": "find the images most like given ones",
    "export": "write a backbone for timm, torchvision, ONNX, Hugging Face, ...",
    "check": "print a config's problems, or what a run would do; --run tries it",
    "convert-config": "turn a config of VISSL's into one of sslight's",
    "schema": "print the JSON Schema of a config, for editors",
    "completion": "print what lets a shell complete commands, names and keys",
    "list": "list methods, backbones, sources, configs, ...",
}
