"""What is learned and tested: streams of tasks, read from files or built in; checks on answers. No torch."""
