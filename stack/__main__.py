"""`python -m stack`: the stack's commands on their own."""

from stack.commands import app

app(prog_name="stack")
