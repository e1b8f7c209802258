"""What is learned and tested: streams of tasks, read from files or built in, and what their answers must meet. No torch."""
