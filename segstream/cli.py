"""The command `segstream`: the job's commands and serving's, under one name."""

import typer

from segstream.demo import demo
from serving import commands as serving_commands

app = typer.Typer(
    name="segstream",
    help="Real-time user segmentation on Flink: views in, segments out, lookups answered.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

# A serving image has no Flink: it shows the commands that it can run.
try:
    from jobs import commands, store_commands, submit_commands, topic_commands
except ModuleNotFoundError:
    app.info.epilog = (
        "run, generate, submit, store, topics, rules, produce, changes and demo need the extra"
        " `job`: pip install 'segstream[job]'"
    )
else:
    for part in (commands, submit_commands, topic_commands):
        app.add_typer(part.app)
    app.add_typer(store_commands.app, name="store")
    app.command()(demo)
try:
    from stack import commands as stack_commands
except ModuleNotFoundError:
    pass
else:
    app.add_typer(stack_commands.app, name="stack")
app.add_typer(serving_commands.app)


def main() -> None:
    """Run the command line."""
    app()
