"""The command `segstream`: the job's commands and serving's, under one name."""

import typer

from jobs import commands as job_commands
from segstream.demo import demo
from serving import commands as serving_commands

app = typer.Typer(
    name="segstream",
    help="Real-time user segmentation on Flink: views in, segments out, lookups answered.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(job_commands.app)
app.add_typer(serving_commands.app)
app.command()(demo)


def main() -> None:
    """Run the command line."""
    app()
