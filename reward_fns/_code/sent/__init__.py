"""What is sent into a sandbox as one text: the tests on one side, the program on the other."""
