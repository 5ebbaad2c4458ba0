"""The operators: the only modules here that know Flink. They read state, ask the core, act."""
