"""The commands of ``sslight``, one file each, imported when typed.

A file has ``arguments(parser)``, which adds the command's options, and ``run(args)``, which calls
the package. ``TAKES_WORDS = True`` says that words without ``=`` mean something to it:
``args.words`` holds them. ``run`` may raise any error; ``cli`` turns it into a sentence and an exit
code.
"""

#: Every command and its line in ``sslight --help``, in the order in which that shows them.
COMMANDS: dict[str, str] = {
    "fit": "train a backbone without labels, or go on with a run that was stopped",
    "extract": "write the features of every image",
    "eval": "measure features: sslight eval knn --config ...",
    "report": "write a page about a run, or about several side by side",
    "check": "print a config's problems, or what a run would do",
    "list": "list methods, backbones, sources, configs, ...",
}
