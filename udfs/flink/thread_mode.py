"""What PyFlink 2.2 asks the JVM for by a wrong name in thread mode, asked by the right one."""

from typing import Any, NamedTuple

from pyflink.datastream import KeyedBroadcastProcessFunction, RuntimeContext


class Subtask(NamedTuple):
    """Which of how many parallel instances of an operator this is."""

    number: int
    parallelism: int


def subtask_of(runtime_context: RuntimeContext) -> Subtask:
    """The subtask that an operator runs as."""
    context: Any = getattr(runtime_context, "_runtime_context", None)
    if context is None:
        return Subtask(
            runtime_context.get_index_of_this_subtask(),
            runtime_context.get_number_of_parallel_subtasks(),
        )
    task = context.getTaskInfo()
    return Subtask(task.getIndexOfThisSubtask(), task.getNumberOfParallelSubtasks())


def watermark_of(ctx: KeyedBroadcastProcessFunction.Context) -> int:
    """Event time in this subtask, in epoch ms, asked while a broadcast row is taken."""
    context: Any = ctx._j_context
    watermark_ms: int = context.timerService().currentWatermark()
    return watermark_ms
