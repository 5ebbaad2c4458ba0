"""What is submitted to Flink, and the commands that submit it."""
