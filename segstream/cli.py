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
    from jobs import commands as job_commands
except ModuleNotFoundError:
    app.info.epilog = "run, generate and demo need the extra `job`: pip install 'segstream[job]'"
else:
    app.add_typer(job_commands.app)
    app.command()(demo)
app.add_typer(serving_commands.app)


def main() -> None:
    """Run the command line."""
    app()
